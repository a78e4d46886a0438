"""A machine with Slurm's commands, each of which is launchers/fake_slurm.py."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FAKE_SLURM = Path(__file__).parent / "launchers/fake_slurm.py"
LIVE = ("PENDING", "RUNNING", "COMPLETING")


@dataclass
class Cluster:
    state: Path
    bin: Path

    @classmethod
    def make(cls, folder: Path) -> "Cluster":
        made = cls(folder / "state", folder / "bin")
        (made.state / "faults").mkdir(parents=True)
        made.bin.mkdir()
        for name in ("sbatch", "srun", "squeue", "sacct", "scancel", "scontrol"):
            script = made.bin / name
            script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {FAKE_SLURM} {name} "$@"\n')
            script.chmod(0o755)
        return made

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.bin}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "FAKE_SLURM": str(self.state), "FAKE_SLURM_KILL_WAIT": "5"}

    def call(self, *arguments: str) -> str:
        """A command of Slurm's, or what its administrators and machines do."""
        command = [sys.executable, "-S", str(FAKE_SLURM), *arguments]
        return subprocess.check_output(command, env=os.environ | self.environment, text=True)

    def fault(self, command: str, *lines: str) -> None:
        (self.state / "faults" / command).write_text("".join(f"{line}\n" for line in lines))

    def ledger(self, what: str) -> list[str]:
        """The tasks to which that has happened, in order."""
        path = self.state / "ledger.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event["job"] for event in map(json.loads, lines) if event["what"] == what]

    def alive(self) -> list[str]:
        """Tasks that wait or run."""
        found = sorted((self.state / "jobs").glob("*.json"))
        return [file.stem for file in found if json.loads(file.read_text())["state"] in LIVE]
