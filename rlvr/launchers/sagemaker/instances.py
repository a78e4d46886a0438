"""What the launcher knows of SageMaker's instance types."""

import re
from collections.abc import Mapping
from typing import Any

# GPUs of a single instance, for `instance_type: auto`
AUTO = ((1, "ml.g6.2xlarge"), (4, "ml.g6.12xlarge"), (8, "ml.g6.48xlarge"))
# Their disks are part of the machine: no volume is added, paid for, or encrypted with a key.
_LOCAL_STORAGE = re.compile(
    r"ml\.(?:g[567]\w*|p5\w*|p6[\w-]*|trn\d\w*|i\d\w*|[a-z]+\d+[a-z]*d[a-z]*)\."
)


def instance_for(trainer: Mapping[str, Any]) -> str:
    """What `instance_type: auto` stands for."""
    several = str(trainer.get("distributed")) in ("ddp", "zero2", "zero3", "fsdp2")
    wanted = trainer.get("num_processes") or (8 if several else 1)
    return next((name for gpus, name in AUTO if gpus >= wanted), AUTO[-1][1])


def has_local_storage(instance_type: str) -> bool:
    return _LOCAL_STORAGE.match(instance_type) is not None
