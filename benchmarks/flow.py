"""Readings that one core of the whole flow takes a second: log of 11-device ticks in, every table of the store out.

    python benchmarks/flow.py [--ticks 1000000] [--devices 11] [--processes 1] [--epoch-s 0.5]

Makes the log (make_log.py), runs `kappawatt flow --until-end` over it into SQLite as a process of its own, compares
runs' energies and the number of repeats with what the log holds, and prints JSON. CPU seconds are user + system of
all processes and threads of the flow, recovery and store included. `start_cpu_s` is what the same flow needs for an
empty log (imports, tables, state); `readings_per_cpu_s` leaves it out, `readings_per_cpu_s_with_start` does not.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kappawatt.stores import open_store

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of the flow took."""

    cpu_s: float
    wall_s: float


def make(log: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The log, and what a right answer to it is."""
    command = [sys.executable, str(HERE / "make_log.py"), "--log", f"file:{log}", "--ticks", str(options.ticks)]
    command += ["--devices", str(options.devices)]
    truth: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return truth


def run(log: Path, home: Path, options: argparse.Namespace) -> Cost:
    """The flow over *log*, from nothing to final rows."""
    command = [sys.executable, "-m", "kappawatt", "flow", "--until-end", "--log", f"file:{log}"]
    command += ["--store", f"sqlite:{home / 'ledger.sqlite'}", "--state", str(home / "state")]
    command += ["--processes", str(options.processes), "--epoch-s", str(options.epoch_s)]
    environ = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, env=environ, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def check(home: Path, truth: dict[str, Any]) -> None:
    """The store says what the log holds, to the microjoule."""
    store = open_store(f"sqlite:{home / 'ledger.sqlite'}", read_only=True)
    energies = {row["run_id"]: row["energy_uj"] for row in store.scan("run_total")}
    duplicates = sum(row["duplicate"] for row in store.scan("accounting"))
    store.close()
    wanted = {run_id: energy for run_id, energy in truth["energy_by_run"].items() if energy}
    if energies != wanted or duplicates != truth["duplicates"]:
        raise SystemExit("the flow's answer is not the log's: no figure")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=11, choices=range(1, 12))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--epoch-s", type=float, default=0.5)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        log, empty = Path(folder, "log"), Path(folder, "empty")
        empty.mkdir()
        truth = make(log, options)
        start = run(empty, Path(folder, "nothing"), options)
        whole = run(log, Path(folder, "home"), options)
        check(Path(folder, "home"), truth)
    readings = truth["readings"]
    net = whole.cpu_s - start.cpu_s
    print(
        json.dumps(
            {
                "benchmark": "flow_on_files",
                "ticks": options.ticks,
                "devices": options.devices,
                "processes": options.processes,
                "readings": readings,
                "cpu_s": round(whole.cpu_s, 2),
                "wall_s": round(whole.wall_s, 2),
                "start_cpu_s": round(start.cpu_s, 2),
                "cpu_us_per_tick": round(net / options.ticks * 1e6, 2),
                "readings_per_cpu_s": round(readings / net),
                "readings_per_cpu_s_with_start": round(readings / whole.cpu_s),
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
