"""Plain values as tagged JSON, and the frames they travel in: the one language of the channel.

Runs on both sides of the sandbox, so it imports the standard library alone. What the inside sends
is hostile: it is bounded in bytes, depth and size, and becomes builtin types or a ValueError.
"""

import base64
import json
import os
import select
import struct
import time
from collections.abc import Callable
from typing import Any

MOST_BYTES = 1 << 20  # of a frame from the inside
DEEPEST = 64
MOST_HASHED = 10_000  # of a set or a dictionary: keys that collide cost their square
EXACT_INT = 1 << 53

Value = Any
Refer = Callable[[object], int]


class Remote:
    """An object that stays inside the sandbox; outside it can only be passed back."""

    def __init__(self, number: int) -> None:
        self.number = number


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


def decode(value: Value, depth: int = DEEPEST + 1) -> object:
    """What `encode` was given, in builtin types alone; ValueError for anything else."""
    if depth < 0:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [decode(member, depth - 1) for member in value]
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("a value with one tag was expected")
    ((tag, content),) = value.items()
    try:
        return _decode_tagged(tag, content, depth)
    except (TypeError, OverflowError) as error:  # such as a list as a key
        raise ValueError(str(error)) from None


def _decode_tagged(tag: str, content: Any, depth: int) -> object:
    if tag == "int":
        return int(content, 16)
    if tag == "float":
        return float.fromhex(content)
    if tag == "complex":
        return complex(*map(float.fromhex, content))
    if tag in ("bytes", "bytearray"):
        data = base64.b64decode(content, validate=True)
        return data if tag == "bytes" else bytearray(data)
    if tag == "ref" and type(content) is int:
        return Remote(content)
    if not isinstance(content, list):
        raise ValueError(f"the tag {tag!r} with {type(content).__name__}")
    if tag == "tuple":
        return tuple(decode(member, depth - 1) for member in content)
    if len(content) > MOST_HASHED:
        raise ValueError(f"a {tag} of more than {MOST_HASHED} members")
    if tag == "dict":
        return {decode(key, depth - 1): decode(member, depth - 1) for key, member in content}
    if tag in ("set", "frozenset"):
        members = (decode(member, depth - 1) for member in content)
        return set(members) if tag == "set" else frozenset(members)
    raise ValueError(f"no such tag: {tag!r}")


def equal(left: object, right: object) -> bool:
    """Python's ==, but a bool equals a bool only, at any depth of lists, tuples and dicts."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list | tuple) and isinstance(right, type(left)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    return bool(left == right)


def send(channel: int, message: Value, most: int | None = None) -> None:
    """Write one frame: four bytes of length, then JSON; ValueError for more than `most` bytes."""
    data = json.dumps(message).encode()
    if most is not None and len(data) > most:
        raise ValueError(f"a result of {len(data)} bytes; at most {most} are read")
    left = memoryview(struct.pack(">I", len(data)) + data)
    while left:
        left = left[os.write(channel, left) :]


def receive(channel: int, until: float | None = None, most: int = MOST_BYTES) -> Value:
    """The next frame; TimeoutError after `until` (monotonic seconds), EOFError when the other side
    is gone, ValueError when it talks nonsense or more than `most` bytes."""
    (size,) = struct.unpack(">I", _read(channel, 4, until))
    if size > most:
        raise ValueError(f"a frame of {size} bytes; at most {most} are read")
    try:
        return json.loads(_read(channel, size, until))
    except RecursionError:
        raise ValueError("nested too deep") from None


def _read(channel: int, size: int, until: float | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        if (
            until is not None
            and not select.select([channel], [], [], max(0.0, until - time.monotonic()))[0]
        ):
            raise TimeoutError
        try:
            chunk = os.read(channel, size - len(data))
        except ConnectionError:
            chunk = b""
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)
