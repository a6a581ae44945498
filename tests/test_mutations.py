"""Every single mutation of a solution is caught by a case, or listed with the reason why not."""
import mutations
import pytest

from tinyvision.exercises import load, names


@pytest.mark.parametrize("name", [name for name in names() if not load(name).texts])
def test_every_single_mutation_is_caught(name):
    """But of what is no Python: a kernel's text has its bank of wrong texts alone."""
    count, left = mutations.survivors(name)
    assert count >= 8 and not left, "\n".join(map(str, left))


def test_what_is_excused_exists_and_has_a_reason():
    made = {str(one) for name in names() for one in mutations.mutants(name)}
    excused = mutations.harmless()
    assert set(excused) <= made
    assert all(len(reason.split()) >= 4 for reason in excused.values())


def test_there_are_many():
    assert sum(len(mutations.mutants(name)) for name in names()) >= 300
