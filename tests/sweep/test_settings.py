"""How every launcher's node is read; what only one of them has is in tests/launchers."""

from dataclasses import dataclass, field

import pytest

from rlvr.errors import UserError
from rlvr.sweep.settings import Settings, bounded


@dataclass
class Own(Settings):
    minutes: int = bounded(10, 1, 60)
    share: float | None = None
    setup: list[str] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    exclusive: bool = False


def problems(**node):
    with pytest.raises(UserError) as caught:
        Own.read(node, "mine")
    first, *lines = str(caught.value).splitlines()
    assert first == "invalid launcher settings:"
    return [line.strip() for line in lines]


def test_what_is_given_and_what_is_not():
    found = Own.read({"name": "mine", "minutes": 60, "setup": ["a"], "extra": {"b": 1}}, "mine")
    assert (found.minutes, found.setup, found.extra) == (60, ["a"], {"b": "1"})
    assert (found.n_jobs, found.share, found.exclusive) == (None, None, False)


def test_every_problem_is_told_at_once():
    assert problems(mintes=5, minutes="often", exclusive="maybe") == [
        "launcher.mintes is not a setting of the mine launcher: did you mean minutes?; its "
        "settings are exclusive, extend, extra, minutes, n_jobs, name, notify, resume, setup, "
        "share",
        "launcher.minutes=often: must be a whole number",
        "launcher.exclusive=maybe: must be true or false",
    ]
    assert problems(n_jobs=0, minutes=61, name="other", notify=" ") == [
        "launcher.n_jobs=0: must be at least 1",
        "launcher.minutes=61: must be at least 1 and at most 60",
        "launcher.name=other: choose a launcher by launcher=NAME alone",
        "launcher.notify is empty: give a command, an SNS topic's ARN, or null",
    ]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("n_jobs", True, "a whole number or null"),
        ("minutes", None, "a whole number"),
        ("minutes", 1.5, "a whole number"),
        ("share", "much", "a number or null"),
        ("setup", "module load", "a list"),
        ("extra", ["a"], "a mapping"),
        ("resume", ["a"], "text or null"),
    ],
)
def test_types_in_words(key, value, expected):
    assert problems(**{key: value}) == [f"launcher.{key}={value}: must be {expected}"]
