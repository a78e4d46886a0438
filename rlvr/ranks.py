"""Which process of a run this is. torchrun starts one worker per GPU and tells each by its
environment; without torchrun there is one process a machine, and that of the first is rank 0."""

import os

# Set where one run has several machines: their names, the first of which the others meet at, and
# the place of this one among them.
HOSTS = "RLVR_HOSTS"
HOST = "RLVR_HOST"


def is_rank() -> bool:
    """Whether torchrun started this process, as one of several or of one."""
    return "LOCAL_RANK" in os.environ


def rank() -> int:
    """This process among all of the run, on whichever host: 0, 1, ..."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or host())


def is_main() -> bool:
    """The one process that writes what belongs to the whole run."""
    return rank() == 0


def hosts() -> list[str]:
    """The machines of the run; of a single one the name does not matter."""
    return os.environ.get(HOSTS, "localhost").split(",")


def host() -> int:
    return int(os.environ.get(HOST, 0))


def count() -> int:
    """Of the processes of this run."""
    return int(os.environ.get("WORLD_SIZE", 1)) if is_rank() else 1
