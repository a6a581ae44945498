"""Write the invented class into a folder."""
import argparse
import sys

from tinyvision.cli import refusal
from tinyvision.grading.classroom import write_class

parser = argparse.ArgumentParser(prog="python -m tinyvision.grading.classroom",
                                 description=__doc__)
parser.add_argument("folder", metavar="FOLDER", help="where to; a folder per student")
try:
    print(write_class(parser.parse_args().folder))
except OSError as error:
    sys.exit(f"tinyvision.grading.classroom: {refusal(error)}")
