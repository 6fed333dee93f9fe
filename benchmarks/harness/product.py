"""The product on the real servers: the process that sends, `kappawatt flow`, and runs whose ticks are followed."""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.make_load import Load
from kappawatt.stores import Store

from .cluster import ROOT, BenchError, Cluster

WIDTH_US = 5_000_000


def environment() -> dict[str, str]:
    """Of the processes that this one starts."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class Paced:
    """The process that sends."""

    def __init__(self, servers: dict[str, str], load: Load) -> None:
        self.load, self.prefix = load, f"live-{uuid.uuid4().hex[:8]}-"
        self._cluster = Cluster(servers["KAFKA"], servers["REGISTRY"])
        words = [servers["KAFKA"], servers["REGISTRY"], self.prefix, json.dumps(asdict(load))]
        command = [sys.executable, "-m", "benchmarks.make_load", *words]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
        )
        self._line()

    def __repr__(self) -> str:
        return f"<Paced {self.load}>"

    def go(self) -> int:
        """Begin; when the first tick is due, µs since 1970."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return int(self._line())

    def sent(self) -> dict[str, Any]:
        """Wait for its end; what it sent."""
        found: dict[str, Any] = json.loads(self._line())
        return found

    def close(self) -> None:
        """Stop it and remove its topics."""
        self._process.kill()
        self._process.communicate()
        topics = ("sample", "intensity", "run_event", "dead_letter", "alert")
        self._cluster.remove([self.prefix + topic for topic in topics])

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise BenchError("the load ended early; what it said is above")
        return line


class Flow:
    """`kappawatt flow` in one process; it says what it says into a file of *folder*."""

    def __init__(self, options: argparse.Namespace, servers: dict[str, str], prefix: str, store: str, folder: Path):
        words = ["--log", f"kafka://{servers['KAFKA']}", "--registry", servers["REGISTRY"], "--topic-prefix", prefix]
        words += ["--store", store, "--state", str(folder / "state")]
        words += [] if options.epoch_s is None else ["--epoch-s", str(options.epoch_s)]
        words += [] if options.lateness_s is None else ["--lateness-s", str(options.lateness_s)]
        words += [] if options.horizon_days is None else ["--horizon-days", str(options.horizon_days)]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._metrics = f"127.0.0.1:{free.getsockname()[1]}"
        words += ["--metrics", self._metrics]
        self._command = [sys.executable, "-m", "kappawatt", "flow", *words]
        self._state, self._said = folder / "state", folder / "said"
        self._begin()

    def __repr__(self) -> str:
        return f"<Flow {self._process.pid}>"

    def kill(self) -> None:
        """kill -9, and begin again."""
        self._process.kill()
        self._process.wait()
        self._begin()

    def check(self) -> None:
        """Raise BenchError if it has ended."""
        if self._process.poll() is not None:
            raise BenchError(f"the flow ended with {self._process.returncode}:\n{self._said.read_text()[-4_000:]}")

    def cpu_s(self) -> float:
        """User and system time of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self, what: str) -> float:
        """VmRSS: resident now; VmHWM: the greatest so far."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1_024 / 1e6 for line in lines if line.startswith(what))

    def rows(self) -> int:
        """Rows that the process has sent to the store."""
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("kappawatt_flow_rows_total{"))

    def state_mb(self) -> float:
        """Size of the state folder."""
        return sum(path.stat().st_size for path in self._state.rglob("*") if path.is_file()) / 1e6

    def close(self) -> None:
        """Let it drain, and wait for its end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _begin(self) -> None:
        with self._said.open("a") as said:
            self._process = subprocess.Popen(self._command, cwd=ROOT, env=environment(), stderr=said)


class Probe:
    """One run of one host: which of its ticks are in the store, and since when."""

    def __init__(self, run: str, ends_us: list[int], period_us: int) -> None:
        self.run, self.ends_us, self._period_us = run, ends_us, period_us
        self.seen: list[float] = []
        """When (s since 1970) each tick was first read."""
        self.version = self.reads = 0

    def __repr__(self) -> str:
        return f"<Probe {self.run}: {len(self.seen)} of {len(self.ends_us)}>"

    def waits(self, now: float) -> bool:
        """Whether it has a tick that has ended and was not read."""
        return len(self.seen) < len(self.ends_us) and self.ends_us[len(self.seen)] < now * 1e6

    def read(self, store: Store) -> None:
        """Read the rows that the next tick is in, or behind."""
        window = self._window(len(self.seen))
        day = time.strftime("%Y-%m-%d", time.gmtime(window / 1e6))
        rows = store.read("run_window_5s", {"run_id": self.run, "date": day}, since=window)
        now = time.time()
        self.reads += 1
        for row in rows:
            self.version = max(self.version, row["version"])
            # Its ticks come in order, so they are in the store in order, and one row ends before the next begins.
            within = [at for at in range(len(self.ends_us)) if self._window(at) == row["window_start"]]
            known = within[0] + row["samples"] if within and row["samples"] else 0
            self.seen += [now] * (known - len(self.seen))

    def latencies(self, since_s: float) -> list[float]:
        """Of every tick that ended *since_s* or later, s."""
        pairs = zip(self.ends_us, self.seen, strict=False)
        return [seen - end / 1e6 for end, seen in pairs if end >= since_s * 1e6]

    def _window(self, tick: int) -> int:
        start = self.ends_us[tick] - self._period_us
        return start - start % WIDTH_US
