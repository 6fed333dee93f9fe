"""How the NumPy way walks a writer's schema: the fields of `sample` in their order, others stepped over."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from .columns import LONGS
from .schemas import plain_type, schema

SKIPPED = frozenset({"boolean", "int", "long", "float", "double", "string", "bytes"})

_STEPS = {
    "collector_id": "text",
    "seq": "long",
    "host": "text",
    "run_id": "optional_text",
    "zone": "text",
    "start": "long",
    "end": "long",
    "kind": "codes",
    "method": "codes",
    "energy_uj": "longs",
    "device": "devices",
    "utilization": "floats",
    "temperature_c": "floats",
    "memory_bytes": "longs",
    "flags": "flags",
    **dict.fromkeys(LONGS, "long"),
}
_COLUMNS = {"start": "start_us", "end": "end_us"}
_MAY_LACK = frozenset(LONGS)


class Step(NamedTuple):
    """One field of the writer: how to walk it, and the column it fills or, of a skipped one, its type."""

    walk: str
    column: str


class Plan(NamedTuple):
    """The steps in the writer's order, and the defaults of columns that the writer lacks."""

    steps: tuple[Step, ...]
    defaults: Mapping[str, int]


def plan(writer: Mapping[str, Any]) -> Plan | None:
    """The walk over the writer's datums; None if its shape is another than that of `sample`.

    Fields of primitive type, also optional ones, may stand anywhere between those of `sample`; longs that have a
    default may be missing.
    """
    expected = {each["name"]: each for each in schema("sample")["fields"]}
    order = list(expected)
    steps: list[Step] = []
    seen: list[str] = []
    for each in writer.get("fields", ()):
        kind, name = plain_type(each["type"]), each["name"]
        if name not in expected:
            step = _skip(kind)
        elif _shape(kind) == _shape(plain_type(expected[name]["type"])):
            step = Step(_STEPS[name], _COLUMNS.get(name, name))
            seen.append(name)
        else:
            step = None
        if step is None:
            return None
        steps.append(step)
    lacking = set(order) - set(seen)
    if writer.get("type") != "record" or seen != [name for name in order if name in set(seen)] or lacking - _MAY_LACK:
        return None
    return Plan(tuple(steps), {name: expected[name]["default"] for name in lacking})


def primitive(kind: Any) -> tuple[str, int | None] | None:
    """Of a primitive type its name and None, of an optional one its name and branch in the union; else None."""
    if isinstance(kind, str):
        return (kind, None) if kind in SKIPPED else None
    if not isinstance(kind, list) or len(kind) != 2 or "null" not in kind:
        return None
    present = kind.index("null") ^ 1
    value = plain_type(kind[present])
    return (value, present) if isinstance(value, str) and value in SKIPPED else None


def _skip(kind: Any) -> Step | None:
    found = primitive(kind)
    if found is None:
        return None
    return Step("skip" if found[1] is None else f"skip_if_{found[1]}", found[0])


def _shape(kind: Any) -> Any:
    """A type without docs and logical types, as far down as `sample` goes."""
    if isinstance(kind, dict) and kind.get("type") == "array":
        return "array", plain_type(kind.get("items"))
    return [plain_type(each) for each in kind] if isinstance(kind, list) else kind
