"""Memory stays bounded when millions of readings wait at the start, and when the store takes nothing."""

import time
from typing import Any

import pytest

from tests.chaos.bulk import DEVICES, Bulk, bulk
from tests.chaos.cql_proxy import CqlProxy
from tests.chaos.options import BACKLOG_TICKS
from tests.chaos.place import PARTITIONS, Memory, Place
from tests.chaos.watching import pause
from tests.oracle.model import SECOND

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

EPOCH_MB = 64
"""What one bucket reads in an epoch at most."""
BOUND_MB = 1_000


def test_giant_backlog_is_read_in_bounded_memory(place: Place, facts: dict[str, Any]) -> None:
    backlog = bulk(BACKLOG_TICKS)
    size = backlog.send(place.kafka, f"{place.prefix}sample", place.ids["sample"], PARTITIONS)

    with place.flow(until_end=True) as flow:
        memory = Memory(flow)
        memory.start()
        flow.end(400)
        memory.join(10)

    facts |= {"readings": backlog.samples * DEVICES, "MB of log": size >> 20, "peak MB": round(memory.peak_mb)}
    _is_whole(place, [backlog])
    assert memory.peak_mb < BOUND_MB


def test_dead_store_holds_reading_back(place: Place, seed: str, facts: dict[str, Any]) -> None:
    first = bulk(20_000, begin_us=(int(time.time()) - 22_000) * SECOND)  # more follows it and must not be ahead of us
    topic, schema_id = f"{place.prefix}sample", place.ids["sample"]
    first.send(place.kafka, topic, schema_id, PARTITIONS)
    with CqlProxy(place.cassandra, seed=seed) as door:
        place.store_at = door.address
        with place.flow() as flow:
            memory = Memory(flow)
            memory.start()
            flow.wait_for(lambda: place.total("counted") == first.samples, "the first records")
            door.shut()
            at_death = memory.peak_mb
            more = bulk(2_000_000, first=first.ticks, begin_us=first.begin_us)
            size = more.send(place.kafka, topic, schema_id, PARTITIONS)
            pause(70)
            flow.check()
            while_dead = memory.peak_mb
            late = memory.series[-1][1] - memory.series[-100][1]
            door.open()
            flow.wait_for(lambda: place.total("counted") == first.samples + more.samples, "the rest", 120)
            flow.drain()
            memory.join(10)
        place.finish()

    facts |= {"MB of log meanwhile": size >> 20, "MB before": round(at_death), "MB while dead": round(while_dead)}
    facts |= {"MB in the last 20 s of it": round(late, 1), "MB at most": round(memory.peak_mb)}
    assert size > 10 * EPOCH_MB << 20
    assert while_dead < BOUND_MB
    assert abs(late) < EPOCH_MB
    _is_whole(place, [first, more])


def _is_whole(place: Place, parts: list[Bulk]) -> None:
    """Every sample is in the totals, once."""
    energy: dict[str, int] = {}
    for part in parts:
        for run, energy_uj in part.energy_uj().items():
            energy[run] = energy.get(run, 0) + energy_uj
    samples = sum(part.samples for part in parts)
    assert {row["run_id"]: row["energy_uj"] for row in place.rows("run_total")} == energy
    assert place.total("counted") == place.total("sent") == samples
    windows = sum(row["energy_uj"] for row in place.rows("run_window_1h"))
    assert windows + sum(row["late_1h_uj"] for row in place.rows("late")) == sum(energy.values())
