"""`make bench`: every measurement of benchmarks/README.md, one after the other."""

import subprocess
import sys
from pathlib import Path

SAGEMAKER = [["sagemaker.py", action] for action in ("overhead", "kills", "sweep")]

SHARED = ["shared_prefix.py", "--checkpointing"]

for script, *arguments in [["verifiers.py"], ["compare.py"], SHARED, ["memory.py"], *SAGEMAKER]:
    subprocess.run([sys.executable, Path(__file__).parent / script, *arguments], check=True)
