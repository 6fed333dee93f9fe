"""Every record of a file log, one by one: for `verify`, tests and curious people, not for the flow."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kappawatt.log.files import FileLog
from kappawatt.wire import codec

_CHUNK = 4 << 20


def records(directory: Path, topic: str) -> Iterator[dict[str, Any]]:
    """The readable records of *topic* below *directory*, partition by partition, in the order of writing."""
    log, schema = FileLog(directory), codec.schema(topic)
    for name in log.partitions(topic):
        partition, position = log.partition(topic, name), None
        while True:
            chunk = partition.read(position, _CHUNK)
            for start, end in zip(chunk.start.tolist(), chunk.end.tolist(), strict=True):
                yield codec.decode_one(schema, chunk.buffer[start:end])
            if chunk.at_end or chunk.next == position:
                break
            position = chunk.next
