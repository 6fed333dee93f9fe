"""Reads one Avro datum, strictly: what the specification does not allow is an error, and no count or size is trusted.

fastavro reads on through varints of more than 64 bits, negative union branches and array counts beyond the data
(1.13.1), and a recursive schema makes it overflow the stack; bytes from elsewhere therefore come in here only.
"""

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from kappawatt.errors import WireError

from .schemas import full_name, plain_type, refer

Read = Callable[[bytes, int], tuple[Any, int]]
"""Reads the value at a position: (value, position behind it). An IndexError means that the bytes ended."""

_MAX_DEPTH = 32
_MAX_PARTS = 4096
_MAX_IDLE = 8
_FLOAT = struct.Struct("<f").unpack_from
_DOUBLE = struct.Struct("<d").unpack_from


def compile_reader(schema: Any) -> Read:
    """A reader of the schema's datums; the bytes it is given end where the datum must end.

    Raises:
        WireError: The schema is recursive, has items or many parts of no width, nests too deep, is huge or is none.
    """
    return _compile(schema, "", _Named(), 0).read


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of up to 64 bits."""
    byte = data[at]
    at += 1
    value = byte & 0x7F
    shift = 7
    while byte & 0x80:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise WireError("a number is longer than 10 bytes")
    if value >> 64:
        raise WireError("a number has more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def _read_int(data: bytes, at: int) -> tuple[int, int]:
    value, at = read_long(data, at)
    if not -0x80000000 <= value <= 0x7FFFFFFF:
        raise WireError("an int has more than 32 bits")
    return value, at


def _read_null(data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _read_boolean(data: bytes, at: int) -> tuple[bool, int]:
    if data[at] > 1:
        raise WireError(f"a boolean is {data[at]}")
    return data[at] == 1, at + 1


def _read_float(data: bytes, at: int) -> tuple[float, int]:
    _room(data, at, 4)
    return _FLOAT(data, at)[0], at + 4


def _read_double(data: bytes, at: int) -> tuple[float, int]:
    _room(data, at, 8)
    return _DOUBLE(data, at)[0], at + 8


def read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    """A length and so many bytes."""
    size, at = read_long(data, at)
    if size < 0:
        raise WireError(f"a length is {size}")
    _room(data, at, size)
    return data[at : at + size], at + size


def _read_string(data: bytes, at: int) -> tuple[str, int]:
    raw, at = read_bytes(data, at)
    return raw.decode("utf-8"), at


def _room(data: bytes, at: int, size: int) -> None:
    if at + size > len(data):
        raise IndexError


class _Type(NamedTuple):
    """Reader of a type, the least bytes a value takes, and its parts that take none."""

    read: Read
    width: int
    idle: int = 0


_PRIMITIVE: dict[str, _Type] = {
    "null": _Type(_read_null, 0, 1),
    "boolean": _Type(_read_boolean, 1),
    "int": _Type(_read_int, 1),
    "long": _Type(read_long, 1),
    "float": _Type(_read_float, 4),
    "double": _Type(_read_double, 8),
    "bytes": _Type(read_bytes, 1),
    "string": _Type(_read_string, 1),
}


class _Named:
    """Named types by full name, None while one is being defined; and how many parts the schema has had so far."""

    def __init__(self) -> None:
        self.types: dict[str, _Type | None] = {}
        self.parts = 0


def _compile(node: Any, namespace: str, names: _Named, depth: int) -> _Type:
    names.parts += 1
    if names.parts > _MAX_PARTS:
        raise WireError(f"a schema has more than {_MAX_PARTS} parts; it is not one of ours")
    if depth > _MAX_DEPTH:
        raise WireError(f"a schema nests deeper than {_MAX_DEPTH} levels; it is not one of ours")
    node = plain_type(node)
    if isinstance(node, str):
        return _PRIMITIVE.get(node) or _named(refer(node, namespace), names)
    if isinstance(node, list):
        return _union([_compile(each, namespace, names, depth + 1) for each in node])
    if not isinstance(node, dict):
        raise WireError(f"a schema holds {type(node).__name__} where a type must stand")
    kind = node.get("type")
    if kind == "array":
        items = _items(node.get("items"), namespace, names, depth)
        return _Type(_array(items.read, items.width), 1)
    if kind == "map":
        return _Type(_map(_items(node.get("values"), namespace, names, depth).read), 1)
    if kind == "record":
        return _record(node, namespace, names, depth)
    if kind in ("enum", "fixed"):
        made = _enum(node) if kind == "enum" else _fixed(node)
        names.types[full_name(node, namespace)] = made
        return made
    raise WireError(f"a schema has the type {kind!r}, which Avro does not know")


def _named(name: str, names: _Named) -> _Type:
    if name not in names.types:
        raise WireError(f"a schema refers to {name!r}, which it does not define")
    made = names.types[name]
    if made is None:
        raise WireError(f"a schema's record {name!r} contains itself; recursive schemas are not read")
    return made


def _items(node: Any, namespace: str, names: _Named, depth: int) -> _Type:
    items = _compile(node, namespace, names, depth + 1)
    if items.width < 1:
        raise WireError("a schema has items of no width, of which no data ever runs out; they are not read")
    return items


def _record(node: dict[str, Any], namespace: str, names: _Named, depth: int) -> _Type:
    name = full_name(node, namespace)
    names.types[name] = None
    fields: list[tuple[str, Read]] = []
    width = idle = 0
    for each in node.get("fields", ()):
        kind = _compile(each["type"], name.rpartition(".")[0], names, depth + 1)
        fields.append((str(each["name"]), kind.read))
        width, idle = width + kind.width, idle + kind.idle
    # ten records of ten nulls in ten records …: a datum of no byte that takes for ever
    if idle > _MAX_IDLE * (width + 1):
        raise WireError(f"a schema's record {name!r} has {idle} parts of no width; it is not read")

    def read_record(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        record = {}
        for field, read_field in fields:
            record[field], at = read_field(data, at)
        return record, at

    made = names.types[name] = _Type(read_record, width, idle)
    return made


def _union(branches: list[_Type]) -> _Type:
    reads = [each.read for each in branches]
    if not reads:
        raise WireError("a schema has a union of nothing")

    def read_union(data: bytes, at: int) -> tuple[Any, int]:
        branch, at = read_long(data, at)
        if not 0 <= branch < len(reads):
            raise WireError(f"a union has {len(reads)} branches, the data say branch {branch}")
        return reads[branch](data, at)

    return _Type(read_union, 1 + min(each.width for each in branches))


def _enum(node: dict[str, Any]) -> _Type:
    symbols = list(node.get("symbols", ()))

    def read_enum(data: bytes, at: int) -> tuple[str, int]:
        code, at = read_long(data, at)
        if not 0 <= code < len(symbols):
            raise WireError(f"an enum has {len(symbols)} symbols, the data say number {code}")
        return symbols[code], at

    return _Type(read_enum, 1)


def _fixed(node: dict[str, Any]) -> _Type:
    size = node.get("size")
    if not isinstance(size, int) or size < 0:
        raise WireError(f"a schema has a fixed of size {size!r}")

    def read_fixed(data: bytes, at: int) -> tuple[bytes, int]:
        _room(data, at, size)
        return data[at : at + size], at + size

    return _Type(read_fixed, size, int(size == 0))


def _block(data: bytes, at: int, width: int) -> tuple[int, int, int]:
    """Head of an array's or map's block: (items, position, where it must end or -1)."""
    count, at = read_long(data, at)
    stop = -1
    if count < 0:
        size, at = read_long(data, at)
        count, stop = -count, at + size
    if count * width > len(data) - at:
        raise IndexError
    return count, at, stop


def _array(read: Read, width: int) -> Read:
    def read_array(data: bytes, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            count, at, stop = _block(data, at, width)
            if not count:
                return items, at
            for _ in range(count):
                item, at = read(data, at)
                items.append(item)
            if stop not in (-1, at):
                raise WireError("a block's size is not that of its items")

    return read_array


def _map(read: Read) -> Read:
    def read_map(data: bytes, at: int) -> tuple[dict[str, Any], int]:
        pairs: dict[str, Any] = {}
        while True:
            count, at, stop = _block(data, at, 2)
            if not count:
                return pairs, at
            for _ in range(count):
                key, at = _read_string(data, at)
                pairs[key], at = read(data, at)
            if stop not in (-1, at):
                raise WireError("a block's size is not that of its items")

    return read_map
