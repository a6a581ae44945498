"""Pages of a graded folder, made of its records alone: one per student, and one on the class.

Every page is a single file without scripts: styles and pictures are in it, a strict policy lets the
browser load nothing else, and everything that a student wrote is escaped.
"""
