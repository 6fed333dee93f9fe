"""Messages come back from the journal bit by bit: what is folded again after a crash is what was folded before."""

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from kappawatt.emissions.packing import narrow, pack, pack_zones, unpack, unpack_zones, widen
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.frames import Suspect
from kappawatt.ledger.inbox import Report
from kappawatt.ledger.shard import Shard
from kappawatt.ledger.zones import ZoneHour
from tests.oracle.records import event, price, sample
from tests.unit.ledger_kit import frames_of, messages


def same(one: Any, other: Any) -> bool:
    """Equal in type and value, with arrays in them."""
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(arrays.arrays(np.int64, arrays.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=5)))
def test_integers_of_any_size_come_back(values: np.ndarray) -> None:
    found = widen(pickle.loads(pickle.dumps(narrow(values))))

    assert found.shape == values.shape
    assert same(found, values)


def test_messages_to_a_shard_come_back() -> None:
    frames = [frame for _, frame in frames_of(sample(), sample(seq=1), sample(seq=2, run_id=None))]
    suspect = Suspect("r", "c", 1, "h", 2, 3, np.array([1, 2]), np.array([3, 1 << 60]))
    sent = [
        *frames[:1],
        suspect,
        *messages([price()], [event()]),
        Report("b00", None, ended=True),
        Report("b01", 1 << 50),
    ]

    assert same(unpack(pack(sent)), sent)


def test_frames_come_back_as_one_that_means_the_same() -> None:
    batches = ([sample(), sample(seq=1, host="h2")], [sample(seq=2), sample(seq=3, run_id=None)])
    frames = [frame for records in batches for _, frame in frames_of(*records)]
    told, again = Shard(LedgerConfig(), ["b"]), Shard(LedgerConfig(), ["b"])
    for frame in frames:
        told.add(frame)
    for message in unpack(pack(frames)):
        again.add(message)

    assert again.flush() == told.flush()
    assert same(again.dump(), told.dump())


def test_contributions_to_a_zone_come_back() -> None:
    sent = [(3, ZoneHour("DEU", 4, (1, 2), ((5, None, 1.1),), 6, ((0.5, 7),), 1, 2))]

    assert same(unpack_zones(pack_zones(sent)), sent)


@pytest.mark.parametrize(("high", "most"), [(200, 1), (60_000, 2), (4_000_000_000, 4)])
def test_small_numbers_take_few_bytes(high: int, most: int) -> None:
    values = np.linspace(1_700_000_000_000_000, 1_700_000_000_000_000 + high, 10_000).astype(np.int64)

    assert len(pickle.dumps(narrow(values[None, :]))) < 10_000 * most + 500
