"""The fast way to columns: all datums at once, one field a step, for writers whose schema has the shape of `sample`.

Nothing is decided here about a datum that is out of the ordinary: it is left over for the exact way. Ordinary means:
one positive block an array, numbers of up to eight bytes, in arrays seven (2^48), codes of one, names of up to 63.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kappawatt.errors import WireError

from .columns import READINGS, ROWS, Decoded, Ints, Names, Series, offsets, take
from .interning import MAX_BLOCK_BYTES, Blocks, Interned
from .plan import Plan
from .reader import compile_reader
from .walk import Walk
from .words import Words

_TEXT = compile_reader("string")
_OPTIONAL_TEXT = compile_reader(["null", "string"])
_TEXTS = compile_reader({"type": "array", "items": "string"})


class NumpyWay:
    """Decodes the datums of one writer schema.

    Args:
        names: Where codes of series and layouts come from.
        plan: The walk over the writer's datums.
        few: What is not worth a pass of its own: up to so many samples of extraordinary size are left over.
    """

    def __init__(self, names: Names, plan: Plan, *, few: int) -> None:
        self._names = names
        self._plan = plan
        self._few = few
        self._identity = _runs(plan)
        self._series = Interned(self._series_code, len(self._identity))
        self._layouts = Interned(self._layout_code, 1)
        self._flags = Interned(_flags_code, 1)

    def decode(self, words: Words, start: Ints, end: Ints, index: Ints) -> tuple[Decoded, NDArray[np.bool_]]:
        """Columns of the ordinary datums, and which rows are left over."""
        walk = Walk(words, start, end, few=self._few)
        for step in self._plan.steps:
            walk.step(step)
        walk.finish()
        kept = walk.row
        series = self._series.codes(words, [_span(walk, run) for run in self._identity])
        good = series >= 0
        layout = self._layout(words, walk)
        good &= layout >= 0
        good &= self._flags_known(words, walk)
        rows: dict[str, Any] = {name: walk.column[name] for name in ROWS if name in walk.column}
        rows |= {name: np.full(len(kept), value, np.int64) for name, value in self._plan.defaults.items()}
        readings: dict[str, Any] = {name: walk.flat[name] for name in READINGS}
        samples = Decoded(
            **rows,
            **readings,
            index=index[kept],
            series=series,
            layout=layout,
            uneven=np.zeros(len(kept), np.bool_),
            offset=offsets(walk.count),
        )
        if not good.all():
            samples = take(samples, np.flatnonzero(good))
        left = np.ones(len(start), np.bool_)
        left[kept[good]] = False
        return samples, left

    def _layout(self, words: Words, walk: Walk) -> Ints:
        """Layout codes; samples of one device count together, for their blocks are about equally long."""
        begin, size = walk.column["device"], walk.column["device_size"]
        found = [self._layouts.codes(words, [Blocks(begin[a:b], size[a:b])]) for a, b, _ in walk.groups()]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _flags_known(self, words: Words, walk: Walk) -> NDArray[np.bool_]:
        begin, size = walk.column["flags"], walk.column["flags_size"]
        known = np.ones(len(begin), np.bool_)
        flagged = np.flatnonzero(size)
        if len(flagged):
            known[flagged] = self._flags.codes(words, [Blocks(begin[flagged], size[flagged])]) >= 0
        return known

    def _series_code(self, raw: Sequence[bytes]) -> int | None:
        found: dict[str, Any] = {}
        try:
            for run, data in zip(self._identity, raw, strict=True):
                at = 0
                for name in run:
                    found[name], at = (_OPTIONAL_TEXT if name == "run_id" else _TEXT)(data, at)
        except (WireError, IndexError, UnicodeDecodeError):
            return None
        return self._names.series_code(Series(**found))

    def _layout_code(self, raw: Sequence[bytes]) -> int | None:
        devices = _read_texts(raw[0])
        return None if devices is None else self._names.layout_code(devices)


def _runs(plan: Plan) -> list[tuple[str, ...]]:
    """The names of the identity, those together that lie side by side."""
    runs: list[tuple[str, ...]] = []
    beside = False
    for step in plan.steps:
        text = step.walk in ("text", "optional_text")
        if text and beside:
            runs[-1] += (step.column,)
        elif text:
            runs.append((step.column,))
        beside = text
    return runs


def _span(walk: Walk, run: tuple[str, ...]) -> Blocks:
    """From the first name's begin to the last one's end; too long for the table: nothing, which has no code."""
    begin = walk.column[run[0]]
    size = walk.column[run[-1]] + walk.column[f"{run[-1]}_size"] - begin
    return Blocks(begin, np.where(size <= MAX_BLOCK_BYTES, size, 0))


def _flags_code(raw: Sequence[bytes]) -> int | None:
    return None if _read_texts(raw[0]) is None else 0


def _read_texts(block: bytes) -> tuple[str, ...] | None:
    """The strings of an array that lacks its last byte, the end of its blocks."""
    try:
        return tuple(_TEXTS(block + b"\0", 0)[0])
    except (WireError, IndexError, UnicodeDecodeError):
        return None
