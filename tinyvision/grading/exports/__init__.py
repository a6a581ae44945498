"""Marks in the formats of other systems, one file for each."""
