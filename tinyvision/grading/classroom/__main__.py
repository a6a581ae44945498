"""Write the invented class into a folder."""
import sys

from tinyvision.grading.classroom import write_class

print(write_class(sys.argv[1]))
