"""Records of a topic one by one, whatever schema they were written in, if that resolves to the topic's."""

from collections.abc import Callable, Mapping
from typing import Any

from kappawatt.errors import WireError

from .codec import TrailingBytesError, decode_one
from .reader import compile_reader
from .schemas import plain_type, schema

_PROMOTIONS = {"int": ("long", "float", "double"), "long": ("float", "double"), "float": ("double",)}
_KEPT = 256


class TopicReader:
    """Reads datums of one topic; nothing that a writer can put into them or into its schema makes it fail.

    Args:
        topic: Which records.
        schemas: The writer's schema by its registry id; None: there is none of that id.
        max_bytes: Larger datums are `too_large`.
    """

    def __init__(self, topic: str, schemas: Callable[[int], Mapping[str, Any] | None], *, max_bytes: int) -> None:
        self._topic, self._schemas, self._max_bytes = topic, schemas, max_bytes
        self._fits: dict[int, tuple[Mapping[str, Any], bool]] = {}

    def __repr__(self) -> str:
        return f"<TopicReader {self._topic}, {len(self._fits)} schemas>"

    def read(self, schema_id: int, datum: bytes | memoryview) -> dict[str, Any] | str:
        """The record with the fields of the bundled schema, or the reason why there is none; id 0: the bundled schema.

        Raises:
            LogError: The registry cannot be reached.
        """
        if len(datum) > self._max_bytes:
            return "too_large"
        written, fits = self._writer(schema_id)
        if written is None:
            return "unknown_schema"
        if not fits:
            return "undecodable"
        try:
            record = decode_one(written, datum)
        except TrailingBytesError:
            return "trailing_bytes"
        except WireError:
            return "undecodable"
        return record if schema_id == 0 else _project(record, schema(self._topic))

    def _writer(self, schema_id: int) -> tuple[Mapping[str, Any] | None, bool]:
        if schema_id == 0:
            return schema(self._topic), True
        known = self._fits.get(schema_id)
        if known is not None:
            return known
        written = self._schemas(schema_id)
        if written is None:
            return None, False
        if len(self._fits) >= _KEPT:
            self._fits.clear()
        self._fits[schema_id] = written, resolves(written, self._topic)
        return self._fits[schema_id]


def resolves(writer: Mapping[str, Any], topic: str = "sample") -> bool:
    """True if the writer's records can be read as *topic*, by the rules of "Schema Resolution" (Avro 1.12).

    Between bytes and string nothing is converted, a union must fit with every branch, and a type that is only named
    where another place defines it does not fit.
    """
    try:
        compile_reader(writer)
        return writer["type"] == "record" and _fits(writer, schema(topic))
    except (WireError, KeyError, TypeError, AttributeError):
        return False


def _fits(writer: Any, reader: Any) -> bool:
    writer, reader = plain_type(writer), plain_type(reader)
    if isinstance(writer, list):
        return all(_fits(each, reader) for each in writer)
    if isinstance(reader, list):
        return any(_fits(writer, each) for each in reader)
    if not (isinstance(writer, dict) and isinstance(reader, dict)):
        return bool(writer == reader or (isinstance(writer, str) and reader in _PROMOTIONS.get(writer, ())))
    if writer["type"] != reader["type"]:
        return False
    if reader["type"] == "record":
        return _fits_record(writer, reader)
    part = "items" if reader["type"] == "array" else "values"
    return _fits(writer[part], reader[part])


def _fits_record(writer: Mapping[str, Any], reader: Mapping[str, Any]) -> bool:
    if str(writer["name"]).rpartition(".")[2] != reader["name"]:
        return False
    written = {each["name"]: each["type"] for each in writer["fields"]}
    return all(
        _fits(written[each["name"]], each["type"]) if each["name"] in written else "default" in each
        for each in reader["fields"]
    )


def _project(value: Any, reader: Any) -> Any:
    """A value of a schema that resolves to *reader* as *reader* has it: its fields, its defaults, its numbers."""
    reader = plain_type(reader)
    if isinstance(reader, list):
        return None if value is None else _project(value, next(each for each in reader if each != "null"))
    if isinstance(reader, str):
        return float(value) if reader in ("float", "double") else value
    if reader["type"] == "record":
        return {
            each["name"]: _project(value[each["name"]], each["type"]) if each["name"] in value else each["default"]
            for each in reader["fields"]
        }
    if reader["type"] == "array":
        return [_project(each, reader["items"]) for each in value]
    return {key: _project(each, reader["values"]) for key, each in value.items()}
