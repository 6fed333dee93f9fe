"""Semantics §1: the verdict of every sample record, and the accounting that follows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.oracle.model import W5S, CouldBeLate, Dead, Log, Parameters, Record, Table, is_long

MAX_ENERGY_UJ = 2**53
PARALLEL = ("method", "energy_uj", "device", "utilization", "temperature_c", "memory_bytes")


@dataclass(slots=True)
class Verdicts:
    """What became of every record.

    `of` is parallel to `Log.samples`, as (verdict, reason); `seen` maps collector and seq to their partition.
    """

    of: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    counted: list[Record] = field(default_factory=list)
    seen: dict[str, dict[int, str]] = field(default_factory=dict)


def judge(log: Log, parameters: Parameters) -> Verdicts:
    """Verdicts of all samples, partition by partition, in reading order."""
    verdicts = Verdicts()
    for partition in log.samples:
        verdicts.of[partition] = list(_judge_partition(log, partition, parameters, verdicts))
    return verdicts


def _judge_partition(log: Log, partition: str, parameters: Parameters, verdicts: Verdicts) -> Iterator[tuple[str, str]]:
    times = None if log.append_us is None else log.append_us[partition]
    greatest_end: int | None = None
    for number, record in enumerate(log.samples[partition]):
        if isinstance(record, Dead):
            yield "dead", record.reason
            continue
        if _is_repeat(record, partition, verdicts):
            yield "duplicate", ""
            continue
        reason = fault(record, parameters, None if times is None else times[number])
        if not reason and greatest_end is not None and record["end"] < greatest_end - parameters.horizon_us:
            reason = "expired"
        if reason:
            yield "rejected", reason
            continue
        greatest_end = record["end"] if greatest_end is None else max(greatest_end, record["end"])
        verdicts.counted.append(record)
        yield "counted", ""


def _is_repeat(record: Record, partition: str, verdicts: Verdicts) -> bool:
    """Whether the identity was read before; every readable record is noted, whatever becomes of it."""
    seen = verdicts.seen.setdefault(record["collector_id"], {})
    where = seen.get(record["seq"])
    if where is None:
        seen[record["seq"]] = partition
        return False
    if where != partition:
        raise AssertionError(
            f"{record['collector_id']!r} seq {record['seq']} is in partitions {where!r} and {partition!r}: "
            "which of the two repeats the other is open"
        )
    return True


def fault(record: Record, parameters: Parameters, append_us: int | None) -> str:
    """The first reason to reject a record by itself (all but `expired`), or nothing."""
    readings = len(record["kind"])
    length = record["end"] - record["start"]
    energies = record["energy_uj"]
    run_id = record["run_id"]
    limit = min(MAX_ENERGY_UJ - 1, parameters.max_device_power_w * length)
    ids = (record["collector_id"], record["host"], run_id, record["zone"])
    checks = (
        ("arrays_differ", readings == 0 or any(len(record[name]) != readings for name in PARALLEL)),
        ("reserved_run_id", record["host"].startswith("/") if run_id is None else run_id.startswith("~")),
        ("empty_id", record["collector_id"] == "" or record["host"] == "" or run_id == ""),
        ("long_id", any(is_long(name) for name in (*ids, *record["device"]) if name is not None)),
        ("empty_interval", length <= 0),
        ("too_long", length >= parameters.max_interval_us),
        ("before_epoch", record["start"] < 0),
        ("after_time", record["end"] > 2**31 * W5S),
        ("ahead_of_log", append_us is not None and record["end"] > append_us + parameters.future_skew_us),
        ("negative_energy", bool(energies) and min(energies) < 0),
        ("implausible_power", bool(energies) and max(energies) > limit),
    )
    return next((reason for reason, applies in checks if applies), "")


def run_of(record: Record) -> str:
    """The run that a sample is booked under."""
    run_id: str | None = record["run_id"]
    return f"~{record['host']}" if run_id is None else run_id


def refuse_late(log: Log, verdicts: Verdicts, parameters: Parameters) -> None:
    """Raise if any order of reading the partitions could make a sample late.

    A window is evicted at the earliest when its end + lateness ≤ the watermark, which is never beyond what the sample's
    own partition has shown before it, and, as long as its run cannot be closed, ≤ the greatest end of the run.
    """
    closing = _earliest_close(log, verdicts, parameters)
    newest: dict[str, int] = {}
    for record in verdicts.counted:
        run = run_of(record)
        newest[run] = max(newest.get(run, 0), record["end"])
    for partition, records in log.samples.items():
        shown = 0
        for item, (verdict, _) in zip(records, verdicts.of[partition], strict=True):
            if verdict != "counted" or isinstance(item, Dead):
                continue
            evicted_from = (item["start"] // W5S + 1) * W5S + parameters.lateness_us
            run = run_of(item)
            if evicted_from <= (shown if closing[run] <= shown else min(shown, newest[run])):
                raise CouldBeLate(f"{partition}: {item['collector_id']} seq {item['seq']} may come too late")
            shown = max(shown, item["end"])


def _earliest_close(log: Log, verdicts: Verdicts, parameters: Parameters) -> dict[str, int]:
    """By run, the earliest event time at which it can be closed, whatever was read of it by then.

    By a stop when its lease is over; by silence when the least that can be known of it is old enough.
    """
    closing: dict[str, int] = {}
    for record in verdicts.counted:
        run = run_of(record)
        closing[run] = min(closing.get(run, record["end"] + parameters.close_us), record["end"] + parameters.close_us)
    for event in log.run_events:
        run = event["run_id"]
        after_us = parameters.lease_us if event["type"] == "stop" else parameters.close_us
        if run in closing:
            closing[run] = min(closing[run], event["at"] + after_us)
    return closing


def accounting(log: Log, verdicts: Verdicts) -> Table:
    """One row a source partition with at least one record."""
    rows: Table = {}
    for partition, outcomes in verdicts.of.items():
        if not outcomes:
            continue
        name = f"sample/{partition}"
        words = [verdict for verdict, _ in outcomes]
        row = {"source_partition": name, "sent": len(words), "lost": 0}
        row |= {word: words.count(word) for word in ("counted", "duplicate", "rejected", "dead")}
        if partition in log.positions:
            row["position"] = log.positions[partition]
        rows[(name,)] = row
    for places in verdicts.seen.values():
        lowest = min(f"sample/{partition}" for partition in places.values())
        rows[(lowest,)]["lost"] += max(places) - min(places) + 1 - len(places)
    return rows
