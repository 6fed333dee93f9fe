"""Eight bytes at a time from any byte of a buffer: the arithmetic that decodes many Avro datums at once.

A varint is decoded without a branch: the lowest clear high bit ends it, a mask up to there gives its length and its
bits, three shifts close the gaps between the groups of seven. Tricks of this kind: Lemire, Kurz, Rupp, "Stream VByte"
(Information Processing Letters 130, 2018).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import Ints

U64 = NDArray[np.uint64]

PAD = 1 << 15
"""Bytes behind the last datum: a walk that runs over its datum's end is stopped within so many."""

TAIL = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
"""Masks over the first 0 to 8 bytes of a word."""

_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_ONE = np.uint64(1)
_CHUNK = 8192  # what fits in the caches next to the processor
_STEPS = tuple(
    (np.uint64(even), np.uint64(odd), np.uint64(shift))
    for even, odd, shift in (
        (0x007F007F007F007F, 0x7F007F007F007F00, 1),
        (0x00003FFF00003FFF, 0x3FFF00003FFF0000, 2),
        (0x000000000FFFFFFF, 0x0FFFFFFF00000000, 4),
    )
)


class Words:
    """A buffer and views of it at every byte; *size* is where its last datum ends.

    Where fewer than `PAD` bytes follow, the buffer is copied and padded.
    """

    def __init__(self, buffer: bytes, size: int) -> None:
        self.size = size
        self.raw = np.frombuffer(buffer, np.uint8)
        if len(buffer) < size + PAD:
            self.raw = np.concatenate([self.raw[:size], np.zeros(PAD, np.uint8)])
        self._eight = self._view(8)

    def at(self, p: Ints) -> U64:
        """The eight bytes from each position on, little-endian."""
        return self._eight[p].view("<u8")

    def rows(self, p: Ints, size: int) -> NDArray[Any]:
        """The *size* bytes from each position on, as opaque items."""
        return self._view(size)[p]

    def _view(self, size: int) -> NDArray[Any]:
        # a void item has alignment 1, so that NumPy gathers it from any byte; the items overlap
        return np.ndarray((len(self.raw) - size + 1,), f"V{size}", self.raw, 0, (1,))


def split(word: U64) -> tuple[U64, U64]:
    """Of the varint that each word begins with: 0 if it is longer than the word, and the mask over its bytes.

    With the low seven bits set, 1 carries through the bytes that go on (0xff) and stops in the one that ends (0x7f).
    """
    mask = word | _LOW
    stop = mask + _ONE
    mask ^= stop
    return stop, mask


def length(mask: U64) -> NDArray[np.uint8]:
    """Bytes under each mask."""
    found: NDArray[np.uint8] = np.bitwise_count(mask)
    found >>= 3
    return found


def close(value: U64) -> U64:
    """The unsigned numbers of words under their masks, in place: seven bits of each byte, the first byte lowest."""
    for first in range(0, len(value), _CHUNK):
        part = value[first : first + _CHUNK]
        for even, odd, shift in _STEPS:
            upper = part & odd
            upper >>= shift
            part &= even
            part |= upper
    return value


def zigzag(value: U64) -> Ints:
    """The signed numbers that Avro writes as those unsigned ones; *value* is used up."""
    sign = value & _ONE
    np.negative(sign, out=sign)
    value >>= _ONE
    value ^= sign
    return value.view(np.int64)
