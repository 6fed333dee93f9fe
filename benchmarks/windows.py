"""Bytewax's own event-time windows and ours over the same input, in the cases that real logs bring.

    python -m benchmarks.windows [--cases stall,skew] [--json]

Each case writes a log of readings while two jobs follow it, each a process of its own: one on
`bytewax.operators.windowing` (EventClock that waits 2 s, 5-s TumblingWindower, counts per window into an upsert sink),
one on `kappawatt.stream.windows` (the example job `examples.downsampling`, 5-s windows, lateness 2 s). Every partition
is in order but for the straggler's; what differs is only when it can be read. Printed is what each sink holds at the
end. `lost`: readings that are in no row of it; `wrong rows`: those whose count is not the true one, and missing ones.

Exit code 1: ours lost a reading or has a wrong row, or a case of Bytewax's windows does not fail any more, and the
documents that say so (docs/guarantees.md) are out of date.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from examples.downsampling.files import Writer, partitions, read
from examples.downsampling.readings import Decoder
from examples.downsampling.tables import Tables

ROOT = Path(__file__).resolve().parents[1]
WIDTH_S, WAIT_S, STEP_MS = 5, 2, 100
METER = "meter"
LIMIT_S = 90


# --- the job on Bytewax's own windows ---------------------------------------------------------------------------------


def stock(folder: Path, total: int) -> None:
    """Follow the log until *total* readings were read; counts per window go to rows.jsonl as they are given."""
    import bytewax.operators as op
    import bytewax.operators.windowing as win
    from bytewax.dataflow import Dataflow
    from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
    from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
    from bytewax.recovery import RecoveryConfig, init_db_dir
    from bytewax.run import cli_main

    class Follow(StatefulSourcePartition):
        def __init__(self, path: Path, state: Any) -> None:
            self.path, self.given = path, state or 0
            self.offset, self.waiting, self.skip = 0, [], self.given
            self.decoder = Decoder()

        def next_batch(self) -> list[int]:
            if not self.waiting and self.path.exists():
                chunk = read(self.path, self.offset)
                self.offset = chunk.next
                self.waiting = self.decoder.decode(chunk.buffer, chunk.start, chunk.end).timestamp_ms.tolist()
                self.waiting, self.skip = self.waiting[self.skip :], max(0, self.skip - len(self.waiting))
            batch, self.waiting = self.waiting[:10], self.waiting[10:]
            if batch:
                self.given += len(batch)
                (folder / f"stock.{self.path.name}").write_text(str(self.given))
            elif given(folder) >= total:
                raise StopIteration
            return batch

        def next_awake(self) -> datetime:
            return datetime.now(UTC) + timedelta(milliseconds=0 if self.waiting else 20)

        def snapshot(self) -> int:
            return self.given

    class Log(FixedPartitionedSource):
        def list_parts(self) -> list[str]:
            return partitions(folder / "log")

        def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Follow:
            return Follow(folder / "log" / for_part, resume_state)

    class Lines(StatefulSinkPartition):
        def __init__(self) -> None:
            self.file = (folder / "rows.jsonl").open("a")

        def write_batch(self, items: list[tuple[int, int]]) -> None:
            self.file.writelines(json.dumps(item) + "\n" for item in items)
            self.file.flush()

        def snapshot(self) -> None:
            os.fsync(self.file.fileno())

    class Sink(FixedPartitionedSink):
        def list_parts(self) -> list[str]:
            return ["rows"]

        def build_part(self, step_id: str, for_part: str, resume_state: Any) -> Lines:
            return Lines()

    flow = Dataflow("stock")
    times = op.input("in", flow, Log())
    clock = win.EventClock(
        lambda ms: datetime.fromtimestamp(ms / 1_000, UTC), wait_for_system_duration=timedelta(seconds=WAIT_S)
    )
    windower = win.TumblingWindower(length=timedelta(seconds=WIDTH_S), align_to=datetime(2020, 1, 1, tzinfo=UTC))
    counted = win.count_window("count", times, clock, windower, lambda _: METER)
    op.output("out", counted.down, Sink())
    recovery = folder / "recovery"
    if not recovery.exists():
        recovery.mkdir()
        init_db_dir(recovery, 1)
    cli_main(flow, epoch_interval=timedelta(seconds=0.2), recovery_config=RecoveryConfig(recovery))


def given(folder: Path) -> int:
    """Readings that the job on Bytewax's windows was given."""
    return sum(int(path.read_text() or 0) for path in folder.glob("stock.*"))


def stock_rows(folder: Path) -> dict[int, int]:
    """Count by window number since 2020, the last one given: what an upsert sink holds."""
    path = folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return dict(rows)


# --- both jobs over a growing log -------------------------------------------------------------------------------------


class Race:
    """A log, and the two jobs that follow it."""

    def __init__(self, folder: Path, total: int, names: Sequence[str]) -> None:
        self.folder, self.total = folder, total
        self.zero_ms = time.time_ns() // 1_000_000 // (WIDTH_S * 1_000) * WIDTH_S * 1_000
        self.writers = {name: Writer(folder / "log" / f"{name}.avro") for name in names}
        self.truth: Counter[int] = Counter()
        self.processes: list[subprocess.Popen[bytes]] = []

    def write(self, first_ms: int, end_ms: int, name: str = "a") -> None:
        """Append one reading each 0.1 s of event time in [first, end), relative to the race's beginning."""
        moments = [self.zero_ms + at for at in range(first_ms, end_ms, STEP_MS)]
        self.writers[name].append([(METER, at, 1.0) for at in moments])
        self.truth.update(at // (WIDTH_S * 1_000) for at in moments)

    def start(self) -> None:
        """Start both jobs, or start them again."""
        stock = [sys.executable, "-m", "benchmarks.windows", "--stock", str(self.folder), str(self.total)]
        self.processes = [self._spawn(stock), self._spawn(self._ours())]

    def caught_up(self) -> None:
        """Wait until both have read and committed what is written."""
        wanted, deadline = self.truth.total(), time.monotonic() + LIMIT_S
        while given(self.folder) < wanted or self._counted() < wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"the jobs read {given(self.folder)} and {self._counted()} of {wanted} readings")
            time.sleep(0.05)
        time.sleep(0.6)

    def kill(self) -> None:
        """SIGKILL both."""
        for process in self.processes:
            process.kill()
            process.wait()

    def end(self) -> dict[str, Any]:
        """Let both come to the log's end, and compare."""
        self.caught_up()
        stock, ours = self.processes
        ours.send_signal(signal.SIGTERM)
        if stock.wait(LIMIT_S) or ours.wait(LIMIT_S):
            raise SystemExit("a job failed")
        if self._spawn([*self._ours(), "--until-end"]).wait(LIMIT_S):
            raise SystemExit("the job on our windows failed at the log's end")
        since = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) // WIDTH_S
        tables = Tables(self.folder / "store.sqlite")
        ours_rows = {start // (WIDTH_S * 1_000): count for _, start, count, *_ in tables.rows("window")}
        tables.close()
        stocks = {window + since: count for window, count in stock_rows(self.folder).items()}
        return {"readings": self.truth.total(), "stock": self._judge(stocks), "ours": self._judge(ours_rows)}

    def close(self) -> None:
        """Leave nothing running."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        for writer in self.writers.values():
            writer.close()

    def _judge(self, rows: dict[int, int]) -> dict[str, int]:
        wrong = sum(rows.get(window) != self.truth.get(window) for window in {*rows, *self.truth})
        counted = sum(rows.values())
        return {"counted": counted, "lost": self.truth.total() - counted, "wrong_rows": wrong}

    def _ours(self) -> list[str]:
        command = [sys.executable, "-m", "examples.downsampling", "--epoch-s", "0.2"]
        command += ["--log", str(self.folder / "log"), "--store", str(self.folder / "store.sqlite")]
        return [*command, "--width-s", str(WIDTH_S), "--lateness-s", str(WAIT_S)]

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "messages").open("a") as messages:
            process = subprocess.Popen(command, cwd=ROOT, stderr=messages)
        self.processes.append(process)
        return process

    def _counted(self) -> int:
        if not (self.folder / "store.sqlite").exists():
            return 0
        tables = Tables(self.folder / "store.sqlite")
        try:
            return sum(row[1] for row in tables.rows("accounting"))
        finally:
            tables.close()


# --- the cases --------------------------------------------------------------------------------------------------------


def stall(race: Race) -> None:
    """Nothing can be read for 4 s in the middle of an orderly log of 20 s, inside a window."""
    race.write(0, 12_000)
    race.start()
    race.caught_up()
    time.sleep(4)
    race.write(12_000, 20_000)


def slow(race: Race) -> None:
    """An orderly log of 20 s comes 20 % slower than real time."""
    race.write(0, 200)
    race.start()
    race.caught_up()
    for at in range(200, 20_000, 200):
        time.sleep(0.24)
        race.write(at, at + 200)


def skew(race: Race) -> None:
    """Two partitions of 20 s each are caught up together; one begins 5 s earlier in event time."""
    race.write(5_000, 25_000, "a")
    race.write(0, 20_000, "b")
    race.start()


def down(race: Race) -> None:
    """kill -9 inside an open window, 6 s down, resume: 100 readings have piled up."""
    race.write(0, 3_000)
    race.start()
    race.caught_up()
    race.kill()
    time.sleep(6)
    race.write(3_000, 13_000)
    race.start()


def straggler(race: Race) -> None:
    """A full window, 5 s of silence, then one more reading of that window."""
    race.write(0, 5_000)
    race.start()
    race.caught_up()
    time.sleep(5)
    race.write(4_950, 4_951)


CASES: dict[str, tuple[Callable[[Race], None], int, tuple[str, ...]]] = {
    "stall": (stall, 200, ("a",)),
    "slow": (slow, 200, ("a",)),
    "skew": (skew, 400, ("a", "b")),
    "down": (down, 130, ("a",)),
    "straggler": (straggler, 51, ("a",)),
}
"""By name: what happens, how many readings there are in all, and in which partitions."""


def run(name: str) -> dict[str, Any]:
    """One case."""
    case, total, names = CASES[name]
    with tempfile.TemporaryDirectory() as folder:
        race = Race(Path(folder), total, names)
        try:
            case(race)
            found = race.end()
        finally:
            race.close()
    return {"case": name, "what": " ".join((case.__doc__ or "").split()), **found}


def table(found: Sequence[dict[str, Any]]) -> str:
    """The cases as a Markdown table."""
    lines = [
        "| case | readings | Bytewax's windows: counted | lost | wrong rows | ours: counted | lost | wrong rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in found:
        cells = [each[side][name] for side in ("stock", "ours") for name in ("counted", "lost", "wrong_rows")]
        lines.append(f"| **{each['case']}** {each['what']} | {each['readings']} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def failures(found: Sequence[dict[str, Any]]) -> list[str]:
    """What contradicts the documents."""
    bad = [f"{each['case']}: ours is not exact: {each['ours']}" for each in found if any(_faults(each["ours"]))]
    return bad + [
        f"{each['case']}: Bytewax's windows are right now" for each in found if not any(_faults(each["stock"]))
    ]


def _faults(side: dict[str, int]) -> tuple[int, int]:
    return side["lost"], side["wrong_rows"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases side by side and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES), help="some of: " + ",".join(CASES))
    parser.add_argument("--json", action="store_true", help="JSON only")
    parser.add_argument("--stock", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stock:
        stock(Path(options.stock[0]), int(options.stock[1]))
        return 0
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(run, options.cases.split(",")))
    if not options.json:
        print(table(found), end="\n\n")
    print(json.dumps(found))
    bad = failures(found)
    print("\n".join(bad), file=sys.stderr, end="\n" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
