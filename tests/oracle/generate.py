"""Seeded logs with everything in them that a log may hold: `small(seed)` for every rule, `big()` for weight.

Samples of a host come from `Host`; prices and run events from the modules beside this one. Nothing is late, and all
is a function of the knobs.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.oracle.generate_events import events_of
from tests.oracle.generate_host import Host, Plan, Shares
from tests.oracle.generate_poison import poison
from tests.oracle.generate_prices import ZONES, prices_of
from tests.oracle.model import DAY, SECOND, Dead, Log, Record
from tests.oracle.records import MIDNIGHT

WIDE = "wide"
"""The run that is on many hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What a generated log is like. Shares are of records, from 0 to 1.

    A host ticks `ticks` times every `period_us` (the edges wander by up to `jitter_us`), half of it before midnight.
    Host 0 has three runs at once, every third host is on the run `wide`, others change from run to run; the last
    host is slow (intervals of some 10 minutes) if `slow` says so.
    """

    seed: int
    hosts: int
    runs: int
    ticks: int
    gpus: int | None = None
    zones: tuple[str, ...] = ZONES
    midnight_us: int = MIDNIGHT
    period_us: int = SECOND
    jitter_us: int = 3_000
    duplicates: float = 0.05
    holes: float = 0.03
    disorder: int = 4
    restarts: bool = True
    odd_devices: bool = True
    poison: bool = True
    kafka_dead: bool = False
    slow: bool = True


def small(seed: int, *, midnight_us: int = MIDNIGHT, kafka_dead: bool = False) -> Log:
    """About 300 samples with every case in them; *kafka_dead* adds what only Kafka messages can suffer from."""
    return generate(
        Knobs(seed=seed, hosts=7, runs=5, ticks=32, midnight_us=midnight_us, kafka_dead=kafka_dead, duplicates=0.06)
    )


def big(*, seed: int = 1, ticks: int = 2_000, hosts: int = 100, midnight_us: int = MIDNIGHT) -> Log:
    """By default 2.2 M readings: 200 k ticks of 11 devices in 3 zones across midnight, 1 % of them repeated."""
    return generate(
        Knobs(
            seed=seed,
            hosts=hosts,
            runs=20,
            ticks=ticks,
            gpus=8,
            zones=("DE", "US-CAL-CISO", "FRA"),
            midnight_us=midnight_us,
            duplicates=0.01,
            holes=0.001,
            odd_devices=False,
            slow=False,
        )
    )


def generate(knobs: Knobs) -> Log:
    """The log of some knobs: the same for the same knobs, on every machine."""
    rng = random.Random(f"log {knobs.seed}")
    log = Log()
    for host in _hosts(knobs):
        for partition, records in _partitions(host, knobs, rng):
            # Minutes-long intervals stay in order: a few places back would be late.
            moved = _disordered(records, knobs, rng) if host.period_us < 60 * SECOND else records
            log.samples[partition] = _repeated(moved, knobs, rng)
    spans = _spans(log)
    if knobs.poison:
        poison(log.samples, rng, midnight_us=knobs.midnight_us, kafka=knobs.kafka_dead)
    # Late enough for every sample that should count, early enough for the one that is ahead of the log.
    log.append_us = {partition: [knobs.midnight_us + DAY] * len(records) for partition, records in log.samples.items()}
    log.run_events = events_of(spans, rng, rejected=knobs.poison)
    log.intensity = prices_of(knobs.zones, spans, rng, midnight_us=knobs.midnight_us, rejected=knobs.poison)
    return log


def _hosts(knobs: Knobs) -> Iterator[Host]:
    for number in range(knobs.hosts):
        rng = random.Random(f"host {knobs.seed} {number}")
        slow = knobs.slow and number == knobs.hosts - 1
        ticks = max(4, knobs.ticks // 3) if slow else knobs.ticks
        period_us = 607 * SECOND if slow else knobs.period_us
        phase_us = rng.randrange(period_us)
        yield Host(
            name=f"h{number}",
            zone=knobs.zones[number % len(knobs.zones)],
            gpus=rng.randint(1, 4) if knobs.gpus is None else knobs.gpus,
            odd_devices=knobs.odd_devices and number % 4 == 1,
            measures_water=number % 5 == 2,
            ticks=ticks,
            period_us=period_us,
            jitter_us=knobs.jitter_us,
            first_us=knobs.midnight_us - ticks // 2 * period_us - phase_us,
            holes=knobs.holes,
            restart_at=ticks // 3 if knobs.restarts and number % 3 == 2 else None,
            plan=_plan(number, ticks, knobs),
            rng=rng,
        )


def _plan(number: int, ticks: int, knobs: Knobs) -> Plan:
    """Which runs share a host's energy from which tick on."""
    own = f"run-{number % knobs.runs}"
    if number == 0:
        crowd: Shares = ((own, 0.5), (f"run-{1 % knobs.runs}", 0.3), (WIDE, 0.1), (None, 0.1))
        return ((0, ((own, 0.7), (None, 0.3))), (ticks // 8, crowd))
    if number % 3 == 0 or number == 1:
        return ((0, ((None, 1.0),)), (ticks // 6, ((WIDE, 1.0),)))
    return ((0, ((own, 1.0),)), (ticks // 2, ((f"run-{(number + 1) % knobs.runs}", 1.0),)))


def _partitions(host: Host, knobs: Knobs, rng: random.Random) -> Iterator[tuple[str, list[Record]]]:
    """A host's samples by source partition: one a host, or one a collector."""
    records = list(host.samples())
    if not (knobs.restarts and rng.random() < 0.3):
        yield host.name, records
        return
    collectors = dict.fromkeys(record["collector_id"] for record in records)
    for collector in collectors:
        yield f"{host.name}.{collector[-4:]}", [record for record in records if record["collector_id"] == collector]


def _disordered(records: list[Record], knobs: Knobs, rng: random.Random) -> list[Record]:
    """Records, three in ten of them moved back by up to `disorder` places."""
    places = [index + (rng.random() * knobs.disorder if rng.random() < 0.3 else 0.0) for index in range(len(records))]
    return [records[index] for index in sorted(range(len(records)), key=places.__getitem__)]


def _repeated(records: list[Record], knobs: Knobs, rng: random.Random) -> list[Record | Dead]:
    """Records with some of them sent again, a few places later."""
    placed = [(index + 0.0, record) for index, record in enumerate(records)]
    again = [pair for pair in placed if rng.random() < knobs.duplicates]
    placed += [(place + rng.randint(1, 40) + 0.5, record) for place, record in again]
    return [record for _, record in sorted(placed, key=lambda pair: pair[0])]


def _spans(log: Log) -> dict[str, tuple[int, int]]:
    """First start and last end of each named run, for its events."""
    spans: dict[str, tuple[int, int]] = {}
    for records in log.samples.values():
        for record in records:
            if isinstance(record, Dead) or record["run_id"] is None:
                continue
            low, high = spans.get(record["run_id"], (record["start"], record["end"]))
            spans[record["run_id"]] = (min(low, record["start"]), max(high, record["end"]))
    return dict(sorted(spans.items()))


def at_midnight(knobs: Knobs, now_us: int) -> Knobs:
    """The same knobs about the last midnight but one, for stores that forget rows by the wall clock."""
    return replace(knobs, midnight_us=(now_us // DAY - 1) * DAY)
