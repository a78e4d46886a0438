"""`make bench`: every measurement of benchmarks/README.md, one after the other."""

import subprocess
import sys
from pathlib import Path

SAGEMAKER = [["sagemaker.py", action] for action in ("overhead", "sweep")]

for script, *arguments in [
    ["verifiers.py"],
    *[["sandbox.py", what] for what in ("throughput", "loops", "endurance")],
    ["mutants.py"],
    ["overlap.py"],
    ["compare.py"],
    ["shared_prefix.py"],
    ["generation.py"],
    ["memory.py"],
    ["decode_counts.py"],
    ["gpu.py"],
    *SAGEMAKER,
    *[["launcher_faults.py", where] for where in ("sagemaker", "slurm", "local")],
]:
    subprocess.run([sys.executable, Path(__file__).parent / script, *arguments], check=True)
