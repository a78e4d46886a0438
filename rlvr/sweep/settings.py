"""The `launcher` node of a configuration, typed: what every launcher has, and how it is read."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Self

from omegaconf import OmegaConf
from omegaconf.errors import ValidationError

from rlvr.errors import UserError, nearest


def bounded(default: Any, least: float, most: float | None = None) -> Any:
    """A field of a settings class whose value, where it has one, lies within these bounds."""
    return field(default=default, metadata={"least": least, "most": most})


@dataclass
class Settings:
    """One job's `launcher` node; each launcher adds what it has. Explained in conf/launcher/."""

    name: str | None = None
    resume: str | None = None
    extend: bool = False
    notify: str | None = None
    n_jobs: int | None = bounded(None, 1)

    @classmethod
    def read(cls, node: dict[str, Any], launcher: str) -> Self:
        """Raises one UserError that lists everything wrong with the node."""
        typed, known = OmegaConf.structured(cls), {f.name: f for f in fields(cls)}
        wrong = []
        for key, value in node.items():
            if key not in known:
                wrong.append(
                    f"launcher.{key} is not a setting of the {launcher} launcher"
                    f"{nearest(key, known)}; its settings are {', '.join(sorted(known))}"
                )
                continue
            try:
                typed[key] = value
            except ValidationError:
                wrong.append(f"launcher.{key}={value}: must be {_type(known[key].type)}")
        if not wrong:
            settings = OmegaConf.to_object(typed)
            assert isinstance(settings, cls)
            wrong = [*settings._out_of_bounds(), *settings.problems(launcher)]
            if not wrong:
                return settings
        raise UserError("invalid launcher settings:\n" + "\n".join(f"  {p}" for p in wrong))

    def problems(self, launcher: str) -> Iterator[str]:
        """What types and bounds do not say."""
        if self.name not in (None, launcher):
            yield f"launcher.name={self.name}: choose a launcher by launcher=NAME alone"
        if self.notify is not None and not self.notify.strip():
            yield "launcher.notify is empty: give a command, an SNS topic's ARN, or null"

    def _out_of_bounds(self) -> Iterator[str]:
        for f in fields(self):
            value, least = getattr(self, f.name), f.metadata.get("least")
            most = f.metadata.get("most")
            if least is None or value is None:
                continue
            if value < least or (most is not None and value > most):
                upper = f" and at most {most:g}" if most is not None else ""
                yield f"launcher.{f.name}={value}: must be at least {least:g}{upper}"


WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}


def _type(kind: Any) -> str:
    """As people read it: `a whole number or null`."""
    first, *others = str(getattr(kind, "__name__", kind)).split(" | ")
    return " or ".join(
        [WORDS.get(first, first), *(other.replace("None", "null") for other in others)]
    )
