"""1 → 3 → 2 processes with kills between, a topic that doubles its partitions meanwhile, partitions that sleep."""

import random
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.chaos.place import PARTITIONS, Place
from tests.chaos.watching import Watcher
from tests.chaos.writing import Writer, knobs, script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


def test_processes_and_partitions_change_under_a_growing_log(
    place: Place, rng: random.Random, facts: dict[str, Any]
) -> None:
    # Slowly: new partitions are noticed after 40 s at most, which has to stay within the lateness of 15 min.
    messages = script(knobs(rng.randrange(1 << 30), ticks=2_000), place.ids, PARTITIONS, asleep=[2, 9])
    with Watcher(place.store) as watcher, place.writer(messages, 170) as writer:
        with place.flow(processes=1) as flow:
            flow.wait_for(lambda: place.total("counted") > 500, "some samples")
            flow.kill()
        with place.flow(processes=3) as flow:
            counted = place.total("counted")
            flow.wait_for(lambda: place.total("counted") > counted + 500, "some more")
            _grow(place, writer)
            flow.wait_for(lambda: _new_ones(place) > 200, "records of new partitions", limit_s=150)
            flow.kill()
        with place.flow(processes=2) as flow:
            counted = place.total("counted")
            flow.wait_for(lambda: place.total("counted") > counted + 500, "some more")
            flow.kill()
        with place.flow(processes=3) as flow:
            writer.finish()
            place.wait_until_read(flow)
            flow.drain()
        place.finish(processes=2)

    facts |= {"processes": "1 3 2 3 2", "partitions": "16 32", "records": place.total("sent")}
    facts |= {"in new partitions": _new_ones(place), "row changes watched": watcher.steps, "wrong": len(watcher.wrong)}
    assert place.differing() == []
    assert watcher.wrong == []


def _grow(place: Place, writer: Writer) -> None:
    admin = AdminClient({"bootstrap.servers": place.kafka})
    topic = f"{place.prefix}sample"
    admin.create_partitions([NewPartitions(topic, 2 * PARTITIONS)])[topic].result(timeout=30)
    writer.partitions = 2 * PARTITIONS


def _new_ones(place: Place) -> int:
    rows = place.rows("accounting")
    return sum(row["sent"] for row in rows if int(row["source_partition"].partition("/")[2]) >= PARTITIONS)
