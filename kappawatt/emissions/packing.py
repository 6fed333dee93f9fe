"""Messages of the steps as bytes, for the journal: plain values, small numbers in few bytes, and back, bit by bit."""

import pickle
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.ledger.frames import Columns, Device, Frame, Place, Suspect
from kappawatt.ledger.inbox import Message, Report
from kappawatt.ledger.prices import Price
from kappawatt.ledger.runs import Event
from kappawatt.ledger.zones import ZoneHour

Ints = NDArray[np.int64]
Contribution = tuple[int, ZoneHour]
"""Number of a shard, and what it says of a zone and hour."""

_SUSPECT, _PRICE, _REPORT, _EVENT = range(4)

_KINDS = (None, np.uint8, np.uint16, np.uint32, np.int64)  # none for a column with one value
_MOST = np.array([0, (1 << 8) - 1, (1 << 16) - 1, (1 << 32) - 1], np.uint64)


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
    """Frames as one. Arrays have a price of their own, whatever their length: so all columns of a table are one."""
    # Flat lists of names: most are one and the same object again and again, which pickle writes in two to five bytes.
    places = list(chain.from_iterable(chain.from_iterable(frame.places for frame in frames)))
    devices = list(chain.from_iterable(chain.from_iterable(frame.devices for frame in frames)))
    place = _offsets([len(frame.places) for frame in frames])
    device = _offsets([len(frame.devices) for frame in frames])
    return (
        places,
        devices,
        _table([{"": frame.cell_place, "window": frame.cell_window, **frame.cells} for frame in frames], place),
        _table([{"": frame.usage_place, **frame.usage} for frame in frames], place),
        _table([{"": frame.device, "window": frame.device_window, **frame.device_rows} for frame in frames], device),
    )


def _offsets(lengths: list[int]) -> list[int]:
    return [0, *accumulate(lengths)][:-1]


def _frame(values: Sequence[Any]) -> Frame:
    places, devices, *tables = values
    cells, usage, device_rows = map(_untable, tables)
    return Frame(
        [Place(*names) for names in zip(*[iter(places)] * 3, strict=True)],
        cells.pop(""),
        cells.pop("window"),
        cells,
        usage.pop(""),
        usage,
        [Device(*names) for names in zip(*[iter(devices)] * 3, strict=True)],
        device_rows.pop(""),
        device_rows.pop("window"),
        device_rows,
    )


def _table(frames: list[Columns], first: list[int]) -> tuple[Any, ...]:
    """Columns of some frames below one another; those named "" point into lists that begin at *first*."""
    widths = {name: column.shape[1] if column.ndim == 2 else 0 for name, column in frames[0].items()}
    flat = [name for name, column in frames[0].items() if not widths[name] and column.dtype == np.int64]
    wide = [name for name, column in frames[0].items() if widths[name] and column.dtype == np.int64]
    rows = [len(frame[""]) for frame in frames]
    block = np.concatenate([frame[name] for name in flat for frame in frames]).reshape(len(flat), sum(rows))
    block[0] += np.repeat(first, rows)  # "" is the first of all
    if wide:
        block = np.concatenate((block, *(np.concatenate([frame[name] for frame in frames]).T for name in wide)))
    others = {name: np.concatenate([frame[name] for frame in frames]) for name in widths if name not in {*flat, *wide}}
    return (widths, narrow(block), others)


def _untable(packed: tuple[Any, ...]) -> Columns:
    widths, narrowed, others = packed
    block = widen(narrowed)
    flat = [name for name, width in widths.items() if not width and name not in others]
    found: Columns = {**others, **{name: block[at] for at, name in enumerate(flat)}}
    at = len(flat)
    for name, width in widths.items():
        if width and name not in others:
            found[name] = np.ascontiguousarray(block[at : at + width].T)
            at += width
    return {name: found[name] for name in widths}


def narrow(block: Ints) -> tuple[Any, ...]:
    """Columns of integers, [columns, rows], each in the least number of bytes as the distance from its least value.

    >>> low, parts, shape = narrow(np.array([[1_700_000_000, 1_700_000_100], [7, 7]]))
    >>> low.tolist(), parts, shape
    ([1700000000, 7], [(array([0]), array([[  0, 100]], dtype=uint8))], (2, 2))
    """
    if block.size == 0:
        return (np.zeros(len(block), np.int64), [], block.shape)
    low = block.min(axis=1)
    span = block.max(axis=1).view(np.uint64) - low.view(np.uint64)  # modulo 2^64, so no distance is too great
    size = np.searchsorted(_MOST, span)
    parts = []
    for number in np.unique(size[size > 0]).tolist():
        at = np.flatnonzero(size == number)
        parts.append((at, (block[at] - low[at, None]).astype(_KINDS[number])))
    return (low, parts, block.shape)


def widen(narrowed: tuple[Any, ...]) -> Ints:
    """The block that `narrow` took."""
    low, parts, shape = narrowed
    block = np.empty(shape, np.int64)
    block[:] = low[:, None]
    for at, distance in parts:
        block[at] += distance.astype(np.int64)
    return block
