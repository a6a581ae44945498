"""An instructor's own small assignment and a class of four, for the tests of the teacher's side."""
from pathlib import Path

from tinyvision.grading import grade

ASSIGNMENT = '''\
# tinyvision exercise: lab1
# %% [markdown]
# # Lab 1: mixing
#
# Write `mix`: a weighted sum of two images, and `bright`: where an image is above a threshold.
#
# $$y = a\\,x_1 + (1 - a)\\,x_2$$

# %%
import numpy as np


# %%
def mix(x1, x2, a):
    """The weighted sum a x1 + (1 - a) x2."""
    ### BEGIN SOLUTION
    return a * x1 + (1 - a) * x2
    ### END SOLUTION


# %% an example
assert np.allclose(mix(np.array([1.0, 2.0]), np.array([3.0, 6.0]), 0.5), [2, 4])
### BEGIN HIDDEN TESTS
assert np.allclose(mix(np.array([1.0]), np.array([3.0]), 0.0), [3])
### END HIDDEN TESTS


# %%
def bright(x, threshold):
    """True where x is above the threshold."""
    ### BEGIN SOLUTION
    return x > threshold
    ### END SOLUTION


# %%
### BEGIN HIDDEN TESTS
from tinyvision.exercises import Case, Exercise, Mistake
from tinyvision.exercises.homework import homework


def cases(rng):
    x, y = rng.uniform(1, 2, (2, 3, 4))
    steps = np.round(rng.uniform(0, 1, 12), 1)
    return [Case("mix", "half and half", (x, y, 0.5), 2), Case("mix", "a quarter", (x, y, 0.25), 4),
            Case("bright", "ties", (steps, float(steps[5])), 4)]


def _swapped(x1, x2, a):
    return mix(x2, x1, a)


MISTAKES = (Mistake("mix", "swapped", "Which image has the weight a?", _swapped),
            Mistake("mix", "not-normalized", "The weights sum up to 1.", lambda x, y, a: a * x + y),
            Mistake("bright", "at-least", "What is above?", lambda x, threshold: x >= threshold))
LAB = Exercise("lab", "Mixing", "L 1", "none", {"mix": mix, "bright": bright}, cases, MISTAKES,
               magnitude={"mix": lambda x, y, a: abs(x) + abs(y)},
               terms={"mix": lambda x, y, a: 3})
EXERCISE = homework("lab1", [LAB], globals(), title="Lab 1", points={"lab": 20},
                    due="2026-12-01 12:00 +01:00",
                    late={"free_hours": 1, "points_per_day": 2, "most_points": 6})
### END HIDDEN TESTS
'''

RIGHT = '''\
# tinyvision exercise: lab1
import numpy as np

def mix(x1, x2, a):
    return a * x1 + (1 - a) * x2

def bright(x, threshold):
    return x > threshold
'''
SWAPPED = RIGHT.replace("a * x1 + (1 - a) * x2", "a * x2 + (1 - a) * x1")
SPEAKS = RIGHT.replace("    return x > threshold", "    print('hello')\n    return x + undefined")
ROSTER = """id,name,email,extra_hours
ada,Ada Lovelace,ada@uni.example,
ben,Ben "B" Bär,ben@uni.example,30
cleo,"Cleo, of Egypt",cleo@uni.example,
zoe,Zoe Zhou,zoe@uni.example,
"""


def write_course(folder: Path) -> tuple[Path, Path]:
    """(the assignment's file, the folder of submissions): ada and ben are right and late, cleo has
    swapped the images, =dan (a formula by name) raises."""
    source, handed_in = folder / "lab1.py", folder / "submitted"
    source.write_text(ASSIGNMENT, encoding="utf-8")
    for name, text, stamp in (("ada", RIGHT, "2026-12-02 11:30:00 Europe/Berlin"),
                              ("ben", RIGHT + "# ben's", "2026-12-02 11:30:00.25 UTC"),
                              ("cleo", SWAPPED, "2026-12-01 11:00:00 UTC"),
                              ("=dan", SPEAKS, "")):
        home = handed_in / name / "lab1"
        home.mkdir(parents=True)
        (home / "lab1.py").write_text(text, encoding="utf-8")
        if stamp:
            (home / "timestamp.txt").write_text(stamp + "\n", encoding="utf-8")
    return source, handed_in


def graded(folder: Path, name: str = "out") -> Path:
    """The course graded, with seed 1, into a folder; its path."""
    source = folder / "lab1.py"
    if not source.exists():
        write_course(folder)
    grade(folder / "submitted", folder / name, str(source), seed="1", progress=False)
    return folder / name
