"""The second job as a process of its own: killed and started again, its rows are those of a plain loop."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataflows.jobs import NoLetters
from dataflows.sinks import OutletSink
from examples.downsampling.files import Writer
from examples.downsampling.tables import Tables
from kappawatt.errors import KappawattError
from kappawatt.stream.outbox import Outlet
from kappawatt.stream.target import write_outlet
from tests.flows.flows import LIMIT_S, ROOT, kill, wait_for
from tests.unit.downsampling_oracle import answer, shown

KILLS, MINUTE = 5, 60_000


def start(folder: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-m", "examples.downsampling", "--epoch-s", "0.1"]
    command += ["--log", str(folder / "log"), "--store", str(folder / "store.sqlite"), *flags]
    return subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True)


def readings(rng: random.Random, name: str, start_ms: int, minutes: int):
    """Ten readings a second of five meters: disordered, repeated, some late, some no readings at all."""
    for at in range(start_ms, start_ms + minutes * MINUTE, 100):
        meter = f"{name} {rng.randrange(5)}"
        lag = rng.choice((0, 0, 0, 3_000, 12_000, 200_000))
        reading = (meter, at - lag - rng.randrange(100), rng.uniform(-5, 5_000))
        yield reading
        if rng.random() < 0.03:
            yield reading
        if rng.random() < 0.005:
            yield rng.choice((b"junk", (meter, at + 10**9, 1.0), (meter, at, float("nan")), ("", at, 1.0)))


def count_of(store: Path) -> int:
    if not store.exists():
        return 0
    tables = Tables(store)
    try:
        return sum(row[1] for row in tables.rows("accounting"))
    finally:
        tables.close()


def append(writer: Writer, records: list) -> None:
    for record in records:
        writer.append_datums([record]) if isinstance(record, bytes) else writer.append([record])


def test_killed_and_resumed_it_gives_the_rows_of_a_plain_loop(tmp_path):
    rng, now_ms = random.Random(7), time.time_ns() // 1_000_000
    log = {f"{name}.avro": list(readings(rng, name, now_ms - 30 * MINUTE, 20)) for name in "abc"}
    writers = {name: Writer(tmp_path / "log" / name) for name in log}
    sent = 0
    for part in range(KILLS):
        process = start(tmp_path)
        try:
            for name, writer in writers.items():
                share = len(log[name]) // KILLS
                piece = log[name][part * share : None if part == KILLS - 1 else (part + 1) * share]
                append(writer, piece)
                sent += len(piece)
            wait_for(lambda wanted=sent: count_of(tmp_path / "store.sqlite") > 0.4 * wanted, what="rows in the store")
        finally:
            kill(process)

    for writer in writers.values():
        writer.close()
    process = start(tmp_path, "--until-end")

    assert process.wait(LIMIT_S) == 0
    tables = Tables(tmp_path / "store.sqlite")
    assert shown(tables.rows) == answer(log, now_ms=now_ms)
    assert tables.rows("late") != []
    tables.close()


def test_a_dead_record_without_a_place_is_refused_and_not_dropped(tmp_path):
    tables = Tables(tmp_path / "store.sqlite")
    part = OutletSink(["p"], lambda: (tables, NoLetters()), write_outlet, 0).build_part("", "p", None)

    with pytest.raises(KappawattError, match="as rows"):
        part.write_batch([Outlet(1, {}, {}, ["a dead record"])])
    tables.close()
