"""The topic drops records that were never read: the flow says which, and counts all the others."""

import random
import signal
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.chaos.place import PARTITIONS, Place
from tests.chaos.reading import ends
from tests.chaos.writing import knobs, script
from tests.oracle.model import Log

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


@pytest.mark.parametrize("running", [False, True], ids=["while it is down", "while it reads"])
def test_records_that_went_before_they_were_read_are_named(
    place: Place, rng: random.Random, facts: dict[str, Any], running: bool
) -> None:
    messages = script(knobs(rng.randrange(1 << 30), ticks=300), place.ids, PARTITIONS)
    third = len(messages) // 3
    with place.writer(messages[:third], 1) as writer:
        writer.finish()
    if running:
        with place.flow() as flow:
            place.wait_until_read(flow)
            flow.signal(signal.SIGSTOP)
            gone, before = _lose(place, messages[third : 2 * third], rng)
            flow.signal(signal.SIGCONT)
            _write(place, messages[2 * third :])
            flow.wait_for(lambda: "are gone" in flow.said(), "the message")
            flow.drain()
        said = flow.said()
    else:
        place.finish()
        gone, before = _lose(place, messages[third : 2 * third], rng)
        _write(place, messages[2 * third :])
        said = ""
    said += place.finish().said()

    letters = {
        (each["source"], each["position"], each["reason"]) for each in place.letters() if each["verdict"] == "gone"
    }
    facts |= {"partitions": len(gone), "records gone": sum(high - low for low, high in gone.values())}
    assert place.differing(_without(before, place.log(), gone)) == []
    assert letters == {(f"sample/{p}", f"{low}-{high - 1}", "retention") for p, (low, high) in gone.items()}
    for p, (low, high) in gone.items():
        line = f"topic {place.prefix}sample partition {p}: {high - low} records from offset {low} on are gone"
        assert line in said
    assert place.total("lost") > 0


def _write(place: Place, messages: Any) -> None:
    with place.writer(messages, 1) as writer:
        writer.finish()


def _lose(place: Place, messages: Any, rng: random.Random) -> tuple[dict[int, tuple[int, int]], Log]:
    """Write more and delete part of it; what is gone by partition (half open), and the log as it was before.

    Of some partitions a part, of one all that was not read.
    """
    topic = f"{place.prefix}sample"
    read = {partition: high for partition, (_, high) in ends(place.kafka, topic).items()}
    _write(place, messages)
    before = place.log()
    more = {p: high for p, (_, high) in ends(place.kafka, topic).items() if high > read[p] + 1}
    chosen = rng.sample(sorted(more), 3)
    gone = {p: (read[p], more[p] if p == chosen[0] else rng.randint(read[p] + 1, more[p] - 1)) for p in chosen}
    admin = AdminClient({"bootstrap.servers": place.kafka})
    for deleted in admin.delete_records([TopicPartition(topic, p, high) for p, (_, high) in gone.items()]).values():
        deleted.result(timeout=30)
    return gone, before


def _without(before: Log, after: Log, gone: dict[int, tuple[int, int]]) -> Log:
    """The log as the flow has read it: what it read before the loss, and what was there after it."""
    append_us = dict(after.append_us or {})
    for partition, (low, _) in gone.items():
        name = str(partition)
        after.samples[name] = before.samples[name][:low] + after.samples[name]
        append_us[name] = [*(before.append_us or {})[name][:low], *append_us[name]]
    after.append_us = append_us
    return after
