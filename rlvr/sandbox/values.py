"""Plain values as tagged JSON, and the frames they travel in: the one language of the channel.

Runs on both sides of the sandbox, so it imports the standard library alone. What the inside sends
is hostile: it is bounded in bytes, depth and size, and becomes builtin types or a ValueError.
"""

import base64
import json
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinFunctionType
from typing import Any

MOST_BYTES = 1 << 20  # of a frame from the inside
USUAL_BYTES = 1 << 12
DEEPEST = 64
MOST_HASHED = 10_000  # of a set or a dictionary: keys that collide cost their square
EXACT_INT = 1 << 53
# What a test may pass as it is: `f([1, "a"], int)`, `f(max)`.
NAMED = {
    thing.__name__: thing
    for thing in (
        *(bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict, object, type),
        *(abs, all, any, len, max, min, ord, pow, range, reversed, round, sorted, sum, zip),
    )
}

_JSON = json.JSONDecoder()
Value = Any
Refer = Callable[[object], int]
Ask = Callable[[str, tuple[object, ...], dict[str, object]], Any]


class Remote:
    """An object that stays inside the sandbox. Outside it can be passed back, and what tests do
    with it (its items, attributes, a call) is done inside; it equals nothing but itself."""

    __slots__ = ("_ask", "number")

    def __init__(self, number: int, ask: Ask | None = None) -> None:
        object.__setattr__(self, "number", number)
        object.__setattr__(self, "_ask", ask)

    def _do(self, operation: str, *args: object, **kwargs: object) -> Any:
        assert self._ask is not None
        return self._ask(operation, (self, *args), kwargs)

    def __call__(self, *args: object, **kwargs: object) -> Any:
        return self._do("call", *args, **kwargs)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._do("list"))

    def __next__(self) -> Any:
        return self._do("next")

    def __len__(self) -> int:
        """Python's `list` asks for it first, and makes room for as many."""
        length = self._do("len")
        if type(length) is not int or not 0 <= length <= MOST_BYTES:
            raise TypeError(f"an object inside the sandbox has no length up to {MOST_BYTES}")
        return length

    def __bool__(self) -> bool:
        return bool(self._do("bool"))

    def __getitem__(self, key: object) -> Any:
        return self._do("getitem", key)

    def __repr__(self) -> str:
        return "<an object inside the sandbox>"

    def __getattr__(self, name: str) -> Any:
        if not self._do("hasattr", name):
            raise AttributeError(name)
        return self._do("getattr", name)

    def __setattr__(self, name: str, value: object) -> None:
        self._do("setattr", name, value)


def encode(value: object, refer: Refer | None = None, depth: int = DEEPEST) -> Value:
    """`value` as JSON with tags; a subclass of a builtin is sent as that builtin.

    What is none goes to `refer`, which returns its number; without it, as when it is nested too
    deep, it is a ValueError.
    """
    if depth < 0:
        raise ValueError(f"nested deeper than {DEEPEST}")
    if value is None or type(value) is bool:
        return value
    if isinstance(value, Remote):
        return {"ref": value.number}
    if isinstance(value, type | BuiltinFunctionType):
        name = getattr(value, "__name__", "")
        if NAMED.get(name) is value:
            return {"named": name}
    if isinstance(value, int):
        number = int.__int__(value)
        return number if abs(number) < EXACT_INT else {"int": hex(number)}
    if isinstance(value, float):
        return {"float": float.hex(value)}
    if isinstance(value, complex):
        return {"complex": [float.hex(value.real), float.hex(value.imag)]}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes | bytearray):
        kind = "bytes" if isinstance(value, bytes) else "bytearray"
        return {kind: base64.b64encode(value).decode()}
    if isinstance(value, dict):
        pairs = [[k, v] for k, v in dict.items(value)]
        return {"dict": [[encode(part, refer, depth - 1) for part in pair] for pair in pairs]}
    builtin: type[Any]
    for builtin in (list, tuple, set, frozenset):
        if isinstance(value, builtin):
            members = [encode(m, refer, depth - 1) for m in builtin.__dict__["__iter__"](value)]
            return members if builtin is list else {builtin.__name__: members}
    if refer is None:
        raise ValueError(f"{type(value).__name__} is no plain value")
    return {"ref": refer(value)}


def decode(value: Value, ask: Ask | None = None, depth: int = DEEPEST + 1) -> object:
    """What `encode` was given, in builtin types and `Remote`; ValueError for anything else."""
    if depth < 0:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [decode(member, ask, depth - 1) for member in value]
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("a value with one tag was expected")
    ((tag, content),) = value.items()
    try:
        return _decode_tagged(tag, content, ask, depth)
    except (TypeError, OverflowError) as error:  # such as a list as a key
        raise ValueError(str(error)) from None


def _decode_tagged(tag: str, content: Any, ask: Ask | None, depth: int) -> object:
    if tag == "int":
        return int(content, 16)
    if tag == "float":
        return float.fromhex(content)
    if tag == "complex":
        return complex(*map(float.fromhex, content))
    if tag in ("bytes", "bytearray"):
        data = base64.b64decode(content, validate=True)
        return data if tag == "bytes" else bytearray(data)
    if tag == "named" and content in NAMED:
        return NAMED[content]
    if tag == "ref" and type(content) is int:
        return Remote(content, ask)
    if not isinstance(content, list):
        raise ValueError(f"the tag {tag!r} with {type(content).__name__}")
    if tag == "tuple":
        return tuple(decode(member, ask, depth - 1) for member in content)
    if len(content) > MOST_HASHED:
        raise ValueError(f"a {tag} of more than {MOST_HASHED} members")
    if tag == "dict":
        return {decode(k, ask, depth - 1): decode(v, ask, depth - 1) for k, v in content}
    if tag in ("set", "frozenset"):
        members = (decode(member, ask, depth - 1) for member in content)
        return set(members) if tag == "set" else frozenset(members)
    raise ValueError(f"no such tag: {tag!r}")


def equal(left: object, right: object) -> bool:
    """Python's ==, but a bool equals a bool only, at any depth of containers."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | tuple) and isinstance(right, type(left)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        same = left.keys() == right.keys() and _bools(left) == _bools(right)
        return same and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, set | frozenset) and isinstance(right, set | frozenset):
        return left == right and _bools(left) == _bools(right)
    return bool(left == right)


def _bools(members: Iterable[object]) -> set[bool]:
    """Of the members those that are bools, which are equal to 0 and 1 as keys."""
    return {member for member in members if isinstance(member, bool)}


def send(channel: int, message: Value, most: int | None = None) -> None:
    """Write one frame: four bytes of length, then JSON; ValueError for more than `most` bytes."""
    data = json.dumps(message).encode()
    if most is not None and len(data) > most:
        raise ValueError(f"a result of {len(data)} bytes; at most {most} are read")
    left = memoryview(len(data).to_bytes(4) + data)
    while left:
        left = left[os.write(channel, left) :]


def receive(channel: int, until: float | None = None, most: int = MOST_BYTES) -> Value:
    """The next frame; TimeoutError after `until` (monotonic seconds), EOFError when the other side
    is gone, ValueError when it talks nonsense, out of turn or more than `most` bytes."""
    data = _read(channel, USUAL_BYTES, until)
    while len(data) < 4:
        data += _read(channel, USUAL_BYTES, until)
    size = 4 + int.from_bytes(data[:4])
    if size > 4 + most:
        raise ValueError(f"a frame of {size - 4} bytes; at most {most} are read")
    while len(data) < size:
        data += _read(channel, size - len(data), until)
    if len(data) > size:
        raise ValueError("more than one frame")
    text = data[4:].decode()
    try:
        value, end = _JSON.raw_decode(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if end < len(text):
        raise ValueError("more than one value")
    return value


def _read(channel: int, size: int, until: float | None) -> bytearray:
    if (
        until is not None
        and not select.select([channel], [], [], max(0.0, until - time.monotonic()))[0]
    ):
        raise TimeoutError
    try:
        chunk = os.read(channel, size)
    except ConnectionError:
        chunk = b""
    if not chunk:
        raise EOFError
    return bytearray(chunk)
