"""One configured reward as the trainer calls it: the user's function, whatever its form."""

import inspect
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import cache
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError, defined_at, failure
from rlvr.rewards.columns import BESIDES
from rlvr.rewards.functions import Rewards, correctness_reward, format_reward
from rlvr.verify.verdict import Verdict

if TYPE_CHECKING:
    from asyncio import Runner

log = logging.getLogger(__name__)


class Reward:
    """The user's function under its YAML name, with its YAML parameters and its weight.

    It is called as TRL calls a reward, with the verdicts besides, and hands on what its function
    takes. A completion whose verdict failed gets None whatever the function says: TRL leaves a row
    out of the update only if all rewards are None.
    """

    def __init__(
        self, name: str, function: Callable[..., Any], weight: float, params: Mapping[str, Any]
    ) -> None:
        self.__name__ = name
        self.function, self.weight, self.params = function, weight, dict(params)
        self.control = bool(getattr(function, "control", False))
        self.signature = inspect.signature(function)
        self.wants_messages = _wants_messages(self.signature)

    def __str__(self) -> str:
        return f"reward {self.__name__!r} ({defined_at(self.function)})"

    @property
    def only_format(self) -> bool:
        return self.function is format_reward

    @property
    def pays_gold_in_full(self) -> bool:
        """Whether a right answer must get 1; nobody knows the most that a user's own pays."""
        return self.function in (format_reward, correctness_reward)

    @property
    def judges_answers(self) -> bool:
        return "verdicts" in self.signature.parameters and not self.only_format

    def __call__(
        self,
        prompts: Sequence[str],
        completions: Sequence[str],
        *,
        verdicts: Sequence[Verdict],
        **columns: Any,
    ) -> Rewards:
        """One reward per completion; `columns` holds `gold`, the dataset's others and TRL's.

        UserError names the reward, its file and line, and what is wrong.
        """
        given = {"prompts": prompts, "completions": completions, "verdicts": verdicts, **columns}
        try:
            values = self._values({**given, **self.params})
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's own function raises
            hint = ""
            if isinstance(error, KeyError | TypeError | AttributeError):
                hint = f" It is called as {self.signature} with {_listed(given)}."
            raise UserError(f"reward {self.__name__!r} {failure(error)}.{hint}") from error
        rewards = self._checked(values, len(completions))
        pairs = zip(rewards, verdicts, strict=True)
        return [None if verdict.reward is None else reward for reward, verdict in pairs]

    def _values(self, given: dict[str, Any]) -> Any:
        """What the function returns. Where its annotation does not say whether it reads texts or
        chat messages, it gets texts and, if it stumbles over them as messages would not let it,
        messages from then on."""
        taken = self._taken(given)
        if self.wants_messages is not None:
            return _result(self.function, _in_messages(taken) if self.wants_messages else taken)
        try:
            values = _result(self.function, taken)
        except (TypeError, AttributeError) as error:
            if not _MESSAGES_EXPECTED.search(str(error)):
                raise
            try:
                values = _result(self.function, _in_messages(taken))
            except Exception:
                raise error from None
            self.wants_messages = True
            log.warning("%s reads chat messages, so it gets its completions as such", self)
            return values
        if any(given["completions"]):  # a loop over the messages of an empty text does nothing
            self.wants_messages = False
        return values

    def _taken(self, given: dict[str, Any]) -> dict[str, Any]:
        parameters = self.signature.parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        taken = {name: given[name] for name in given if takes_all or name in parameters}
        try:
            self.signature.bind(**taken)
        except TypeError as error:
            raise UserError(
                f"{self}: {error}. It may take {_listed(given)}; "
                "anything else must be set in its YAML."
            ) from None
        return taken

    def _checked(self, values: Any, count: int) -> Rewards:
        """`values` as `count` floats or Nones; UserError when they are anything else."""
        expected = f"expected {count} numbers or None, one per completion"
        if hasattr(values, "tolist"):  # of numpy and torch
            values = values.tolist()
        if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping | Set):
            raise UserError(f"{self} returned {type(values).__name__}; {expected}.")
        values = list(values)
        if len(values) != count:
            raise UserError(f"{self} returned {len(values)} values; {expected}.")
        for value in values:
            if value is not None and not _is_finite(value):
                raise UserError(f"{self} returned {value!r}; {expected}.")
        return [None if value is None else float(value) for value in values]


# "string indices must be integers, not 'str'": completion[0]["content"]; 'str' has no 'get'
_MESSAGES_EXPECTED = re.compile(r"string ind(?:ices|ex) must be|'str' object has no attribute")


def _wants_messages(signature: inspect.Signature) -> bool | None:
    """Whether `completions` is annotated as chat messages, as TRL's functions have it:
    list[list[dict[str, str]]]. None where it does not say."""
    parameter = signature.parameters.get("completions")
    if parameter is None:
        return False
    annotation = inspect.formatannotation(parameter.annotation)
    if re.search(r"\w\[str\]", annotation):
        return False
    return True if re.search("dict|mapping|message", annotation, re.IGNORECASE) else None


def _in_messages(taken: dict[str, Any]) -> dict[str, Any]:
    roles = {"prompts": "user", "completions": "assistant"}
    chats = {
        name: [[{"role": role, "content": text}] for text in taken[name]]
        for name, role in roles.items()
        if name in taken
    }
    return {**taken, **chats}


def _result(function: Callable[..., Any], taken: Mapping[str, Any]) -> Any:
    result = function(**taken)
    if inspect.isgenerator(result):
        return list(result)  # here, where what it raises is expected
    return _event_loop().run(result) if inspect.iscoroutine(result) else result


@cache
def _event_loop() -> "Runner":
    """One for the process: what a function keeps open, such as a client, belongs to its loop."""
    from asyncio import Runner

    return Runner()


def _listed(given: Mapping[str, Any]) -> str:
    return ", ".join([*(name for name in given if name not in BESIDES), *BESIDES])


def _is_finite(value: object) -> bool:
    if isinstance(value, str | bytes):
        return False
    try:
        return math.isfinite(float(value))  # type: ignore[arg-type]  # numpy and torch scalars too
    except (TypeError, ValueError, OverflowError):
        return False
