"""What Optuna may choose from: the sweeps of Hydra's override grammar as Optuna's distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Transformer

from rlvr.dotted_keys import override_key
from rlvr.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Space:
    """`fixed` are the overrides that every run has."""

    distributions: "dict[str, BaseDistribution]"
    fixed: list[str]

    @classmethod
    def read(cls, params: Mapping[str, Any] | None, arguments: Sequence[str]) -> Self:
        """`arguments` win over `params`; raises UserError where there is nothing to choose."""
        own = {str(key): f"{key}={value}" for key, value in (params or {}).items()}
        given = {override_key(argument): argument for argument in arguments}
        parser = OverridesParser.create()
        overrides = parser.parse_overrides([*{**own, **given}.values()])
        swept = [override for override in overrides if override.is_sweep_override()]
        if not swept:
            raise UserError(
                "hydra/sweeper=rlvr_optuna has nothing to choose: give a key several values "
                "(shots=2,4), a range, or 'trainer.learning_rate=tag(log,interval(1e-6,1e-3))'"
            )
        fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
        return cls({o.get_key_element(): _distribution(o) for o in swept}, fixed)

    def overrides(self, chosen: Mapping[str, Any]) -> list[str]:
        return [*self.fixed, *(f"{key}={value}" for key, value in chosen.items())]


def _distribution(override: Override) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        assert sweep.start is not None
        assert sweep.end is not None
        log = "log" in sweep.tags
        if isinstance(sweep.start, int) and isinstance(sweep.end, int):
            return IntDistribution(sweep.start, sweep.end, log=log)
        return FloatDistribution(float(sweep.start), float(sweep.end), log=log)
    if isinstance(sweep, RangeSweep) and not sweep.shuffle:
        values = [*sweep.range()]
        if all(isinstance(value, int) for value in values):
            return IntDistribution(int(min(values)), int(max(values)), step=abs(int(sweep.step)))
        return FloatDistribution(min(values), max(values), step=abs(sweep.step))
    choices = [str(choice) for choice in override.sweep_iterator(transformer=Transformer.encode)]
    return CategoricalDistribution(choices)
