"""One verdict for every sample: each reason at its edge, in the order of the page, and nothing lost (semantics §1)."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.ledger.bucket import Bucket
from kappawatt.ledger.config import LedgerConfig
from kappawatt.ledger.verdicts import REASONS
from kappawatt.units import MAX_END_US
from tests.oracle.records import MIDNIGHT, sample
from tests.unit.ledger_kit import add, decoder, raw_of

SECOND = 1_000_000
APPENDED = MIDNIGHT + 86_400 * SECOND
SKEW = 300 * SECOND
HORIZON = 14 * 86_400 * SECOND
LEAST, MOST = -(2**63), 2**63 - 1

config = LedgerConfig(shards=1)


def judged(*records, **more):
    """What becomes of each record: its reason, or `counted` or `duplicate`."""
    bucket = Bucket(config, decoder())
    found = []
    for record in records:
        before = bucket.partitions.get("sample/p")
        counted = before.counted if before else 0
        letters = add(bucket, record, append_us=APPENDED, **more).dead
        count = bucket.partitions["sample/p"]
        found.append(letters[0].reason if letters else "counted" if count.counted > counted else "duplicate")
    return found


def lasting(length_us, **fields):
    return sample(start=MIDNIGHT, end=MIDNIGHT + length_us, **fields)


@pytest.mark.parametrize(
    ("reason", "record", "barely_good"),
    [
        pytest.param("arrays_differ", sample(kind=[2, 2]), sample(kind=[2]), id="kind longer"),
        pytest.param("arrays_differ", sample(utilization=[]), sample(utilization=[1.0]), id="utilization shorter"),
        pytest.param("arrays_differ", sample(energy_uj=[]), sample(energy_uj=[0]), id="all empty"),
        pytest.param("reserved_run_id", sample(run_id="~h1"), sample(run_id="h~1"), id="reserved"),
        pytest.param("reserved_run_id", sample(run_id=None, host="/h1"), sample(run_id="r", host="/h1"), id="again"),
        pytest.param("empty_id", sample(run_id=""), sample(run_id=None), id="no run"),
        pytest.param("empty_id", sample(host=""), sample(host=" "), id="no host"),
        pytest.param("empty_id", sample(collector_id="", run_id=None), sample(zone=""), id="no collector"),
        pytest.param("long_id", sample(run_id="é" * 257), sample(run_id="é" * 256), id="long run"),
        pytest.param("long_id", sample(zone="z" * 513), sample(zone="z" * 512), id="long zone"),
        pytest.param("long_id", sample(device=["d" * 513]), sample(device=["d" * 512]), id="long device"),
        pytest.param("empty_interval", lasting(0, energy_uj=[0]), lasting(1, energy_uj=[0]), id="empty"),
        pytest.param("empty_interval", lasting(-1), lasting(1), id="backwards"),
        pytest.param("too_long", lasting(3_000 * SECOND), lasting(3_000 * SECOND - 1), id="50 min"),
        pytest.param("before_epoch", sample(start=-1, end=5), sample(start=0, end=5), id="before 1970"),
        pytest.param(
            "ahead_of_log",
            sample(start=APPENDED, end=APPENDED + SKEW + 1),
            sample(start=APPENDED, end=APPENDED + SKEW),
            id="ahead by 5 min",
        ),
        pytest.param("negative_energy", sample(energy_uj=[5, -1]), sample(energy_uj=[5, 0]), id="negative"),
        pytest.param(
            "implausible_power", sample(energy_uj=[10**12 + 1]), sample(energy_uj=[10**12]), id="above 1 MW for 1 s"
        ),
        pytest.param(
            "implausible_power", lasting(1, energy_uj=[10**6 + 1]), lasting(1, energy_uj=[10**6]), id="and for 1 µs"
        ),
    ],
)
def test_each_reason_begins_at_its_edge(reason, record, barely_good):
    assert judged(record) == [reason]
    assert judged(barely_good) == ["counted"]


def test_every_reason_is_in_the_table_above_or_below():
    named = {mark.values[0] for mark in test_each_reason_begins_at_its_edge.pytestmark[0].args[1]}

    assert named | {"expired", "too_many_zones", "after_time"} == set(REASONS)


@pytest.mark.parametrize(("end", "reasons"), [(MAX_END_US, []), (MAX_END_US + 1, ["after_time"])])
def test_time_ends_where_the_windows_have_no_more_numbers(end, reasons):
    verdict = add(Bucket(config, decoder()), sample(start=end - SECOND, end=end), append_us=end)

    assert [letter.reason for letter in verdict.dead] == reasons


def test_reading_of_2_to_the_53_is_implausible_whatever_the_limit():
    generous = Bucket(LedgerConfig(shards=1, max_device_power_w=2**62), decoder())

    letters = add(generous, lasting(SECOND, energy_uj=[2**53]), lasting(SECOND, seq=1, energy_uj=[2**53 - 1])).dead

    assert [(letter.reason, letter.position) for letter in letters] == [("implausible_power", "0")]


@pytest.mark.parametrize(
    ("end", "found"),
    [(MIDNIGHT - HORIZON, "counted"), (MIDNIGHT - HORIZON - 1, "expired")],
    ids=["at the horizon", "1 µs behind it"],
)
def test_expired_begins_behind_the_horizon(end, found):
    newest = sample(start=MIDNIGHT - 1, end=MIDNIGHT)

    assert judged(newest, sample(seq=1, start=end - 9, end=end)) == ["counted", found]


@pytest.mark.parametrize("batches", [1, 4], ids=["in one batch", "in many"])
def test_expired_is_judged_by_what_was_accepted_before_it(batches):
    bucket = Bucket(config, decoder())
    old = sample(start=MIDNIGHT - HORIZON - 20, end=MIDNIGHT - HORIZON - 10)
    records = [
        old,
        sample(seq=1, energy_uj=[-1], start=MIDNIGHT, end=MIDNIGHT + 1),  # rejected: the horizon does not move by it
        old | {"seq": 2},
        sample(seq=3, start=MIDNIGHT - 1, end=MIDNIGHT),
        old | {"seq": 4},
        old,  # a repeat is only ever a duplicate
    ]

    size = -(-len(records) // batches)
    letters = [letter for at in range(0, len(records), size) for letter in add(bucket, *records[at : at + size]).dead]

    assert [letter.reason for letter in letters] == ["negative_energy", "expired"]
    assert bucket.partitions["sample/p"].duplicate == 1


def test_partitions_have_horizons_of_their_own():
    bucket = Bucket(config, decoder())
    add(bucket, sample(), partition="sample/a")

    letters = add(bucket, sample(seq=1, start=0, end=SECOND), partition="sample/b").dead

    assert letters == []


PAIR = {"kind": [2, 2], "method": [1, 1], "device": ["a", "b"], "utilization": [0.5] * 2, "temperature_c": [1.0] * 2}

# Each spoils one more thing, from the last reason to the first.
SPOILT = [
    ("implausible_power", {"energy_uj": [2**53, 1], "memory_bytes": [1, 1], **PAIR}),
    ("negative_energy", {"energy_uj": [2**53, -1]}),
    ("ahead_of_log", {"start": APPENDED + SKEW, "end": APPENDED + SKEW + 9}),
    ("after_time", {"start": MAX_END_US, "end": MAX_END_US + 9}),
    ("before_epoch", {"start": LEAST, "end": LEAST + 9}),
    ("empty_interval", {"end": LEAST}),
    ("long_id", {"host": "h" * 513}),
    ("empty_id", {"run_id": ""}),
    ("reserved_run_id", {"run_id": "~x", "collector_id": ""}),
    ("arrays_differ", {"memory_bytes": []}),
]


@pytest.mark.parametrize("many", range(1, len(SPOILT) + 1), ids=[reason for reason, _ in SPOILT])
def test_first_reason_of_the_order_is_given(many):
    record = sample()
    for _, change in SPOILT[:many]:
        record |= change

    assert judged(record) == [SPOILT[many - 1][0]]


def test_too_long_comes_before_the_epoch_and_the_log():
    assert judged(sample(start=-9, end=APPENDED + SKEW + 1)) == ["too_long"]


absurd = st.sampled_from((LEAST, LEAST + 1, -(2**53), -1, 0, 1, 2**53, MOST - 1, MOST))
instant = absurd | st.sampled_from((MIDNIGHT, MIDNIGHT + SECOND, APPENDED + SKEW))
codes = st.sampled_from((-(2**31), -1, 0, 2, 3, 2**31 - 1))


@st.composite
def absurd_samples(draw):
    readings = draw(st.integers(1, 3))
    lists = {name: draw(st.lists(codes, min_size=readings, max_size=readings)) for name in ("kind", "method")}
    lists |= {
        name: draw(st.lists(absurd, min_size=readings, max_size=readings)) for name in ("energy_uj", "memory_bytes")
    }
    floats = st.floats(width=32)
    lists |= {
        name: draw(st.lists(floats, min_size=readings, max_size=readings)) for name in ("utilization", "temperature_c")
    }
    names = ("cpu_time_us", "disk_read_bytes", "disk_write_bytes", "network_rx_bytes", "network_tx_bytes", "water_ul")
    traffic = {name: draw(absurd) for name in names}
    return sample(
        **(lists | traffic),
        device=[f"d{number}" for number in range(readings)],
        seq=draw(absurd),
        start=draw(instant),
        end=draw(instant),
    )


@settings(max_examples=60)
@given(st.lists(absurd_samples(), max_size=4))
def test_absurd_numbers_neither_crash_nor_warn_and_get_one_verdict(records):
    bucket = Bucket(config, decoder())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        add(bucket, *records, append_us=APPENDED)
        row = bucket.accounting("sample/p")

    _, sent, counted, duplicate, rejected, dead, _, _ = row
    assert sent == len(records) == counted + duplicate + rejected + dead
    assert duplicate == len(records) - len({record["seq"] for record in records})


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [
        (LEAST, MOST, "too_long"),
        (LEAST, 0, "too_long"),
        (LEAST, LEAST + 1, "before_epoch"),
        (0, MOST, "too_long"),
        (MOST - 1, MOST, "after_time"),
        (MOST, LEAST, "empty_interval"),
        (MOST, MOST, "empty_interval"),
    ],
)
def test_instants_at_the_ends_of_64_bits_are_rejected(start, end, reason):
    assert judged(sample(start=start, end=end, energy_uj=[0])) == [reason]


def test_repeat_of_a_rejected_record_is_a_duplicate():
    assert judged(sample(energy_uj=[-1]), sample()) == ["negative_energy", "duplicate"]


def test_accounting_row_adds_up_and_tells_what_is_lost():
    bucket = Bucket(config, decoder())
    good, bad = sample(seq=3), sample(seq=7, energy_uj=[-1])

    add(bucket, good, good, bad)
    bucket.add(
        "sample/p",
        raw_of([b"\x02x"]),
        position=["3"],
        append_us=np.array([APPENDED]),
        after="here",
        watermark_us=None,
    )

    assert bucket.accounting("sample/p") == ("sample/p", 4, 1, 1, 1, 1, 3, "here")


def test_rejected_and_dead_records_are_listed_with_their_bytes():
    bucket = Bucket(config, decoder())
    batch = raw_of([b"\x02x", b"\x04"])

    letters = bucket.add(
        "sample/p", batch, position=["a", "b"], append_us=np.array([9, 9]), after="c", watermark_us=None
    ).dead

    assert [(each.source, each.position, each.verdict, each.payload) for each in letters] == [
        ("sample/p", "a", "dead", b"\x02x"),
        ("sample/p", "b", "dead", b"\x04"),
    ]


def test_losses_beyond_64_bits_are_told_as_the_greatest_that_a_store_holds():
    bucket = Bucket(config, decoder())

    add(bucket, sample(seq=LEAST), sample(seq=MOST), sample(seq=0))

    assert bucket.accounting("sample/p")[6] == MOST


def test_losses_of_a_collector_are_booked_in_its_lowest_partition():
    bucket = Bucket(config, decoder())
    add(bucket, sample(seq=9), partition="sample/9")
    add(bucket, sample(seq=0), partition="sample/10")

    lost = {name: bucket.accounting(name)[6] for name in ("sample/9", "sample/10")}

    assert lost == {"sample/10": 8, "sample/9": 0}


def test_unframed_records_are_sent_and_dead():
    bucket = Bucket(config, decoder())
    letter = add(bucket, sample(energy_uj=[-1])).dead[0]

    bucket.add_dead("sample/p", [letter, letter], "behind")

    assert bucket.accounting("sample/p") == ("sample/p", 3, 0, 0, 1, 2, 0, "behind")


def test_verdicts_go_on_after_a_restart():
    bucket, again = Bucket(config, decoder()), Bucket(config, decoder())
    add(bucket, sample(), sample(seq=2))
    again.load(bucket.dump())

    letters = add(again, sample(), sample(seq=5, start=MIDNIGHT - 2 * HORIZON, end=MIDNIGHT - 2 * HORIZON + 1)).dead

    assert [letter.reason for letter in letters] == ["expired"]
    assert again.accounting("sample/p") == ("sample/p", 4, 2, 1, 1, 0, 3, "2")
