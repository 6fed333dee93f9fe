"""The job in Bytewax's own operators: KafkaSource, stateful_flat_map, collect, EventClock windows, KafkaSink."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main
from tick import RING, SLOT_US, WIDE_US, Intensities, decoder, pieces, row, setting, whole_topic

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATENESS_US = int(setting("LATENESS_S")) * 1_000_000
# What is late is decided before the windows, by the clock of the collector: EventClock follows the newest item of a run
# in any partition, and then the wall clock, so it has to wait long for partitions that are read far behind others.
WAIT = timedelta(seconds=1_800)
MASK = (1 << RING) - 1

Cell = tuple[int, list[Any]]
"""Start of a 5-s window, the sums of a row."""
Piece = tuple[bool, int, list[Any]]
"""Is it late, start of its 5-s window, what it adds to a row."""


def dedupe(seen: tuple[int, int, int] | None, tick: dict[str, Any]) -> tuple[tuple[int, int, int], Iterable[Any]]:
    """A new tick, `late` after it if it is that, or `duplicate`.

    State: the newest number of a collector, which of the RING numbers until it have come (a bit each), its clock.
    """
    newest, bits, clock = seen or (-1, 0, 0)
    seq, end = tick["seq"], tick["end"]
    ahead = seq - newest
    if ahead <= 0 and bits >> -ahead & 1:
        return (newest, bits, clock), ("duplicate",)
    bits = (bits << min(ahead, RING) | 1) & MASK if ahead > 0 else bits | 1 << -ahead
    clock = max(clock, end)
    tick["late"] = (end - 1) // WIDE_US * WIDE_US + WIDE_US + LATENESS_US <= clock - SLOT_US
    return (max(newest, seq), bits, clock), (tick, "late") if tick["late"] else (tick,)


def summed(items: list[Piece]) -> list[Cell]:
    """The pieces of a run that came together and are in time, added up by 5-s window."""
    cells: dict[int, list[Any]] = {}
    for late, slot, sums in items:
        if not late:
            before = cells.get(slot)
            cells[slot] = [a + b for a, b in zip(before, sums, strict=True)] if before else sums
    return list(cells.items())


class Sums(win.WindowLogic[Cell, list[Any], list[Any]]):
    """A window that says its sums whenever they changed, not only when it closes."""

    def __init__(self, state: list[Any] | None) -> None:
        self.state = state or [0, 0, 0, 0, 0, 0, 0.0]

    def on_value(self, value: Cell) -> Iterable[list[Any]]:
        self.state = [a + b for a, b in zip(self.state, value[1], strict=True)]
        return (self.state,)

    def on_merge(self, original: "Sums") -> Iterable[list[Any]]:
        return ()

    def on_close(self) -> Iterable[list[Any]]:
        return ()

    def snapshot(self) -> list[Any]:
        return self.state


def total(state: list[Any] | None, items: list[Piece]) -> tuple[list[Any], bytes]:
    energy, grams = state or (0, 0.0)
    energy, grams = energy + sum(sums[0] for *_, sums in items), grams + sum(sums[6] for *_, sums in items)
    return [energy, grams], json.dumps({"energy_uj": energy, "emissions_g": grams}).encode()


def count(state: int | None, number: int) -> tuple[int, bytes]:
    state = (state or 0) + number
    return state, json.dumps({"n": state}).encode()


def build(output: str, intensities: Intensities) -> Dataflow:
    """The flow of one pass."""
    decode, tail = decoder("sample", last="energy_uj"), setting("MODE") == "live"
    brokers = [setting("BOOTSTRAP")]
    flow = Dataflow("bench")
    source = KafkaSource(
        brokers,
        [setting("SAMPLES")],
        tail=tail,
        batch_size=500,
        add_config={"fetch.queue.backoff.ms": "5", "check.crcs": "false"},
    )
    messages = op.input("samples", flow, source)

    def ticks(batch: list[KafkaSourceMessage[bytes, bytes]]) -> list[tuple[str, Any]]:
        found = [decode(message.value) for message in batch]
        return [(tick["collector_id"], tick) if tick else ("dead", None) for tick in found]

    decoded = op.branch("is_sound", op.flat_map_batch("decode", messages, ticks), lambda pair: pair[1] is not None)
    first = op.branch(
        "is_tick", op.stateful_flat_map("dedupe", decoded.trues, dedupe), lambda pair: isinstance(pair[1], dict)
    )

    def cut(pair: tuple[str, Any]) -> Iterable[tuple[str, Piece]]:
        _, tick = pair
        run, zone, late = tick["run_id"], tick["zone"], tick["late"]
        return [(run, (late, at, [*sums, intensities.grams(zone, at, sums[0])])) for at, sums in pieces(tick)]

    by_run = op.flat_map("cut", first.trues, cut)
    together = op.collect("together", by_run, timeout=timedelta(seconds=1), max_size=1_000)
    cells: KeyedStream[Cell] = op.flat_map_value("sum", together, summed)
    outs = [op.map("total_key", op.stateful_map("total", together, total), lambda kv: (f"{kv[0]}|total|0", kv[1]))]
    clock = win.EventClock(lambda cell: EPOCH + timedelta(microseconds=cell[0]), WAIT)
    for size in (SLOT_US, WIDE_US):
        windower = win.TumblingWindower(length=timedelta(microseconds=size), align_to=EPOCH)
        windows = win.window(f"windows_{size}", cells, clock, windower, Sums, ordered=False)

        def named(kv: tuple[str, tuple[int, list[Any]]], size: int = size) -> tuple[str, bytes]:
            return f"{kv[0]}|{size // 1_000_000}|{kv[1][0] * size}", row(kv[1][1])

        outs.append(op.map(f"row_{size}", windows.down, named))
    dead = op.map("dead", decoded.falses, lambda _: ("dead", 1))
    others = op.map("others", first.falses, lambda pair: (pair[1], 1))
    counted = op.stateful_map("count", op.merge("numbers", dead, others), count)
    outs.append(op.map("count_key", counted, lambda kv: (f"count|{kv[0]}|0", kv[1])))
    rows = op.map("message", op.merge("rows", *outs), lambda kv: KafkaSinkMessage(kv[0].encode(), kv[1]))
    op.output("out", rows, KafkaSink(brokers, output, {"linger.ms": "0"}))
    return flow


def main() -> None:
    intensities = Intensities(whole_topic(setting("INTENSITY")))
    if setting("MODE") == "live":
        state = Path(setting("STATE"))
        if not any(state.iterdir()):
            init_db_dir(state, 1)
        flow = build(setting("OUTPUT") + "-1", intensities)
        print("BENCH ready", flush=True)
        run_main(flow, epoch_interval=timedelta(seconds=5), recovery_config=RecoveryConfig(state))
    for number in range(1, int(setting("PASSES")) + 1):
        print(f"BENCH start {number}", flush=True)
        # Every end of an epoch copies all state, even if nothing stores it; a catch-up has nothing to store.
        run_main(build(f"{setting('OUTPUT')}-{number}", intensities), epoch_interval=timedelta(seconds=20))
        print(f"BENCH end {number}", flush=True)


if __name__ == "__main__":
    main()
