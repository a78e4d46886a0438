"""From the `rewards` node of a config to what the trainer calls, built once per process."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.errors import UserError, failure
from rlvr.rewards.columns import BESIDES, LISTS
from rlvr.rewards.reward import Reward
from rlvr.targets import NO_PARAMETERS, import_target, parameter_problems

TAKEN = ("total", "std")  # `reward/total` and `reward/std` are logged of the weighted sum


def build_rewards(config: DictConfig | Mapping[str, Any]) -> list[Reward]:
    """The rewards of a config, in order.

    Each entry is `name: {_target_, weight (default 1), **parameters}`. A reward function is called
    with its parameters; a class, or a function that returns a reward function, is called once with
    them. UserError names the reward and what is wrong.
    """
    node = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    entries = OmegaConf.to_container(node, resolve=True)
    assert isinstance(entries, dict)
    if problems := [*reward_problems(entries)]:
        raise UserError("\n".join(problems))
    return [_build(str(name), entry) for name, entry in entries.items()]


def reward_problems(entries: Mapping[Any, Any]) -> Iterator[str]:
    """Everything wrong with the `rewards` node of a config that shows before they are built."""
    if not entries:
        yield "rewards is empty: choose rewards=gsm8k, or name at least one reward"
    for name, entry in entries.items():
        try:
            yield from _problems(str(name), entry)
        except UserError as error:
            yield str(error)


def _problems(name: str, entry: Any) -> Iterator[str]:
    key = f"rewards.{name}"
    if name in TAKEN:
        yield f"{key}: the name {name} is that of the weighted sum; choose another"
    target = import_target(key, entry.get("_target_") if isinstance(entry, Mapping) else None)
    weight = entry.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        yield f"{key}.weight={weight!r}: a number is expected"
    yield from parameter_problems(key, entry, target, all_at_once=_makes_reward(target, entry))


def _makes_reward(target: Callable[..., Any], entry: Mapping[str, Any]) -> bool:
    """Whether it is called once, to make the reward: a class, or a function such as
    trl.rewards.get_soft_overlong_punishment, which takes nothing that a reward is given."""
    signature = inspect.signature(target)
    if inspect.isclass(target) or "Callable" in inspect.formatannotation(
        signature.return_annotation
    ):
        return True
    parameters = signature.parameters.values()
    takes_columns = any(
        p.kind is p.VAR_KEYWORD or (p.default is p.empty and p.name not in entry)
        for p in parameters
    )
    return not takes_columns and signature.parameters.keys().isdisjoint((*LISTS, *BESIDES))


def _build(name: str, entry: Mapping[str, Any]) -> Reward:
    target: Callable[..., Any] = import_target(f"rewards.{name}", entry["_target_"])
    weight = float(entry.get("weight", 1.0))
    parameters = {key: value for key, value in entry.items() if key not in NO_PARAMETERS}
    if not _makes_reward(target, entry):
        return Reward(name, target, weight, parameters)
    path = entry["_target_"]
    try:
        reward = target(**parameters)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise UserError(f"rewards.{name}: {path} {failure(error)}") from error
    if not callable(reward):
        raise UserError(
            f"rewards.{name}: {path} made {reward!r}, which cannot be called. A class needs "
            "__call__; a function takes some of " + ", ".join(LISTS) + " or returns a function."
        )
    return Reward(name, reward, weight, {})
