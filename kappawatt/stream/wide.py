"""Sums beyond 64 bits in two int64 columns: exact, and merged by plain addition like any other column.

A number v is kept as (v >> 31, v mod 2^31). Each half is added up on its own, so up to 2^31 rows can be merged into one
before either could wrap; `carry` makes room for as many again.
"""

import numpy as np
from numpy.typing import NDArray

from kappawatt.stream.table import Column

Ints = NDArray[np.int64]

WIDE = Column("sum", 2)
"""The column of a `KeyedTable` that holds such a sum."""

MAX_ROOT = 3_037_000_499
"""Greatest magnitude whose square fits into 64 bits."""

_BITS = 31
_MASK = (1 << _BITS) - 1


def halves(values: Ints) -> Ints:
    """Any int64 values as rows of a wide column, shape (n, 2).

    >>> whole(halves(np.array([-1, 2**63 - 1])).sum(axis=0, keepdims=True))
    [9223372036854775806]
    """
    return np.stack((values >> _BITS, values & _MASK), axis=1)


def squares(values: Ints) -> Ints:
    """The squares of values as rows of a wide column; with the plain sum and the count they give an exact variance.

    Raises:
        ValueError: A magnitude is above `MAX_ROOT`.
    """
    if len(values) and (int(values.max()) > MAX_ROOT or int(values.min()) < -MAX_ROOT):
        raise ValueError(
            f"a square of more than 64 bits: {values.min()} … {values.max()}, at most ±{MAX_ROOT} is taken"
        )
    return halves(values * values)


def carry(wide: Ints) -> Ints:
    """The same numbers with the second half below 2^31 again.

    >>> carry(np.array([[0, 5 << 31]])).tolist()
    [[5, 0]]
    """
    return np.stack((wide[:, 0] + (wide[:, 1] >> _BITS), wide[:, 1] & _MASK), axis=1)


def whole(wide: Ints) -> list[int]:
    """The numbers themselves; a Python integer has no bound."""
    return [(high << _BITS) + low for high, low in wide.tolist()]
