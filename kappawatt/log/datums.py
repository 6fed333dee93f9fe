"""Blocks to datums in a topic's bundled schema, whatever known schema they were written in."""

from collections.abc import Mapping
from typing import Any

from kappawatt.errors import WireError
from kappawatt.log.blocks import Block
from kappawatt.wire import codec, records

RECORDS: Mapping[str, type[Any]] = {
    "sample": records.Sample,
    "intensity": records.Intensity,
    "run_event": records.RunEvent,
    "dead_letter": records.DeadLetter,
    "alert": records.Alert,
}
"""The record class of each topic."""


def datums_of(topic: str, schema: Mapping[str, Any], data: bytes, block: Block) -> list[tuple[int, int] | bytes]:
    """The datums of *block*: bounds in *data* where the bytes are already right, else the translated bytes.

    Raises:
        WireError: The block does not hold what it says; none of its datums is given.
    """
    same = schema is codec.schema(topic)
    if same and block.count == 1:
        return [(block.begin, block.end)]
    found = codec.decode_many(schema, data[block.begin : block.end], block.count)
    if same:
        return [(block.begin + start, block.begin + end) for _, start, end in found]
    kind = RECORDS[topic]
    try:
        return [codec.encode(topic, kind.from_avro(record).to_avro()) for record, _, _ in found]
    except TypeError as error:  # a field without default is missing
        raise WireError(f"a record of another schema cannot become a {topic}: {error}") from error
