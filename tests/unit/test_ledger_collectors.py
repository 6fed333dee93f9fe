"""Collectors, zones and names that are over leave a bucket, and nothing is counted twice by it (semantics §1)."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.emissions.names import BUCKETS
from kappawatt.ledger.bucket import Bucket
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.keys import ZONE_MASK
from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import add, decoder
from tests.unit.ledger_stories import W1H

SECOND = 1_000_000
HORIZON = 4 * W1H
KEPT = HORIZON + W1H


def new_bucket(**config):
    return Bucket(LedgerConfig(**{"shards": 1, "horizon_us": HORIZON, **config}), decoder())


def at(after_us, **fields):
    end = MIDNIGHT + after_us
    return sample(**({"start": end - SECOND, "end": end} | fields))


def known(bucket):
    return sorted(name for name in bucket._collectors._names.names if name.isprintable() and name)


def counts(bucket, partition="sample/p"):
    return dict(
        zip(
            ("sent", "counted", "duplicate", "rejected", "dead", "lost"), bucket.accounting(partition)[1:7], strict=True
        )
    )


@pytest.mark.parametrize(("later_us", "kept"), [(KEPT, True), (KEPT + 1, False)])
def test_collector_is_forgotten_when_its_partition_has_left_it_behind(later_us, kept):
    bucket = new_bucket()
    add(bucket, at(0, collector_id="old"))

    add(bucket, at(later_us, collector_id="new"))

    assert known(bucket) == (["new", "old"] if kept else ["new"])


def test_repeat_of_a_forgotten_collector_is_expired():
    bucket = new_bucket()
    add(bucket, at(0, collector_id="old"))
    add(bucket, at(2 * KEPT, collector_id="new"))

    verdict = add(bucket, at(0, collector_id="old"))

    assert [letter.reason for letter in verdict.dead] == ["expired"]
    assert counts(bucket) == {"sent": 3, "counted": 2, "duplicate": 0, "rejected": 1, "dead": 0, "lost": 0}


def test_losses_of_a_forgotten_collector_stay_in_the_accounting():
    bucket = new_bucket()
    add(bucket, at(0, collector_id="old"), at(SECOND, collector_id="old", seq=5))
    assert counts(bucket)["lost"] == 4

    add(bucket, at(2 * KEPT, collector_id="new"))
    add(bucket, at(2 * KEPT + SECOND, collector_id="new", seq=2))

    assert known(bucket) == ["new"]
    assert counts(bucket)["lost"] == 4 + 1


def test_collector_in_two_partitions_waits_for_both():
    bucket = new_bucket()
    add(bucket, at(0, collector_id="old"))
    add(bucket, at(SECOND, collector_id="old", seq=1), partition="sample/q")

    add(bucket, at(2 * KEPT, collector_id="new"))
    assert known(bucket) == ["new", "old"]

    add(bucket, at(2 * KEPT, collector_id="new", seq=1), partition="sample/q")
    assert known(bucket) == ["new"]


def test_collector_of_which_all_is_rejected_is_kept_as_long():
    bucket = new_bucket()
    add(bucket, at(0, collector_id="bad", energy_uj=[-1]))
    add(bucket, at(0, collector_id="new"))

    verdict = add(bucket, at(0, collector_id="bad", energy_uj=[-1]))

    assert verdict.dead == []
    assert counts(bucket)["duplicate"] == 1


def test_rebuild_forgets_no_collector():
    bucket = new_bucket(rebuilding=True)
    add(bucket, at(0, collector_id="old"), at(2 * KEPT, collector_id="new"), at(0, collector_id="old"))

    assert counts(bucket) == {"sent": 3, "counted": 2, "duplicate": 1, "rejected": 0, "dead": 0, "lost": 0}


steps = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 3),
        st.integers(0, 20).map(lambda hours: hours * W1H),
        st.sampled_from("pq"),
    ),
    max_size=30,
)


@given(steps, st.lists(st.integers(1, 5), max_size=30), st.booleans())
def test_nothing_is_counted_twice_whatever_is_forgotten(found, cuts, restarted):
    """Collector, seq and partition name a record; its time is that of its first sight."""
    times = {}
    records = [
        (at(times.setdefault((name, seq, place), after), collector_id=f"{place}{name}", seq=seq), f"sample/{place}")
        for name, seq, after, place in found
    ]
    bucket, newest, seen, counted = new_bucket(), {}, set(), dict.fromkeys(("sample/p", "sample/q"), 0)
    for record, partition in records:
        identity = (record["collector_id"], record["seq"])
        if identity not in seen and record["end"] >= newest.get(partition, 0) - HORIZON:
            counted[partition] += 1
            newest[partition] = max(newest.get(partition, 0), record["end"])
        seen.add(identity)
        add(bucket, record, partition=partition)
        if restarted:
            again = new_bucket()
            again.load(pickle.loads(pickle.dumps(bucket.dump())))
            bucket = again

    for partition in bucket.partitions:
        row = counts(bucket, partition)
        assert row["counted"] == counted[partition]
        assert row["sent"] == row["counted"] + row["duplicate"] + row["rejected"]


def test_state_does_not_grow_with_collectors_that_are_over():
    bucket = new_bucket()

    sizes = []
    for hour in range(60):
        names = {"collector_id": f"c{hour}", "run_id": f"r{hour}", "device": [f"gpu:{hour}"]}
        add(bucket, at(hour * W1H, **names), at(hour * W1H + SECOND, seq=2, **names))
        sizes.append((len(pickle.dumps(bucket.dump())), len(bucket._places), len(bucket._decoder.layouts)))

    assert sizes[59][0] < 1.05 * sizes[20][0]
    assert max(places for _, places, _ in sizes) <= 8
    assert counts(bucket) == {"sent": 120, "counted": 120, "duplicate": 0, "rejected": 0, "dead": 0, "lost": 60}


def test_many_names_begin_anew_and_change_no_verdict():
    bucket = new_bucket(names=3)

    for turn in range(3):
        for run in range(5):
            names = {"collector_id": f"c{run}", "run_id": f"r{run}"}
            verdict = add(bucket, at(turn * SECOND, seq=turn, **names), at(0, seq=0, **names))
            assert {place.run_id for _, frame in verdict.frames for place in frame.places} == {f"r{run}"}

    assert counts(bucket) == {"sent": 30, "counted": 15, "duplicate": 15, "rejected": 0, "dead": 0, "lost": 0}
    assert len(bucket._decoder.series) <= 4


# Zones


def zones_of(verdict):
    return [place.zone for _, frame in verdict.frames for place in frame.places]


def test_sample_without_a_zone_is_of_the_world():
    assert zones_of(add(new_bucket(), at(0, zone=""))) == ["WORLD"]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_zone_beyond_the_bound_is_rejected_and_the_others_go_on(restarted):
    bucket = new_bucket(zones=2)
    add(bucket, at(0, zone="A"), at(0, seq=1, zone="B"))
    if restarted:
        again = new_bucket(zones=2)
        again.load(bucket.dump())
        bucket = again

    verdict = add(bucket, at(0, seq=2, zone="C"), at(0, seq=3, zone="A"))

    assert [letter.reason for letter in verdict.dead] == ["too_many_zones"]
    assert zones_of(verdict) == ["A"]


def test_zones_of_all_buckets_fit_into_a_shard():
    assert len(BUCKETS) * LedgerConfig().zones <= ZONE_MASK
