"""The job in Quix Streams: state per host, group_by run, tumbling windows with a reducer, rows at every change."""

import json
from pathlib import Path
from typing import Any

from quixstreams import Application, State
from quixstreams.models import SerializationContext, Serializer
from tick import COLUMNS, RING, WIDE_US, Intensities, decoder, pieces, setting, whole_topic

LIVE = setting("MODE") == "live"
LATENESS_US = int(setting("LATENESS_S")) * 1_000_000
MASK = (1 << RING) - 1
# What is late is decided before the windows, by the clock of the host: after group_by a window's clock follows the
# newest piece of any partition, and partitions are read far apart from each other.
GRACE_MS = 3_600_000


class Job:
    """What each message goes through."""

    def __init__(self, intensities: Intensities) -> None:
        self.decode, self.intensities = decoder("sample", last="energy_uj"), intensities

    def take(self, message: bytes, state: State) -> list[dict[str, Any]]:
        """The pieces of a tick, or a count that went up. State, per host: newest number, bits of those seen, clock."""
        tick = self.decode(message)
        if tick is None:
            return [self.count(state, "dead")]
        name, seq = tick["collector_id"], tick["seq"]
        newest, seen, clock = state.get(name) or (-1, "0", 0)
        bits, ahead = int(seen, 16), seq - newest
        if ahead <= 0 and bits >> -ahead & 1:
            return [self.count(state, "duplicate")]
        bits = (bits << min(ahead, RING) | 1) & MASK if ahead > 0 else bits | 1 << -ahead
        clock = max(clock, tick["end"])
        state.set(name, (max(newest, seq), f"{bits:x}", clock))
        cut = pieces(tick)
        late = cut[-1][0] // WIDE_US * WIDE_US + WIDE_US + LATENESS_US <= clock - 5_000_000
        zone, run, grams = tick["zone"], tick["run_id"], self.intensities.grams
        found = [{"run": run, "at": at, "late": late, "sums": [*s, grams(zone, at, s[0])]} for at, s in cut]
        return [*found, self.count(state, "late")] if late else found

    @staticmethod
    def count(state: State, kind: str) -> dict[str, Any]:
        number = state.get(kind, 0) + 1
        state.set(kind, number)
        return {"count": kind, "n": number}


def total(piece: dict[str, Any], state: State) -> dict[str, Any]:
    energy, grams = state.get("total") or (0, 0.0)
    energy, grams = energy + piece["sums"][0], grams + piece["sums"][6]
    state.set("total", (energy, grams))
    return {"energy_uj": energy, "emissions_g": grams}


class Rows(Serializer):
    """Rows of the output travel as (key, value)."""

    def __call__(self, value: tuple[str, dict[str, Any]], ctx: SerializationContext) -> bytes:
        return json.dumps(value[1]).encode()


def add(sums: list[Any], piece: dict[str, Any]) -> list[Any]:
    return [a + b for a, b in zip(sums, piece["sums"], strict=True)]


def run_pass(number: int, intensities: Intensities) -> None:
    group = setting("GROUP") + ("" if LIVE else f"-{number}")
    app = Application(
        broker_address=setting("BOOTSTRAP"),
        consumer_group=group,
        auto_offset_reset="earliest",
        state_dir=Path(setting("STATE"), group),
        # Pieces go through a topic; without transactions a crash would leave some there twice.
        processing_guarantee="exactly-once",
        commit_interval=1.0 if LIVE else 5.0,
        # Started again after a kill it is the same member, and nobody waits for the dead one.
        consumer_extra_config={"fetch.queue.backoff.ms": 5, "fetch.wait.max.ms": 50, "check.crcs": False}
        | {"group.instance.id": group},
        producer_extra_config={"linger.ms": 20, "compression.type": "lz4", "transactional.id": group},
        loglevel="WARNING",
    )
    samples = app.topic(setting("SAMPLES"), key_deserializer="str", value_deserializer="bytes")
    output = app.topic(f"{setting('OUTPUT')}-{number}", key_serializer="str", value_serializer=Rows())
    events = app.dataframe(samples).apply(Job(intensities).take, stateful=True, expand=True)
    pieces_by_run = events.filter(lambda event: "run" in event).group_by("run")
    on_time = pieces_by_run.filter(lambda piece: not piece["late"])
    on_time = on_time.set_timestamp(lambda piece, *_: piece["at"] // 1_000)
    rows = [
        events.filter(lambda event: "count" in event).apply(
            lambda event, host, *_: (f"count|{event['count']}|{host}", {"n": event["n"]}), metadata=True
        ),
        pieces_by_run.apply(total, stateful=True).apply(lambda sums, run, *_: (f"{run}|total|0", sums), metadata=True),
    ]
    for size in (5, 300):
        windows = on_time.tumbling_window(size * 1_000, GRACE_MS).reduce(add, lambda piece: piece["sums"]).current()
        rows.append(
            windows.apply(
                lambda window, run, *_, size=size: (
                    f"{run}|{size}|{window['start'] * 1_000}",
                    dict(zip(COLUMNS, window["value"], strict=True)),
                ),
                metadata=True,
            )
        )
    for each in rows:
        each.to_topic(output, key=lambda row: row[0])
    app.run(**({} if LIVE else {"timeout": 8.0, "collect": False}))


def main() -> None:
    intensities = Intensities(whole_topic(setting("INTENSITY")))
    if LIVE:
        print("BENCH ready", flush=True)
        run_pass(1, intensities)
        return
    for number in range(1, int(setting("PASSES")) + 1):
        print(f"BENCH start {number}", flush=True)
        run_pass(number, intensities)
        print(f"BENCH end {number}", flush=True)


if __name__ == "__main__":
    main()
