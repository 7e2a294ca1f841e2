"""`python -m latentserve`: the command line."""

import sys

if not sys.flags.safe_path:
    # -m puts the working directory first, and a `numpy.py` there before numpy.
    del sys.path[0]

from latentserve.service.cli import main

main()
