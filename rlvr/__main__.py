"""`python -m rlvr` in a clone where nothing is installed: the same as `rlvr`."""

import sys

from rlvr.cli import main

sys.exit(main())
