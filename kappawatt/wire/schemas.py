"""The bundled schemas, one a topic, and when two schemas are the same."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from kappawatt.errors import WireError
from kappawatt.resources import data_dir

TOPICS = ("sample", "intensity", "run_event", "dead_letter", "alert")
"""The topics of the log; each has a schema of the same name."""

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_KEYS = ("name", "type", "fields", "symbols", "items", "values", "size")
_MAX_DEPTH = 32


@cache
def schema(topic: str) -> dict[str, Any]:
    """The bundled schema of a topic, as parsed from its `.avsc`; shared, not to be changed.

    >>> schema("sample")["fields"][0]["name"]
    'collector_id'
    """
    if topic not in TOPICS:
        raise WireError(f"there is no topic {topic!r}; the topics are {', '.join(TOPICS)}")
    parsed: dict[str, Any] = json.loads((data_dir("avro") / f"{topic}.avsc").read_text("utf-8"))
    return parsed


def canonical(schema: Any) -> str:
    """The schema as one line without docs, defaults and logical types: equal lines mean equal bytes on the wire.

    Follows "Parsing Canonical Form for Schemas" of the Avro specification 1.12.
    """
    return json.dumps(_strip(schema, "", 0), separators=(",", ":"), ensure_ascii=False)


def full_name(node: Mapping[str, Any], namespace: str) -> str:
    """Full name of a named type (record, enum, fixed) that stands inside *namespace*."""
    name = str(node.get("name", ""))
    space = "" if "." in name else str(node.get("namespace", namespace))
    return f"{space}.{name}" if space else name


def refer(name: str, namespace: str) -> str:
    """Full name that a reference by *name* inside *namespace* means."""
    return name if "." in name or not namespace or name in PRIMITIVES else f"{namespace}.{name}"


def plain_type(node: Any) -> Any:
    """A type without wrapper objects: `{"type": "long", "logicalType": …}` is `"long"`."""
    depth = 0
    while isinstance(node, dict) and (isinstance(node.get("type"), dict | list) or node.get("type") in PRIMITIVES):
        node = node["type"]
        depth += 1
        if depth > _MAX_DEPTH:
            raise WireError(f"a schema nests deeper than {_MAX_DEPTH} levels; it is not one of ours")
    return node


def _strip(node: Any, namespace: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise WireError(f"a schema nests deeper than {_MAX_DEPTH} levels; it is not one of ours")
    node = plain_type(node)
    if isinstance(node, str):
        return refer(node, namespace)
    if isinstance(node, list):
        return [_strip(each, namespace, depth + 1) for each in node]
    if not isinstance(node, dict):
        raise WireError(f"a schema holds {type(node).__name__} where a type must stand")
    if node.get("type") in ("record", "enum", "fixed"):
        name = full_name(node, namespace)
        node = {**node, "name": name}
        namespace = name.rpartition(".")[0]
    kept = {key: node[key] for key in _KEYS if key in node}
    for key in ("items", "values"):
        if key in kept:
            kept[key] = _strip(kept[key], namespace, depth + 1)
    if "fields" in kept:
        kept["fields"] = [_field(each, namespace, depth + 1) for each in kept["fields"]]
    return kept


def _field(node: Any, namespace: str, depth: int) -> dict[str, Any]:
    if not isinstance(node, dict) or "name" not in node or "type" not in node:
        raise WireError("a record's field in a schema lacks its name or its type")
    return {"name": node["name"], "type": _strip(node["type"], namespace, depth)}
