"""`python -m tinyvision` is the command `tinyvision`."""
import sys

from tinyvision.cli import main

sys.exit(main())
