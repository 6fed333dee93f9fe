"""The journal's keys go where the key is whose messages they keep, whatever the number of workers."""

import pytest

from kappawatt.emissions.names import SHARDS, ZONES
from kappawatt.emissions.rings import journals

_MASK = (1 << 64) - 1
RINGS = {key: ring for journal in journals().values() for key, ring in journal.rings.items()}


def _rotated(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (64 - bits))) & _MASK


def _round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a = (a + b) & _MASK
    b = _rotated(b, 13) ^ a
    c = (c + d) & _MASK
    d = _rotated(d, 16) ^ c
    a = (_rotated(a, 32) + d) & _MASK
    d = _rotated(d, 21) ^ a
    c = (c + b) & _MASK
    b = _rotated(b, 17) ^ c
    return a, b, _rotated(c, 32), d


def siphash_1_3(data: bytes) -> int:
    v = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    padded = data + bytes((-len(data) - 1) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        a, b, c, d = _round(v[0], v[1], v[2], v[3] ^ word)
        v = (a ^ word, b, c, d)
    v = (v[0], v[1], v[2] ^ 0xFF, v[3])
    for _ in range(3):
        v = _round(*v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def worker(key: str, workers: int) -> int:
    """Where Bytewax sends a key."""
    return siphash_1_3(key.encode() + b"\xff") % workers


@pytest.mark.parametrize("workers", range(1, 9))
def test_entries_are_with_their_key(workers: int) -> None:
    strays = [
        name
        for key, ring in RINGS.items()
        for name in (ring.base, *ring.slots)
        if worker(name, workers) != worker(key, workers)
    ]

    assert strays == []


@pytest.mark.parametrize("workers", [1, 2, 4, 8])
def test_shards_are_dealt_out_evenly(workers: int) -> None:
    counts = [sum(worker(key, workers) == index for key in SHARDS) for index in range(workers)]

    assert counts == [len(SHARDS) // workers] * workers


def test_every_key_has_a_ring_of_its_own() -> None:
    names = [name for ring in RINGS.values() for name in (ring.base, *ring.slots)]

    assert set(RINGS) == {*SHARDS, *ZONES}
    assert len({*names, *RINGS}) == len(RINGS) * 50
