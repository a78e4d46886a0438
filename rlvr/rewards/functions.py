"""Reward functions: what a verdict pays, in the signature TRL calls.

Weights are no part of a reward: `build_rewards` returns them next to the functions, from YAML.
"""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from rlvr.config.checks import nearest
from rlvr.errors import UserError
from rlvr.sampling.stop import StopRule
from rlvr.verify.answers import text_of
from rlvr.verify.verdict import Reason, Verdict, Verifier

Rewards = list[float | None]
LogMetric = Callable[[str, float], None]


class VerdictReward:
    """A reward that depends on the verdict alone. Subclasses say what one verdict pays."""

    __name__ = "verdict"

    def __init__(self, verifier: Verifier, stop: StopRule) -> None:
        self.verifier = verifier
        self.stop = stop

    def __call__(
        self, prompts: Sequence[object], completions: Sequence[object], **columns: Any
    ) -> Rewards:
        """One reward per completion; `columns` holds `gold` and the dataset's other columns."""
        verdicts = self.verdicts(completions, **columns)
        return [None if v.reward is None else self.pay(v) for v in verdicts]

    def verdicts(self, completions: Sequence[object], **columns: Any) -> list[Verdict]:
        """The verdicts on what stands before the stop, one per completion."""
        texts = [self.stop.cut(text_of(completion)) for completion in completions]
        others = {k: v for k, v in columns.items() if k not in ("gold", *NOT_COLUMNS)}
        return self.verifier.verify(texts, columns["gold"], **others)

    def pay(self, verdict: Verdict) -> float:
        raise NotImplementedError


# What TRL passes to rewards besides the dataset's columns.
NOT_COLUMNS = ("completion_ids", "trainer_state", "log_extra", "log_metric", "environments")


class Format(VerdictReward):
    """1 for one well-formed answer, right or wrong. A failing verifier still sees the format."""

    __name__ = "format"

    def __call__(
        self, prompts: Sequence[object], completions: Sequence[object], **columns: Any
    ) -> Rewards:
        return [float(v.format_ok) for v in self.verdicts(completions, **columns)]


class Correctness(VerdictReward):
    """The verdict's own reward, None where the verifier failed. Reports the shares of reasons."""

    __name__ = "correctness"

    def __call__(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        log_metric: LogMetric | None = None,
        **columns: Any,
    ) -> Rewards:
        verdicts = self.verdicts(completions, **columns)
        if log_metric is not None:
            for reason, share in reason_shares(verdicts).items():
                log_metric(f"reasons/{reason}", share)
        return [v.reward for v in verdicts]


def reason_shares(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Share of each reason, zeros included: every process must report the same names."""
    counts = Counter(verdict.reason for verdict in verdicts)
    return {reason.value: counts[reason] / max(len(verdicts), 1) for reason in Reason}


class PlainReward:
    """A user's own function under the name of its YAML key, with its YAML parameters bound.

    It is called with text cut at the stop (chat messages are passed as they are), and what it
    returns is checked: one finite number or None per completion.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], stop: StopRule, params: Mapping[str, Any]
    ) -> None:
        self.__name__ = name
        self._function, self._stop, self._params = function, stop, dict(params)

    def __call__(
        self, prompts: Sequence[object], completions: Sequence[object], **columns: Any
    ) -> Rewards:
        cut = [self._stop.cut(c) if isinstance(c, str) else c for c in completions]
        rewards = self._function(prompts=prompts, completions=cut, **columns, **self._params)
        return checked(self.__name__, rewards, len(completions))


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


def build_rewards(
    rewards_cfg: DictConfig | Mapping[str, Any], *, verifier: Verifier, stop: StopRule
) -> tuple[list[Callable[..., Rewards]], list[float]]:
    """The reward functions of `rewards_cfg` and their weights, in order.

    Each entry is `name: {_target_, weight (default 1), **parameters}`. A class is constructed with
    its parameters, and with `verifier` and `stop` where it takes them; a function is called with
    its parameters. UserError names the reward and what is wrong with it.
    """
    node = (
        rewards_cfg if isinstance(rewards_cfg, DictConfig) else OmegaConf.create(dict(rewards_cfg))
    )
    plain = OmegaConf.to_container(node, resolve=True)
    assert isinstance(plain, dict)
    if not plain:
        raise UserError("rewards is empty: choose rewards=gsm8k, or name at least one reward.")
    injected = {"verifier": verifier, "stop": stop}
    entries = [(str(name), dict(entry)) for name, entry in plain.items()]
    weights = [_weight(name, entry.pop("weight", 1.0)) for name, entry in entries]
    return [_build(name, entry, injected) for name, entry in entries], weights


def _weight(name: str, weight: object) -> float:
    if (
        isinstance(weight, bool)
        or not isinstance(weight, (int, float))
        or not math.isfinite(weight)
    ):
        raise UserError(f"rewards.{name}.weight={weight!r}: a number is expected.")
    return float(weight)


def _build(name: str, entry: dict[str, Any], injected: dict[str, Any]) -> Callable[..., Rewards]:
    target = _target(name, entry.pop("_target_", None))
    signature = inspect.signature(target)
    named = {
        n
        for n, p in signature.parameters.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    for unknown in entry.keys() - named:
        raise UserError(
            f"rewards.{name}.{unknown} is not a parameter of {target.__qualname__}"
            f"{nearest(unknown, named)}. It has: {', '.join(sorted(named)) or 'none'}."
        )
    params = entry | {n: v for n, v in injected.items() if n in named}
    if inspect.isclass(target):
        return _construct(name, target, params)
    return PlainReward(name, target, injected["stop"], params)


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


def _construct(name: str, target: type, params: dict[str, Any]) -> Callable[..., Rewards]:
    try:
        inspect.signature(target).bind(**params)
    except TypeError as error:
        raise UserError(f"rewards.{name}: {target.__qualname__}: {error}.") from None
    reward = target(**params)
    reward.__name__ = name
    return reward  # type: ignore[no-any-return]
