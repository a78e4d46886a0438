"""Where the files of a model are: in the package, in a directory, or in the hub's cache."""

from pathlib import Path

from rlvr.paths import ASSETS

PACKAGE = "package:"


def local_folder(path: str) -> Path | None:
    """The folder that `model.path` names; None for a name on the hub."""
    if path.startswith(PACKAGE):
        return ASSETS / path.removeprefix(PACKAGE)
    folder = Path(path).expanduser()
    return folder if folder.is_dir() else None


def model_files(path: str, revision: str | None = None) -> Path | None:
    """Also where the hub's cache has them; None for a model that is not on this machine."""
    if folder := local_folder(path):
        return folder
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(path, "config.json", revision=revision)
    except HFValidationError:  # a directory that is not there
        return None
    return Path(config).parent if isinstance(config, str) else None
