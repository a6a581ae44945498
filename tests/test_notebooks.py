"""Every lecture runs from top to bottom, and lies in the repository executed and small."""
import json
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MEGABYTE = 2 ** 20


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_are_lectures():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestNotebook:
    def test_is_committed_executed(self, path):
        cells = code_cells(path)
        assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
        kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
        assert "error" not in kinds

    def test_warns_of_nothing(self, path):
        for cell in code_cells(path):
            assert not [o for o in cell["outputs"] if o.get("name") == "stderr"], cell["source"]

    def test_is_small(self, path):
        assert path.stat().st_size <= MEGABYTE

    def test_has_short_cells(self, path):
        for cell in code_cells(path):
            lines = "".join(cell["source"]).splitlines()
            assert len(lines) <= 15, lines[0]
            assert max(map(len, lines), default=0) <= 100

    def test_has_goals_questions_exercise_and_papers(self, path):
        text = path.read_text(encoding="utf-8")
        for part in ("You will be able to", "<details>", "tinyvision start", "## Papers"):
            assert part in text, part

    @pytest.mark.lecture
    def test_runs(self, path, tmp_path, monkeypatch):
        reason = "running a notebook needs nbclient and ipykernel (pip install nbclient ipykernel)"
        nbclient = pytest.importorskip("nbclient", reason=reason)
        pytest.importorskip("ipykernel", reason=reason)
        nbformat = pytest.importorskip("nbformat", reason=reason)
        search = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(search))
        monkeypatch.setenv("TINYVISION_ZOO_EPOCHS", "1")         # cold, a zoo takes minutes
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3",
                                resources={"metadata": {"path": str(tmp_path)}}).execute()
