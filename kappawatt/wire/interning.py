"""Dense codes for byte blocks: a hash finds the candidate, the bytes themselves decide."""

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .columns import Ints
from .words import U64, Words

MAX_BLOCK_BYTES = 1024
"""Longest block that gets a code here."""

_MAX_WORDS = MAX_BLOCK_BYTES // 8


class Blocks(NamedTuple):
    """One self-delimiting block of bytes a row: no block is the beginning of another one."""

    begin: Ints
    size: Ints


class Interned:
    """A table from blocks to codes that *parse* gives, asked once for each new block; None: the block is not readable.

    The hash is multilinear with a random key for the process, so nobody outside can choose ids that collide; should
    two collide, the bytes tell, and the second one has no code here.

    Args:
        parse: Gives the code of a row's blocks.
        parts: Blocks a row.
        most: Blocks to remember; then all are forgotten, and parsed again when they come.
        random: Gives so many random bytes.
    """

    def __init__(
        self,
        parse: Callable[[Sequence[bytes]], int | None],
        parts: int,
        *,
        most: int = 1 << 17,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._parse = parse
        self._most = most
        self._keys = [np.frombuffer(random(8 * _MAX_WORDS), np.uint64) | np.uint64(1) for _ in range(parts)]
        self._scatter = np.uint64(int.from_bytes(random(8), "little") | 1)
        self._clear()

    def _clear(self) -> None:
        self._count = 0
        self._hash = np.zeros(64, np.uint64)
        self._code = np.zeros(64, np.int64)
        self._kept = [np.zeros((64, 8), np.uint64) for _ in self._keys]
        self._slots = np.full(256, -1, np.int64)

    def codes(self, words: Words, parts: Sequence[Blocks]) -> Ints:
        """Code of each row's blocks; -1 where they are not readable, empty, or their hash is another one's."""
        grids = [_grid(words, each) for each in parts]
        hashes = np.zeros(len(parts[0].begin), np.uint64)
        for grid, key in zip(grids, self._keys, strict=True):
            hashes += grid @ key[: grid.shape[1]]
        entry = self._find(hashes)
        new = np.flatnonzero(entry < 0)
        if len(new):
            self._learn(words, parts, grids, hashes, new)
            entry = self._find(hashes)
        for each in parts:
            if not each.size.all():  # nothing is no block: in whole words it looks like one of zeros
                entry = np.where(each.size == 0, -1, entry)
        return self._verified(grids, entry)

    def _verified(self, grids: Sequence[U64], entry: Ints) -> Ints:
        same = entry >= 0
        for grid, kept in zip(grids, self._kept, strict=True):
            width = min(grid.shape[1], kept.shape[1])
            equal = grid[:, :width] == kept.take(entry, axis=0)[:, :width]
            if not equal.all():
                same &= equal.all(axis=1)
            if grid.shape[1] > width:
                same &= ~grid[:, width:].any(axis=1)
        return np.where(same, self._code.take(entry), -1)

    def _find(self, hashes: U64) -> Ints:
        """Entry of each hash, or -1."""
        slot = self._slot(hashes)
        found = self._slots.take(slot)
        rest = np.flatnonzero((self._hash.take(found) != hashes) & (found >= 0))
        while len(rest):
            slot[rest] = (slot[rest] + 1) & (len(self._slots) - 1)
            found[rest] = self._slots[slot[rest]]
            rest = rest[(self._hash[found[rest]] != hashes[rest]) & (found[rest] >= 0)]
        return found

    def _slot(self, hashes: U64) -> Ints:
        bits = len(self._slots).bit_length() - 1
        return ((hashes * self._scatter) >> np.uint64(64 - bits)).view(np.int64)

    def _learn(
        self, words: Words, parts: Sequence[Blocks], grids: Sequence[U64], hashes: U64, rows: NDArray[np.intp]
    ) -> None:
        first = np.sort(rows[np.unique(hashes[rows], return_index=True)[1]])
        if self._count + len(first) > self._most:
            self._clear()
        for row in first.tolist():
            raw = [words.raw[each.begin[row] : each.begin[row] + each.size[row]].tobytes() for each in parts]
            code = self._parse(raw)
            if code is not None:
                self._insert(hashes[row], code, [grid[row] for grid in grids])

    def _insert(self, hashed: np.uint64, code: int, rows: Sequence[U64]) -> None:
        if self._count == len(self._hash):
            self._grow()
        at = self._count
        self._count += 1
        self._hash[at] = hashed
        self._code[at] = code
        for part, row in enumerate(rows):
            missing = len(row) - self._kept[part].shape[1]
            if missing > 0:
                self._kept[part] = np.pad(self._kept[part], ((0, 0), (0, missing)))
            self._kept[part][at, : len(row)] = row
        self._place(at)

    def _grow(self) -> None:
        self._hash = np.concatenate([self._hash, np.zeros_like(self._hash)])
        self._code = np.concatenate([self._code, np.zeros_like(self._code)])
        self._kept = [np.concatenate([each, np.zeros_like(each)]) for each in self._kept]
        self._slots = np.full(4 * len(self._hash), -1, np.int64)
        for at in range(self._count):
            self._place(at)

    def _place(self, at: int) -> None:
        slot = int(self._slot(self._hash[at : at + 1])[0])
        while self._slots[slot] >= 0:
            slot = (slot + 1) & (len(self._slots) - 1)
        self._slots[slot] = at


def _grid(words: Words, blocks: Blocks) -> U64:
    """The blocks as rows of whole words, zeros behind each."""
    width = max(1, (int(blocks.size.max(initial=0)) + 7) // 8)
    grid: U64 = words.rows(blocks.begin, 8 * width).view("<u8").reshape(-1, width)
    grid &= _masks(width).take(blocks.size, axis=0)
    return grid


@lru_cache(maxsize=64)
def _masks(width: int) -> U64:
    """By size, up to so many words: ones over a block's bytes."""
    covered = np.arange(8 * width) < np.arange(8 * width + 1)[:, None]
    masks: U64 = (covered.astype(np.uint8) * np.uint8(0xFF)).view("<u8")
    return masks
