"""Grading: student code runs in a sandbox; what it returns is judged outside."""
