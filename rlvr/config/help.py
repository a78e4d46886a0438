"""`python train.py --help`: what each option is, from the first lines of its YAML, and the config
with the comments of the files it comes from."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlvr.config.command_line import searched
from rlvr.config.schema import register
from rlvr.dotted_keys import split_overrides
from rlvr.formatting import number

WIDTH = 80
USAGE = "# python train.py "
PACKAGE = "# @package "
KEY = re.compile(r"^( *)([\w.]+):(?: .*?)?(?: # (.*))?$")


def help_text(overrides: Sequence[str], conf: Path, config_dir: Path | None = None) -> str:
    """For the config that `overrides` compose, as train.py would; raises what Hydra raises."""
    register()
    with initialize_config_dir(str(conf), version_base="1.3"):
        given = [*searched(config_dir), *overrides]
        cfg = compose("config", given, return_hydra_config=True)
    choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
    assert isinstance(choices, dict)
    for group, typed in split_overrides(overrides).items():
        if typed.startswith("["):  # several options at once are missing in Hydra's choices
            choices[group] = [name.strip() for name in typed.strip("[]").split(",")]
    folders = [conf, *([config_dir] if config_dir else [])]
    words = cfg.hydra.help
    tree = OmegaConf.to_container(cfg, resolve=False, enum_to_str=True)
    assert isinstance(tree, dict)
    del tree["hydra"]
    parts = [
        words.header,
        "Options: choose one with group=option (* is chosen)",
        *_options(folders, choices),
        "Configuration: set any value with key=value",
        "\n".join(_commented(_to_yaml(tree), _comments(folders, choices))),
        words.footer,
    ]
    return "\n\n".join(part.strip("\n") for part in parts)


def _options(folders: Sequence[Path], choices: dict[Any, Any]) -> Iterator[str]:
    files = [file for folder in folders for file in folder.glob("*/*.yaml")]
    for group in sorted({file.parent.name for file in files} - {"local"}):
        lines = [group]
        chosen = choices.get(group)
        names = chosen if isinstance(chosen, list) else [chosen]
        for file in sorted(file for file in files if file.parent.name == group):
            mark = "*" if file.stem in names else " "
            start = f"{mark} {file.stem:18} "
            lines += textwrap.wrap(
                description(file), WIDTH, initial_indent=start, subsequent_indent=" " * len(start)
            ) or [start.rstrip()]
        yield "\n".join(lines)


def description(file: Path) -> str:
    """What stands behind the first `python train.py ...` of an option's comments."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith(USAGE):
            return " ".join(re.split(r"  +", line.removeprefix(USAGE))[1:])
    return ""


def _comments(folders: Sequence[Path], choices: dict[Any, Any]) -> dict[str, str]:
    """The comments beside keys in the files that a config is made of, by dotted key."""
    found: dict[str, str] = {}
    for folder in folders:
        for group, chosen in ((".", "config"), *choices.items()):
            for name in chosen if isinstance(chosen, list) else [chosen]:
                file = folder / group / f"{name}.yaml"
                if file.is_file():
                    found |= _comments_in(file, "" if group == "." else group)
    return found


def _comments_in(file: Path, package: str) -> dict[str, str]:
    text = file.read_text(encoding="utf-8")
    if text.startswith(PACKAGE):
        package = text.partition("\n")[0].removeprefix(PACKAGE).strip().replace("_global_", "")
    return {f"{package}.{key}".lstrip("."): comment for _, key, comment in _keys(text) if comment}


def _keys(text: str) -> Iterator[tuple[str, str, str | None]]:
    """(line, dotted key, comment) of each line that begins a key."""
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        if (match := KEY.match(line)) is None:
            continue
        indent = len(match[1])
        above = [(depth, name) for depth, name in above if depth < indent]
        above.append((indent, match[2]))
        yield line, ".".join(name for _, name in above), match[3]


def _commented(text: str, comments: dict[str, str]) -> Iterator[str]:
    """A comment stands behind its key, or above it where the line would be too long."""
    for line, key, _ in _keys(text):
        comment = comments.get(key)
        if comment and len(line) + len(comment) + 3 > WIDTH:
            indent = " " * (len(line) - len(line.lstrip()))
            start = f"{indent}# "
            yield from textwrap.wrap(comment, WIDTH, initial_indent=start, subsequent_indent=start)
            comment = None
        yield f"{line} # {comment}" if comment else line


class _Readable(yaml.SafeDumper):
    """Lists and texts with line breaks on one line, as one would write them in conf/."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = '"' if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _list(dumper: yaml.SafeDumper, values: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = number(value) if 0 < abs(value) < 0.01 else str(value)
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Readable.add_representer(float, _float)
_Readable.add_representer(str, _text)
_Readable.add_representer(list, _list)


def _to_yaml(tree: dict[Any, Any]) -> str:
    return yaml.dump(tree, Dumper=_Readable, sort_keys=False, width=10_000, allow_unicode=True)
