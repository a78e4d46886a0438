"""Settings by their dotted keys: the leaves of a config, and what overrides set."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Where a run happens, how far it goes and how it is recorded; all else decides what it computes.
NOT_OF_THE_RUN = ("hydra", "launcher", "pruner", "tracking", "output_dir", "run")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping with their dotted keys; an empty mapping is a leaf."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value


def is_of_the_run(key: str) -> bool:
    """Whether a key (`trainer.beta`) or group (`hydra/launcher`) decides what a run computes."""
    return re.split(r"[./]", key, maxsplit=1)[0] not in NOT_OF_THE_RUN


def override_key(override: str) -> str:
    """`+trainer.extra.top_k=5` -> `trainer.extra.top_k`; `~peft` -> `peft`."""
    return override.partition("=")[0].lstrip("+~")


def split_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """`["shots=4", "~peft"]` -> keys without sigils, and their values as they were typed."""
    return {override_key(override): override.partition("=")[2] for override in overrides}
