"""Messages of the steps as bytes, for the journal: plain values, small numbers in few bytes, and back, bit by bit."""

import pickle
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import Device, Frame, Place, Suspect
from kappawatt.ledger.inbox import Message, Report
from kappawatt.ledger.prices import Price
from kappawatt.ledger.runs import Event
from kappawatt.ledger.zones import ZoneHour

Array = NDArray[Any]
Contribution = tuple[int, ZoneHour]
"""Number of a shard, and what it says of a zone and hour."""

_SUSPECT, _PRICE, _REPORT, _EVENT = range(4)


def pack(messages: Sequence[Message]) -> bytes:
    """Messages to a ledger shard; `unpack` gives equal ones, but all frames as one, which a shard takes as the same."""
    frames = [message for message in messages if isinstance(message, Frame)]
    others = [_plain(message) for message in messages if not isinstance(message, Frame)]
    return pickle.dumps(([_plain_frame(frames)] if frames else [], others), pickle.HIGHEST_PROTOCOL)


def unpack(blob: bytes) -> list[Message]:
    """What `pack` took."""
    frames, others = pickle.loads(blob)  # noqa: S301  # our own state
    return [*map(_frame, frames), *(_message(kind, values) for kind, values in others)]


def pack_zones(messages: Sequence[Contribution]) -> bytes:
    """Messages to a zone shard; `unpack_zones` gives equal ones."""
    return pickle.dumps([(shard, tuple(hour)) for shard, hour in messages], pickle.HIGHEST_PROTOCOL)


def unpack_zones(blob: bytes) -> list[Contribution]:
    """What `pack_zones` took."""
    return [(shard, ZoneHour(*values)) for shard, values in pickle.loads(blob)]  # noqa: S301  # our own state


def _plain(message: Suspect | Price | Report | tuple[str, Event]) -> tuple[int, Any]:
    if isinstance(message, Suspect):
        return (_SUSPECT, tuple(message))
    if isinstance(message, Price):
        return (_PRICE, tuple(message))
    if isinstance(message, Report):
        return (_REPORT, tuple(message))
    run_id, event = message
    return (_EVENT, (run_id, tuple(event)))


def _message(kind: int, values: Any) -> Message:
    if kind == _SUSPECT:
        return Suspect(*values)
    if kind == _PRICE:
        return Price(*values)
    if kind == _REPORT:
        return Report(*values)
    run_id, event = values
    return (run_id, Event(*event))


def _plain_frame(frames: Sequence[Frame]) -> tuple[Any, ...]:
    """Frames as one; an array has a price of its own, whatever its length."""
    place = _offsets([len(frame.places) for frame in frames])
    device = _offsets([len(frame.devices) for frame in frames])

    def joined(arrays: Iterable[Array]) -> Any:
        return narrow(np.concatenate(list(arrays)))

    # Flat lists of names: most are one and the same object again and again, which pickle writes in two to five bytes.
    return (
        [name for frame in frames for name in chain.from_iterable(frame.places)],
        [name for frame in frames for name in chain.from_iterable(frame.devices)],
        joined(frame.cell_place + first for frame, first in zip(frames, place, strict=True)),
        joined(frame.cell_window for frame in frames),
        joined(frame.usage_place + first for frame, first in zip(frames, place, strict=True)),
        joined(frame.device + first for frame, first in zip(frames, device, strict=True)),
        joined(frame.device_window for frame in frames),
        {name: joined(frame.cells[name] for frame in frames) for name in frames[0].cells},
        {name: joined(frame.usage[name] for frame in frames) for name in frames[0].usage},
        {name: joined(frame.device_rows[name] for frame in frames) for name in frames[0].device_rows},
    )


def _offsets(lengths: list[int]) -> list[int]:
    return [0, *accumulate(lengths)][:-1]


def _frame(values: Sequence[Any]) -> Frame:
    places, devices, *arrays = values
    indices, columns = map(widen, arrays[:5]), arrays[5:]
    cell_place, cell_window, usage_place, device, device_window = indices
    cells, usage, device_rows = ({name: widen(column) for name, column in each.items()} for each in columns)
    return Frame(
        [Place(*names) for names in zip(*[iter(places)] * 3, strict=True)],
        cell_place,
        cell_window,
        cells,
        usage_place,
        usage,
        [Device(*names) for names in zip(*[iter(devices)] * 3, strict=True)],
        device,
        device_window,
        device_rows,
    )


def narrow(array: Array) -> Any:
    """An array as its type and least numbers of bytes: integers (by column) as the distance from their least.

    >>> narrow(np.array([1_700_000_000, 1_700_000_100]))
    ('<i8', 1700000000, array([  0, 100], dtype=uint8))
    """
    if array.dtype != np.int64 or array.size == 0:
        return array.copy()
    if array.ndim == 2:
        return [narrow(column) for column in array.T]
    low, high = int(array.min()), int(array.max())
    for kind in (np.uint8, np.uint16, np.uint32):
        if high - low <= np.iinfo(kind).max:
            return (array.dtype.str, low, (array - low).astype(kind))
    return array.copy()


def widen(narrowed: Any) -> Array:
    """The array that `narrow` took."""
    if isinstance(narrowed, list):
        return np.stack([widen(column) for column in narrowed], axis=1)
    if isinstance(narrowed, tuple):
        kind, low, rest = narrowed
        return np.asarray(rest.astype(kind) + low, kind)
    return np.asarray(narrowed)
