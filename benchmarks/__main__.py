"""`make bench`: every measurement of benchmarks/README.md, one after the other."""

import subprocess
import sys
from pathlib import Path

for name in ("verifiers.py", "shared_prefix.py"):
    subprocess.run([sys.executable, str(Path(__file__).parent / name)], check=True)
