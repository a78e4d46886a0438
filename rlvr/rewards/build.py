"""From the `rewards` node of a config to what the trainer calls, built once per process."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from rlvr.errors import UserError, nearest
from rlvr.rewards.functions import Rewards, correctness_reward, format_reward
from rlvr.verify.verdict import Verdict


class Reward:
    """One configured reward: the user's function under its YAML name, with its YAML parameters.

    It is called as TRL calls a reward, with the verdicts besides, and hands on what its function
    takes. A completion whose verdict failed gets None whatever its function says: TRL leaves a row
    out of the update only if all rewards are None.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], weight: float, params: Mapping[str, Any]
    ) -> None:
        self.__name__ = name
        self.function, self.weight, self.params = function, weight, dict(params)
        self.control = bool(getattr(function, "control", False))
        parameters = inspect.signature(function).parameters.values()
        self._takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.takes = {p.name for p in parameters}

    @property
    def only_format(self) -> bool:
        return self.function is format_reward

    @property
    def pays_gold_in_full(self) -> bool:
        """Whether a right answer must get 1; nobody knows the most that a user's own pays."""
        return self.function in (format_reward, correctness_reward)

    @property
    def judges_answers(self) -> bool:
        return "verdicts" in self.takes and not self.only_format

    def __call__(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        *,
        verdicts: Sequence[Verdict],
        **columns: Any,
    ) -> Rewards:
        """One reward per completion; `columns` holds `gold`, the dataset's others and TRL's."""
        given = {
            "prompts": prompts,
            "completions": completions,
            "verdicts": verdicts,
            **columns,
            **self.params,
        }
        taken = given if self._takes_all else {k: v for k, v in given.items() if k in self.takes}
        rewards = checked(self.__name__, self.function(**taken), len(completions))
        pairs = zip(rewards, verdicts, strict=True)
        return [None if verdict.reward is None else reward for reward, verdict in pairs]


def checked(name: str, rewards: Any, count: int) -> Rewards:
    """`rewards` as `count` floats or Nones; UserError when they are anything else."""
    expected = f"expected a list of {count} numbers or None, one per completion"
    if not isinstance(rewards, Sequence) or len(rewards) != count:
        got = f"{len(rewards)} values" if isinstance(rewards, Sequence) else type(rewards).__name__
        raise UserError(f"reward {name!r} returned {got}; {expected}.")
    for value in rewards:
        if value is not None and not _is_finite(value):
            raise UserError(f"reward {name!r} returned {value!r}; {expected}.")
    return [None if value is None else float(value) for value in rewards]


def _is_finite(value: object) -> bool:
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]  # numpy and torch scalars too
    except (TypeError, ValueError):
        return False


def build_rewards(config: DictConfig | Mapping[str, Any]) -> list[Reward]:
    """The rewards of a config, in order.

    Each entry is `name: {_target_, weight (default 1), **parameters}`. A class is constructed with
    its parameters; a function is called with them. UserError names the reward and what is wrong.
    """
    node = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
    entries = OmegaConf.to_container(node, resolve=True)
    assert isinstance(entries, dict)
    if not entries:
        raise UserError("rewards is empty: choose rewards=gsm8k, or name at least one reward.")
    return [_build(str(name), dict(entry)) for name, entry in entries.items()]


def _build(name: str, entry: dict[str, Any]) -> Reward:
    weight = _weight(name, entry.pop("weight", 1.0))
    target = _target(name, entry.pop("_target_", None))
    parameters = inspect.signature(target).parameters.values()
    known = {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    for unknown in entry.keys() - known:
        raise UserError(
            f"rewards.{name}.{unknown} is not a parameter of {target.__qualname__}"
            f"{nearest(unknown, known)}. It has: {', '.join(sorted(known)) or 'none'}."
        )
    if not inspect.isclass(target):
        return Reward(name, target, weight, entry)
    try:
        inspect.signature(target).bind(**entry)
    except TypeError as error:
        raise UserError(f"rewards.{name}: {target.__qualname__}: {error}.") from None
    constructed: Any = target(**entry)
    return Reward(name, constructed, weight, {})


def _weight(name: str, weight: object) -> float:
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight):  # type: ignore[arg-type]
        raise UserError(f"rewards.{name}.weight={weight!r}: a number is expected.")
    return float(weight)  # type: ignore[arg-type]


def _target(name: str, path: object) -> Any:
    if not isinstance(path, str):
        raise UserError(f"rewards.{name} needs _target_: the dotted name of a function or class.")
    try:
        target = get_object(path)
    except Exception as error:  # whatever importing the user's module raises
        raise UserError(f"rewards.{name}._target_={path}: {error}") from error
    if not callable(target):
        raise UserError(f"rewards.{name}._target_={path} is neither a function nor a class.")
    return target
