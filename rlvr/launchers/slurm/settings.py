"""The `launcher` node of a job on Slurm; explained in conf/launcher/slurm.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rlvr.sweep.settings import Settings, bounded

# Options of sbatch that the launcher sets, and what sets them for a user.
OURS = {
    **dict.fromkeys(("job_name", "array", "output", "open_mode", "requeue"), "the launcher"),
    **dict.fromkeys(("no_requeue", "parsable", "wait"), "the launcher"),
    "time": "launcher.timeout_min",
    "signal": "launcher.signal_delay_s",
    "nodes": "launcher.nodes",
}


@dataclass
class SlurmSettings(Settings):
    n_jobs: int | None = bounded(64, 1)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int = bounded(1, 1)
    gpus_per_node: int | None = bounded(1, 0)
    cpus_per_task: int | None = bounded(8, 1)
    mem_gb: float | None = bounded(32, 0)
    timeout_min: int = bounded(300, 1)
    signal_delay_s: int = bounded(120, 1, 65535)
    requeues: int = bounded(3, 0)
    setup: list[str] = field(default_factory=list)
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    poll_seconds: float = bounded(30, 0.05)

    def problems(self, launcher: str) -> Iterator[str]:
        yield from super().problems(launcher)
        for key in self.additional_parameters:
            if by := OURS.get(key.replace("-", "_")):
                yield f"launcher.additional_parameters.{key}: is set by {by}"
        if self.signal_delay_s >= 60 * self.timeout_min:
            yield (
                f"launcher.signal_delay_s={self.signal_delay_s}: must be less than the time limit, "
                f"launcher.timeout_min={self.timeout_min} minutes"
            )
