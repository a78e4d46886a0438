"""What is said where the hub is silent; tests/data/sources/test_gsm8k.py has a hub that answers."""

import datasets
import pytest

from rlvr.data import hub
from rlvr.errors import UserError


def offline(monkeypatch, loaded):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets, "load_dataset", loaded)


def test_rows_are_numbered_for_messages(monkeypatch):
    table = datasets.Dataset.from_dict({"question": ["a", "b"]})
    offline(monkeypatch, lambda *arguments, **options: {"test": table})
    rows = list(hub.hub_rows("some/where", None, None, ["test"])["test"])
    assert rows == [("some/where test row 1", {"question": "a"}),
                    ("some/where test row 2", {"question": "b"})]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no"), "could not be reached and some/where is not in its local cache"),
        (KeyError("test"), "the hub dataset some/where could not be loaded: 'test'"),
        (ValueError("BuilderConfig\n x not found"), "loaded: BuilderConfig x not found"),
    ],
)
def test_one_message_whatever_goes_wrong(monkeypatch, error, message):
    def fails(*arguments, **options):
        raise error

    offline(monkeypatch, fails)
    with pytest.raises(UserError, match=message):
        hub.hub_rows("some/where", None, None, ["test"])


def test_offline_another_revision_is_not_taken_for_the_asked_one(monkeypatch):
    table = datasets.Dataset.from_dict({"question": ["a"]})
    offline(monkeypatch, lambda *arguments, **options: {"test": table})
    with pytest.raises(UserError, match=r"revision=abc is not in the hub cache"):
        hub.hub_rows("some/where", None, "abc", ["test"])
