"""What `_target_` names in a config: imported and checked, one message for each mistake."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from rlvr.errors import UserError, failure, nearest

NO_PARAMETERS = {"_target_", "weight"}  # of what a node holds


class MissingNameError(LookupError):
    """A part of a dotted name that is not there."""


def import_target(key: str, path: object) -> Callable[..., Any]:
    """The function or class that `key._target_=path` names; UserError says why there is none."""
    if not isinstance(path, str):
        raise UserError(f"{key} needs _target_: the dotted name of a Python function or class")
    setting = f"{key}._target_={path}"
    if not all(part.isidentifier() for part in path.split(".")):
        raise UserError(f"{setting}: expected a dotted name, such as my_rewards.brevity")
    try:
        target = _find(path)
    except MissingNameError as error:
        raise UserError(f"{setting}: {error.args[0]}") from None
    except (Exception, SystemExit) as error:  # whatever the user's module does when imported
        raise UserError(f"{setting}: importing it {failure(error)}") from error
    if not callable(target):
        raise UserError(f"{setting} is neither a function nor a class")
    try:
        inspect.signature(target)
    except ValueError:
        raise UserError(
            f"{setting} does not say what parameters it takes: wrap it in a function of your own"
        ) from None
    return target


def _find(path: str) -> Any:
    first, *names = path.split(".")
    found: Any = _module(first)
    if found is None:
        hint = nearest(first, (module.name for module in pkgutil.iter_modules()))
        raise MissingNameError(f"there is no module {first!r} on the Python path{hint}")
    outer = first
    for name in names:
        if not hasattr(found, name) and _module(f"{outer}.{name}") is None:
            raise MissingNameError(f"{outer} has no {name!r}{nearest(name, dir(found))}")
        found = getattr(found, name)
        outer = f"{outer}.{name}"
    return found


def _module(name: str) -> object:
    """The module of that name, or None; a module that it imports may be missing, too."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


def target_problems(key: str, node: Any, given: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with a node that names a class or function and sets its parameters.

    `given` are parameters that it gets in any case.
    """
    try:
        target = import_target(key, node.get("_target_") if isinstance(node, Mapping) else None)
    except UserError as error:
        yield str(error)
    else:
        yield from parameter_problems(key, node, target, given)


def parameter_problems(
    key: str,
    node: Mapping[Any, Any],
    target: Callable[..., Any],
    given: Collection[str] = (),
    all_at_once: bool = True,
) -> Iterator[str]:
    """What is wrong with the parameters that a node sets for its target.

    Without `all_at_once` the rest comes with each call: nothing is missing yet, and `**columns` are
    for columns, so that a misspelt parameter is found.
    """
    path, set_here = node["_target_"], {str(name) for name in node} - NO_PARAMETERS
    parameters = inspect.signature(target).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    names = [p.name for p in named]
    takes_any = all_at_once and any(p.kind is p.VAR_KEYWORD for p in parameters)
    for unknown in sorted(set_here - set(names)) if not takes_any else ():
        yield (
            f"{key}.{unknown} is not a parameter of {path}{nearest(unknown, names) or '.'} It "
            f"takes: {', '.join(names) or 'none'}. Remove it (~{key}.{unknown} where another "
            "option has set it)"
        )
    for parameter in named if all_at_once else ():
        if parameter.default is parameter.empty and parameter.name not in {*set_here, *given}:
            yield f"{key}.{parameter.name} is not set: {path} requires it"
