"""Datums of topic `sample` to columns, by the fastest of three ways that agree on every bit.

The NumPy way reads writers whose schema has the shape of ours, the block way (Polars) any other that it can, the exact
way what those leave over; only the exact way calls a record unreadable.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codec import MAX_DATUM_BYTES
from .columns import Decoded, Names, RawBatch, Series, join
from .decode_block import BlockWay
from .decode_numpy import NumpyWay
from .decode_record import RecordWay, nothing
from .plan import plan
from .resolution import resolves
from .schemas import schema
from .words import Words

__all__ = ["Decoded", "RawBatch", "SampleDecoder", "Series"]

FEW = 16
"""So many datums and fewer are not worth a pass of a fast way."""


class SampleDecoder:
    """Decodes batches; its codes of series and layouts stay what they are until `renew`.

    Args:
        schemas: The writer's schema by its registry id; None: there is none of that id.
    """

    def __init__(self, schemas: Callable[[int], Mapping[str, Any] | None]) -> None:
        self._schemas = schemas
        self._names = Names()
        self._writers: dict[int, _Writer] = {}

    def __repr__(self) -> str:
        return f"<SampleDecoder {len(self.series)} series, {len(self.layouts)} layouts, {len(self._writers)} schemas>"

    @property
    def series(self) -> list[Series]:
        """Series by code."""
        return self._names.series

    @property
    def layouts(self) -> list[tuple[str, ...]]:
        """Device names of a sample by code."""
        return self._names.layouts

    def renew(self) -> None:
        """Forget all names: codes begin anew, so that they do not grow with what is over."""
        self._names = Names()
        self._writers = {}

    def decode(self, batch: RawBatch) -> Decoded:
        """All samples of the batch, and what in it could not be read."""
        large = batch.end - batch.start > MAX_DATUM_BYTES
        pieces = [nothing([(row, "too_large") for row in np.flatnonzero(large).tolist()])]
        words: Words | None = None
        for schema_id in np.unique(batch.schema_id[~large]).tolist():
            rows = np.flatnonzero((batch.schema_id == schema_id) & ~large)
            writer = self._writer(schema_id)
            if writer is None:
                pieces.append(nothing([(row, "unknown_schema") for row in rows.tolist()]))
                continue
            if writer.numpy and len(rows) > FEW:
                words = words or Words(batch.buffer, int(batch.end.max()))
            pieces += writer.decode(batch, rows, words)
        return join(pieces)

    def _writer(self, schema_id: int) -> "_Writer | None":
        known = self._writers.get(schema_id)
        if known is None:
            found = schema("sample") if schema_id == 0 else self._schemas(schema_id)
            if found is None:
                return None
            known = self._writers[schema_id] = _Writer(self._names, found)
        return known


class _Writer:
    """The ways that one writer schema can be decoded."""

    def __init__(self, names: Names, written: Mapping[str, Any]) -> None:
        self.readable = resolves(written)
        walk = plan(written) if self.readable else None
        self.numpy = NumpyWay(names, walk, few=FEW) if walk else None
        self.block = BlockWay.of(names, written) if self.readable and not walk else None
        self.exact = RecordWay(names, written)

    def decode(self, batch: RawBatch, rows: NDArray[np.intp], words: Words | None) -> list[Decoded]:
        """The samples of those rows in pieces."""
        if not self.readable:
            return [nothing([(row, "undecodable") for row in rows.tolist()])]
        pieces = []
        if len(rows) > FEW and self.numpy and words:
            piece, left = self.numpy.decode(words, batch.start[rows], batch.end[rows], rows)
            pieces.append(piece)
            rows = rows[left]
        elif len(rows) > FEW and self.block:
            piece, left = self.block.decode(batch.buffer, batch.start[rows], batch.end[rows], rows)
            pieces.append(piece)
            rows = rows[left]
        if len(rows):
            pieces.append(self.exact.decode(batch.buffer, batch.start[rows], batch.end[rows], rows))
        return pieces
