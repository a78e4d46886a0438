"""Rows of a dataset on the Hugging Face hub, or from its local cache where the hub is silent."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rlvr.data.rows import Row
from rlvr.errors import UserError

log = logging.getLogger(__name__)

OFFLINE_HELP = (
    "dataset.path with local files works offline; so does a machine where the dataset was loaded "
    "once (HF_HOME names its cache, HF_HUB_OFFLINE=1 skips asking the hub)"
)

_downloads = True


class NotCachedError(Exception):
    """The rows are on the hub, and nothing is to be downloaded."""


@contextmanager
def only_cached() -> Iterator[None]:
    """Read what is in the local cache; hub_rows raises NotCachedError for all else."""
    import datasets

    global _downloads
    before, _downloads = _downloads, False
    offline, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        _downloads, datasets.config.HF_HUB_OFFLINE = before, offline


def hub_rows(
    hub_id: str, subset: str | None, revision: str | None, splits: Sequence[str]
) -> dict[str, Iterator[tuple[str, Row]]]:
    """(place, raw row) pairs for each split. Raises UserError."""
    import datasets

    if not datasets.config.HF_HUB_OFFLINE and not _hub_answers(hub_id):
        datasets.config.HF_HUB_OFFLINE = True  # else five retries come before the cache is read
    try:
        loaded = datasets.load_dataset(hub_id, subset, revision=revision)
        rows = {split: _numbered(f"{hub_id} {split}", loaded[split]) for split in splits}
    except ConnectionError:
        if not _downloads:
            raise NotCachedError(hub_id) from None
        raise UserError(
            f"the Hugging Face hub could not be reached and {hub_id} is not in its local cache: "
            f"{OFFLINE_HELP}."
        ) from None
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        why = " ".join(str(error).split())[:300]
        name = f"{hub_id} ({subset})" if subset else hub_id
        raise UserError(f"the hub dataset {name} could not be loaded: {why}") from None
    if datasets.config.HF_HUB_OFFLINE:
        _check_revision(revision, str(loaded[splits[0]].cache_files))
    return rows


def _check_revision(revision: str | None, cache_files: str) -> None:
    """Offline, `datasets` takes the newest version in its cache, whatever was asked for."""
    if revision and revision not in cache_files:
        if not _downloads:
            raise NotCachedError(revision)
        raise UserError(
            f"dataset.loader.revision={revision} is not in the hub cache and the hub could not be "
            f"reached: set it to null for the cached version. {OFFLINE_HELP}."
        )


def _numbered(name: str, rows: Any) -> Iterator[tuple[str, Row]]:
    return ((f"{name} row {number}", dict(row)) for number, row in enumerate(rows, start=1))


def _hub_answers(hub_id: str) -> bool:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(hub_id, timeout=10)
    except HfHubHTTPError:
        return True  # a refusal is an answer; loading words it better
    except Exception as error:  # the HTTP client and its errors change between hub releases
        log.warning("the Hugging Face hub does not answer (%s); looking in its cache", error)
        return False
    return True
