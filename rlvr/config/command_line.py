"""Why Hydra refuses a command line: one line for each override that is wrong, with its mend.

Hydra names the first mistake alone and advises `+key=value`, which a typed config refuses too. Here
every override is looked at by itself, against the keys and options that there are.
"""

import difflib
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr.config.checks import grpo_config_fields
from rlvr.config.checks import problems as config_problems
from rlvr.config.schema import OTHER_NAMES, register
from rlvr.dotted_keys import flatten
from rlvr.errors import nearest

REFUSALS = (HydraException, OmegaConfBaseException)
INTERNALS = str(Path(hydra.__file__).parent / "_internal")
FEW = 12  # keys that a message can list
# Lines of Hydra's and OmegaConf's messages that help nobody, or not here.
UNHELPFUL = ("To append to your config", "full_key:", "reference_type=", "object_type=", "See http")


def is_refusal(error: Exception) -> bool:
    """Does Hydra refuse what was typed? Some of it with a ValueError of its own."""
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, REFUSALS) or raised_in.startswith(INTERNALS)


def explain(
    error: Exception, overrides: Sequence[str], conf: Path, config_dir: Path | None = None
) -> str:
    """The message for `error`, which composing `conf` with `overrides` raised.

    `config_dir` holds further options. Where no override is wrong by itself, what Hydra says.
    """
    register()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            folders = [conf, *([config_dir] if config_dir else [])]
            found = [*CommandLine(overrides, searched(config_dir), folders).problems()]
    except REFUSALS:  # the YAML files themselves are wrong
        found = []
    return "\n".join(found) or said(error)


def searched(config_dir: Path | None) -> list[str]:
    """The override by which Hydra finds the options of `--config-dir`."""
    return [f"hydra.searchpath=[file://{config_dir}]"] if config_dir else []


def said(error: BaseException) -> str:
    """What Hydra or OmegaConf says, and what OmegaConf said before, without advice that misleads.

    A key that a YAML file misspells gets the nearest one.
    """
    lines = str(error).splitlines()
    if isinstance(error.__cause__, OmegaConfBaseException):
        lines += str(error.__cause__).splitlines()
    lines = lines[: lines.index("Config search path:")] if "Config search path:" in lines else lines
    kept = [line for line in lines if line.strip() and not line.strip().startswith(UNHELPFUL)]
    text = "\n".join(dict.fromkeys(kept))
    return text + "".join(f"\n{instead}" for n, instead in OTHER_NAMES.items() if f"'{n}'" in text)


class CommandLine:
    """Overrides within `initialize_config_dir`; `searched` are those that find more options."""

    def __init__(
        self, overrides: Sequence[str], searched: Sequence[str], folders: Sequence[Path]
    ) -> None:
        self.overrides, self.searched, self.folders = overrides, list(searched), folders
        self.loader: ConfigLoader = GlobalHydra.instance().config_loader()
        self.groups: list[str] = []  # choices of options that there are

    def problems(self) -> Iterator[str]:
        parsed, unreadable = self._parse()
        yield from unreadable
        values = []
        for text, override in parsed:
            if options := self._options(override.key_or_group):
                yield from self._choice_problems(text, override, options)
            else:
                values.append((text, override))
        composed = self._compose()
        keys = Keys(composed, self.folders, self._group_names())
        for text, override in values:
            yield from self._value_problems(text, override, composed, keys)

    def _parse(self) -> tuple[list[tuple[str, Override]], list[str]]:
        parser = OverridesParser.create(config_loader=self.loader)
        parsed, problems = [], []
        for text in self.overrides:
            try:
                parsed += [(text, override) for override in parser.parse_overrides([text])]
            except HydraException as error:
                reason = "" if "=" not in text else f": {str(error).splitlines()[0]}"
                problems.append(f"{text}: expected KEY=VALUE{reason}")
        return parsed, problems

    def _options(self, group: str) -> list[str]:
        return self._listed(group, ObjectType.CONFIG)

    def _group_names(self) -> list[str]:
        return self._listed("", ObjectType.GROUP)

    def _listed(self, group: str, kind: ObjectType) -> list[str]:
        return list(self.loader.get_group_options(group, kind, "config", self.searched))

    def _compose(self, *more: str) -> DictConfig:
        given = [*self.searched, *self.groups, *more]
        return compose("config", given, return_hydra_config=True)

    def _choice_problems(
        self, text: str, override: Override, options: Sequence[str]
    ) -> Iterator[str]:
        wanted = [*_each_value(override)]
        names = [
            name for value in wanted for name in (value if isinstance(value, list) else [value])
        ]
        group = override.key_or_group
        wrong = [str(n) for n in names if n is not None and str(n) not in options]
        for name in wrong:
            hint = nearest(name, options) or _beginning_with(name, options)
            yield f"{text}: {group} has no option {name}{hint or '.'} It has: {', '.join(options)}"
        if not wrong and wanted and not override.is_delete():
            choice = wanted[0] if not isinstance(wanted[0], list) else f"[{','.join(wanted[0])}]"
            text = f"{group}={'null' if choice is None else choice}"
            self.groups.append(text)

    def _value_problems(
        self, text: str, override: Override, composed: DictConfig, keys: "Keys"
    ) -> Iterator[str]:
        key = override.key_or_group
        exists = keys.holds(key)
        if override.is_delete():
            if not exists:
                yield f"{text}: there is no {key} to remove{keys.hint(key)}"
        elif not exists:
            yield from self._unknown_key(text, override, keys)
        else:
            for value in _each_text(override):
                if reason := self._refused(f"{key}={value}"):
                    yield f"{key}={value}: {reason}"

    def _unknown_key(self, text: str, override: Override, keys: "Keys") -> Iterator[str]:
        """Where `+key=value` would do, that; where not, why not, and what was meant."""
        key, plain = override.key_or_group, text.lstrip("+")
        if options := keys.options_with(key):
            yield f"{text}: this key comes with {' or '.join(options)}: add that, or remove this"
            return
        if instead := OTHER_NAMES.get(key.removeprefix("trainer.")):
            yield f"{text}: {key} is no key; {instead}"
            return
        if key.startswith("trainer.") and key.removeprefix("trainer.") in grpo_config_fields():
            extra = f"+trainer.extra.{plain.removeprefix('trainer.')}"
            yield f"{text}: {key} is a field of TRL's GRPOConfig; set it as {extra}"
            return
        value = next(_each_text(override), "null")
        refused = self._added(f"+{key}={value}", key)
        if refused == []:
            if not override.is_add():
                yield f"{text}: {key} is new to the config; add it as +{plain}"
            return
        yield next(iter(refused or ()), f"{text}: there is no key {key}{keys.hint(key)}")

    def _added(self, override: str, key: str) -> list[str] | None:
        """What the checks say of a key that is added; None where it cannot be or is not known."""
        if key.startswith(("launcher.", "hydra.")):
            return None  # all their keys are in the config
        try:
            config = self._compose(override)
        except REFUSALS:
            return None
        OmegaConf.set_struct(config, False)
        config.pop("hydra")
        found = [p for p in config_problems(config) if _concerns(p, key)]
        return None if any("is not a known key" in p for p in found) else found

    def _refused(self, override: str) -> str | None:
        """Why this one alone cannot be merged."""
        try:
            self._compose(override)
        except REFUSALS as error:
            return said(error.__cause__ or error).splitlines()[0]
        return None


class Keys:
    """The dotted keys of a composed config, and those that other options would bring."""

    def __init__(self, composed: DictConfig, folders: Sequence[Path], groups: list[str]) -> None:
        container = OmegaConf.to_container(composed, resolve=False, enum_to_str=True)
        assert isinstance(container, dict)
        self.here = {str(key) for key in _nodes(container)}
        self.groups = groups
        self.elsewhere: dict[str, list[str]] = {}
        for folder in folders:
            for file in sorted(folder.glob("*/*.yaml")):
                option = f"{file.parent.name}={file.stem}"
                for key in _keys_of(file) - self.here:
                    self.elsewhere.setdefault(key, []).append(option)

    def holds(self, key: str) -> bool:
        return key in self.here

    def options_with(self, key: str) -> list[str]:
        """`launcher=sagemaker` for `launcher.region`, also for what is below such a key."""
        parts = key.split(".")
        for size in range(len(parts), 0, -1):
            if options := self.elsewhere.get(".".join(parts[:size])):
                return options
        return []

    def hint(self, key: str) -> str:
        """ ": did you mean trainer.beta?", or what there is beside it, or nothing."""
        words = self._meant(key)
        shown = [f"{w} (with {self.elsewhere[w][0]})" if w in self.elsewhere else w for w in words]
        if shown:
            return f": did you mean {' or '.join(shown)}?"
        parent = key.rpartition(".")[0]
        beside = sorted(_children(parent, [*self.here])) if parent in self.here else []
        return f"; {parent} has {', '.join(beside)}" if 0 < len(beside) < FEW else ""

    def _meant(self, key: str) -> list[str]:
        """Mended part by part; else keys of that last name elsewhere."""
        known = [*self.here, *self.elsewhere]
        mended = ""
        for part in key.split("."):
            siblings = _children(mended, known) | (set() if mended else set(self.groups))
            close = [part] if part in siblings else difflib.get_close_matches(part, siblings, 1)
            if not close:
                break
            mended = f"{mended}.{close[0]}".lstrip(".")
        else:
            return [mended]
        last = key.rpartition(".")[2]
        ours = [k for k in known if not k.startswith("hydra.")]
        return sorted(k for k in ours if k.rpartition(".")[2] == last)[:3]


def _concerns(problem: str, key: str) -> bool:
    named = re.split("[ =:]", problem, maxsplit=1)[0]
    return named.startswith(key) or key.startswith(f"{named}.")


def _children(parent: str, keys: Sequence[str]) -> set[str]:
    start = f"{parent}." if parent else ""
    return {k[len(start) :].partition(".")[0] for k in keys if k.startswith(start)} - {""}


def _nodes(tree: dict[Any, Any], prefix: str = "") -> Iterator[str]:
    """All dotted keys, those of the inner nodes too."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _nodes(value, f"{prefix}{key}.")


def _keys_of(file: Path) -> set[str]:
    """The dotted keys that an option's file sets, where its package puts them."""
    text = file.read_text(encoding="utf-8")
    header = [line for line in text.splitlines()[:1] if line.startswith("# @package ")]
    package = header[0].removeprefix("# @package ").strip() if header else file.parent.name
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return set()
    tree = (
        {k: v for k, v in content.items() if k != "defaults"} if isinstance(content, dict) else {}
    )
    if package == "_global_":
        return {key for key, _ in flatten(tree)}
    parts = package.split(".")
    above = {".".join(parts[: size + 1]) for size in range(len(parts))}
    return {f"{package}.{key}" for key, _ in flatten(tree)} | above


def _beginning_with(name: str, options: Sequence[str]) -> str:
    found = [option for option in options if option.startswith(name)]
    return f": did you mean {' or '.join(found[:3])}?" if found else ""


def _each_value(override: Override) -> Iterator[Any]:
    """The value, or each one of a sweep that can be listed."""
    if not override.is_sweep_override():
        yield override.value()
    elif override.is_choice_sweep():
        yield from override.sweep_iterator()


def _each_text(override: Override) -> Iterator[str]:
    if not override.is_sweep_override():
        yield override.get_value_element_as_str()
    elif override.is_discrete_sweep():
        yield from override.sweep_string_iterator()
