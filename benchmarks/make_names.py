"""Finds names for the journal's keys (kappawatt/emissions/rings.py): a key's entries go to the worker that has the key.

    python benchmarks/make_names.py [--slots 48]

Bytewax sends a key to worker SipHash-1-3(key, 0xff) mod workers; what agrees modulo 840 agrees for one to eight
workers. For each key and entry it prints the two letters to be added to the name, a line a key, in the form that the
module holds. tests/unit/test_rings.py computes the hash once more, in plain integers.
"""

import argparse
from itertools import product

import numpy as np

from kappawatt.emissions.names import SHARDS, ZONES
from kappawatt.emissions.rings import ALPHABET, stem

np.seterr(over="ignore")
_WORKERS = 840


def _rotated(x: np.ndarray, bits: int) -> np.ndarray:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


def _round(v: list[np.ndarray]) -> None:
    v[0] = v[0] + v[1]
    v[1] = _rotated(v[1], 13) ^ v[0]
    v[0] = _rotated(v[0], 32)
    v[2] = v[2] + v[3]
    v[3] = _rotated(v[3], 16) ^ v[2]
    v[0] = v[0] + v[3]
    v[3] = _rotated(v[3], 21) ^ v[0]
    v[2] = v[2] + v[1]
    v[1] = _rotated(v[1], 17) ^ v[2]
    v[2] = _rotated(v[2], 32)


def hashes(names: list[bytes]) -> np.ndarray:
    """The hash of names of one length."""
    length = len(names[0]) + 1
    words = -(-(length + 1) // 8)
    data = np.zeros((len(names), words * 8), np.uint8)
    data[:, : length - 1] = np.frombuffer(b"".join(names), np.uint8).reshape(len(names), -1)
    data[:, length - 1], data[:, -1] = 0xFF, length
    seed = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    v = [np.full(len(names), word, np.uint64) for word in seed]
    for word in data.view("<u8").T:
        v[3] = v[3] ^ word
        _round(v)
        v[0] = v[0] ^ word
    v[2] = v[2] ^ np.uint64(0xFF)
    for _ in range(3):
        _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def suffixes(key: str, slots: int) -> str:
    """Two letters for the base and each slot of a key."""
    wanted = hashes([key.encode()])[0] % _WORKERS
    pairs = ["".join(pair) for pair in product(ALPHABET, repeat=2)]
    found = ""
    for entry in range(slots + 1):
        names = [(stem(key, entry) + pair).encode() for pair in pairs]
        found += pairs[int(np.flatnonzero(hashes(names) % _WORKERS == wanted)[0])]
    return found


def main() -> None:
    """Print the two tuples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slots", type=int, default=48)
    slots = parser.parse_args().slots
    for title, keys in (("SHARD", SHARDS), ("ZONE", ZONES)):
        print(f"_{title}_LETTERS = (")
        for key in keys:
            print(f'    "{suffixes(key, slots)}",')
        print(")")


if __name__ == "__main__":
    main()
