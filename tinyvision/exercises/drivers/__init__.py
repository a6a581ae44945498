"""Drivers: what stands between the numbers of a case and code that is no function of arrays.

A driver is one module. It needs only numpy and the standard library, holds no answers, and its
docstring tells the student how their code is called; see `tinyvision.exercises.exercise.Exercise`.
"""
