"""The repository's promises about itself: commands, import time, what the package contains."""
import configparser
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent


def commands_of_readme():
    text = (ROOT / "README.md").read_text()
    return re.findall(r"^python3 -m venv .*$", text, re.M)


def test_readme_has_the_two_commands():
    tour, tests = commands_of_readme()
    assert tour.endswith(".venv/bin/tinyvision tour")
    assert tests.endswith("-m pytest -n auto --dist loadfile")


def test_ci_runs_the_readmes_test_command_letter_for_letter():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert commands_of_readme()[1] in lines


def test_extras_hold_what_they_promise():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = dict(config["options.extras_require"])
    assert set(extras) == {"lectures", "test", "cuda12", "cuda13", "peers", "cluster", "all"}
    assert "cupy" not in extras["all"]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=ROOT).stdout


def test_import_loads_neither_numba_nor_matplotlib_nor_cupy():
    heavy = run("import sys, tinyvision; print([m for m in ('numba', 'matplotlib', 'cupy', "
                "'IPython', 'nbformat', 'scipy', 'PIL') if m in sys.modules])")
    assert heavy.strip() == "[]"


def test_only_device_imports_cupy():
    lines = [f"{path.relative_to(ROOT)}: {line}" for path in ROOT.glob("tinyvision/**/*.py")
             for line in path.read_text().splitlines()
             if re.match(r"\s*(import|from) cupyx?\b", line) and path.name != "device.py"]
    assert lines == []


def test_version_is_in_one_place():
    import tinyvision
    assert "attr: tinyvision.__version__" in (ROOT / "setup.cfg").read_text()
    assert run("import tinyvision; print(tinyvision.__version__)").strip() == tinyvision.__version__
