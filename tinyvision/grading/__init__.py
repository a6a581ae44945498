"""Grading: student code runs in a sandbox; what comes back is judged outside.

    tinyvision.grading.grade(folder, out)       a folder of submissions
    tinyvision.grading.check(path)              one file, for the student who writes it

`inside` is the untrusted side, `sandbox` runs it, `examine` asks it, `verdict` and `diagnosis`
judge, `store` keeps, `report` shows.
"""
from tinyvision.grading.checking import check
from tinyvision.grading.grader import IsolationError, grade
from tinyvision.grading.summary import Summary

__all__ = ["IsolationError", "Summary", "check", "grade"]
