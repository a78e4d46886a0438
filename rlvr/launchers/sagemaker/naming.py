"""Names and tags that SageMaker accepts and that never collide."""

import hashlib
import re
import secrets

LONGEST_NAME = 48
_UNTAGGABLE = re.compile(r"[^\w\s.:/=+\-@]")


def sweep_key(sweep_id: str) -> str:
    """Eight characters that stand for the sweep in job names."""
    return hashlib.sha256(sweep_id.encode()).hexdigest()[:8]


def job_name(project: str, sweep_id: str, index: int) -> str:
    """`<project>-<sweep key>-<index>-<random>`, at most 48 characters of [A-Za-z0-9-].

    The random end is for attempts: the service never lets a name be used again.
    """
    end = f"-{sweep_key(sweep_id)}-{index:03d}-{secrets.token_hex(3)}"
    start = re.sub(r"[^A-Za-z0-9]+", "-", project).strip("-") or "rlvr"
    return start[: LONGEST_NAME - len(end)].rstrip("-") + end


def tag_value(text: str) -> str:
    """`text` without Hydra's escapes and what else a tag may not hold, at most 256 characters."""
    return _UNTAGGABLE.sub(" ", text.replace("\\", ""))[:256].strip()


def tags(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key[:128], "Value": tag_value(value)} for key, value in values.items()]
