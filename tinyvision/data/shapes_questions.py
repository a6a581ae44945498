"""Questions about scenes, with their answers (as in visual question answering).

Every question has exactly one right answer, one word of `ANSWERS`. Of each kind that is answered by
yes or no, a scene has as many questions answered by yes as by no, so that saying yes to all of them
is right half of the time.
"""
from dataclasses import dataclass

import numpy as np

from tinyvision.data.outlines import OUTLINES
from tinyvision.data.shapes_colours import COLOURS
from tinyvision.data.shapes_ground import STUFF
from tinyvision.data.shapes_language import NUMBERS, a, noun, plural, the
from tinyvision.data.shapes_relations import COMPARING, SPATIAL, coverings, holding
from tinyvision.data.shapes_truth import attributes

COUNTS = ("zero", *NUMBERS[1:])
ANSWERS = ("yes", "no", *COUNTS, *COLOURS, *OUTLINES, *STUFF)


@dataclass(frozen=True)
class Question:
    """A question, its one-word answer, and its kind: a key of `KINDS`."""
    text: str
    answer: str
    kind: str


def questions(scene, visible, count=8):
    """`count` different `Question`s (fewer where there are no more), taken from all kinds in turn;
    the same ones each time."""
    random = np.random.default_rng([scene.ground.seed, 101])
    kinds = [shuffled(random, balanced(random, asked))
             for asked in all_questions(scene, visible).values()]
    turns = [kind[k] for k in range(count) for kind in shuffled(random, kinds) if k < len(kind)]
    return turns[:count]


def shuffled(random, things):
    """A list of the same things in random order."""
    return [things[k] for k in random.permutation(len(things))]


def balanced(random, asked):
    """Questions of which not more are answered by yes than by no, nor the other way round, where
    they are answered so; others as they are."""
    yes, no = ([q for q in asked if q.answer == answer] for answer in ("yes", "no"))
    if not yes and not no:
        return asked
    few = min(len(yes), len(no))
    return shuffled(random, yes)[:few] + shuffled(random, no)[:few]


def all_questions(scene, visible):
    """Every question of the grammar: {kind: list of `Question`}."""
    things = attributes(scene, visible)
    covers = coverings(scene)
    return {kind: [Question(text + " ?", answer, kind) for text, answer in ask(
        scene, things, covers)] for kind, ask in KINDS.items()}


# Each kind gives pairs of question and answer.

def ask_colour(scene, things, covers):
    """What colour is the star?"""
    named = [(the(t, things, ("size",)), t.colour) for t in things]
    return [(f"what colour is {name}", colour) for name, colour in named if name]


def ask_shape(scene, things, covers):
    """What shape is the red thing?"""
    colours = [t.colour for t in things]
    return [(f"what shape is the {t.colour} thing", t.shape) for t in things
            if colours.count(t.colour) == 1]


def ask_count(scene, things, covers):
    """How many stars are there?"""
    shapes = [t.shape for t in things]
    asked = [(f"how many {plural(name)} are there", COUNTS[shapes.count(name)])
             for name in scene.names]
    return asked + [("how many shapes are there", COUNTS[len(things)])]


def ask_exists(scene, things, covers):
    """Is there a red star? Asked of everything that there is, and of colours and classes that
    occur, but not together."""
    present = {noun(t, "colour") for t in things}
    mixed = {f"{colour} {name}" for colour in {t.colour for t in things} for name in scene.names}
    return [(f"is there {a(words)}", "yes" if words in present else "no")
            for words in sorted(mixed)]


def ask_relation(scene, things, covers):
    """Is the star left of the circle?"""
    return ask_pairs(SPATIAL, things, covers)


def ask_comparison(scene, things, covers):
    """Is the star larger than the circle? Only where one of two clearly is the larger."""
    sizes = {word: COMPARING[word] for word in ("larger than", "smaller than")}
    clear = {(r.subject, r.object) for r in holding(sizes, things, covers)}
    return ask_pairs(sizes, things, covers, clear)


def ask_pairs(predicates, things, covers, pairs=None):
    """Whether each predicate holds of each pair of things that have a name of their own."""
    names = {t.index: the(t, things) for t in things}
    return [(f"is {names[one.index]} {word} {names[other.index]}",
             "yes" if holds(one, other, covers) else "no")
            for one in things for other in things if one is not other
            if names[one.index] and names[other.index]
            and (pairs is None or (one.index, other.index) in pairs)
            for word, holds in predicates.items()]


def ask_which(scene, things, covers):
    """What is left of the star? Where it is exactly one thing."""
    found = holding(SPATIAL, things, covers)
    asked = []
    for t in things:
        for word in SPATIAL:
            there = [r.subject for r in found if r.object == t.index and r.predicate == word]
            if len(there) == 1 and the(t, things):
                asked.append((f"what is {word} {the(t, things)}", things[there[0]].shape))
    return asked


def ask_ground(scene, things, covers):
    """What is around the star?"""
    return [(f"what is around {the(t, things)}", t.ground) for t in things
            if t.ground in STUFF and the(t, things)]


KINDS = dict(colour=ask_colour, shape=ask_shape, count=ask_count, exists=ask_exists,
             relation=ask_relation, comparison=ask_comparison, which=ask_which, ground=ask_ground)
