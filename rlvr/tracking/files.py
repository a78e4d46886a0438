"""Which files of a run's directory are its artifacts, wherever it is tracked."""

from pathlib import Path

INPUTS = ("config.yaml", "requirements.txt", "git.diff")  # written before training
OUTPUTS = ("result.json", "preflight.json", "metrics.jsonl", "*.log")  # also of a run that failed
TABLE_ROWS = 200  # of an evaluation; the JSONL file has them all


def artifacts(run_dir: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Those that are there, in the order of the patterns."""
    return [path for pattern in patterns for path in sorted(run_dir.glob(pattern))]
