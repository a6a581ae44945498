"""Write the invented class into a folder."""
import sys

from tests.classroom import write_class

print(write_class(sys.argv[1]))
