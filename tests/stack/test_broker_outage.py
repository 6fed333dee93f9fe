"""Kafka is away for a minute in the middle of a training: it does not notice, and not a microjoule is missing."""

import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kappawatt.errors import StoreError
from kappawatt.log_records import records
from kappawatt.stores import open_store
from tests.flows.flows import Flow, kill, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
AWAY_S = 60
"""How long Kafka is away: so many samples of the run, one a second."""
SLOWER = 2.0
"""So much longer a step may take by what else this machine does; a training that waits for a broker takes seconds."""
LONGEST_S = 4.0

TRAINING = """
import json, pathlib, sys, time
import numpy as np
import kappawatt
rng, steps, epoch = np.random.default_rng(7), [], 0
x, w = rng.normal(size=(400, 400)), rng.normal(size=(400, 400))
with kappawatt.track(name="learner") as run, open("steps", "w") as file:
    with run.phase("train"):
        while not pathlib.Path("enough").exists():
            began = time.time()
            for _ in range(4):
                w -= 1e-6 * (x @ w)
            run.log(loss=float(abs(w[0, 0])))
            print(json.dumps([began, time.time() - began]), file=file, flush=True)
            if len(steps) % 100 == 0:
                run.epoch(epoch, loss=1.0)
                epoch += 1
            steps.append(began)
            time.sleep(0.01)
print("trained")
sys.exit(3)
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """One test's log in Kafka, its spool, its store."""

    folder: Path
    environ: dict[str, str]
    flow: Flow

    def start_training(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "kappawatt", "run", "--json", "-o", "summary.json", "--name", "learner"]
        return subprocess.Popen(
            [*command, "--", sys.executable, "-c", TRAINING],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def spooled(self) -> list[dict[str, Any]]:
        return list(records(self.folder / "spool", "sample"))

    def steps(self) -> list[tuple[float, float]]:
        """When each step began (s since 1970) and how long it took (s)."""
        return [tuple(json.loads(line)) for line in (self.folder / "steps").read_text().splitlines()]

    def table(self, name: str) -> list[dict[str, Any]]:
        try:
            store = open_store(self.flow.store, read_only=True)
        except StoreError:
            return []  # the flow has not made it yet
        try:
            return list(store.scan(name))
        finally:
            store.close()

    def counted(self) -> int:
        return sum(int(row["counted"]) for row in self.table("accounting"))


@pytest.fixture
def place(tmp_path: Path, kafka_address: str, registry_url: str, topic_prefix: str) -> Place:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KAPPAWATT_")}
    ours = {"LOG": f"kafka://{kafka_address}", "REGISTRY": registry_url, "TOPIC_PREFIX": topic_prefix, "SPOOL": "spool"}
    environ = {**kept, "PYTHONPATH": str(ROOT), **{f"KAPPAWATT_{name}": value for name, value in ours.items()}}
    subprocess.run(
        [sys.executable, "-m", "kappawatt", "schema", "register"],
        env=environ,
        check=True,
        timeout=120,
        capture_output=True,
    )
    flags = ("--registry", registry_url, "--topic-prefix", topic_prefix)
    store = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    flow = Flow(log=f"kafka://{kafka_address}", store=store, state=tmp_path / "state", flags=flags)
    return Place(folder=tmp_path, environ=environ, flow=flow)


def servers(action: str) -> None:
    program = [sys.executable, str(ROOT / "tests/stack/servers.py")]
    subprocess.run([*program, action, "kafka"], check=True, timeout=240, capture_output=True)


@pytest.fixture
def kafka_that_comes_back(kafka_address: str) -> Iterator[None]:
    """Kafka runs again after the test, whatever happens in it."""
    yield
    servers("start")


def test_training_and_totals_do_not_notice_that_kafka_was_away(place: Place, kafka_that_comes_back: None) -> None:
    flow = place.flow.start(until_end=False)
    training = place.start_training()
    try:
        wait_for(lambda: (place.folder / "ledger.sqlite").exists() and place.counted() >= 30, what="the first numbers")

        servers("stop")
        gone_at = place.spooled()[-1]["end"] / 1e6
        before = len(place.spooled())
        wait_for(lambda: len(place.spooled()) >= before + 2 * AWAY_S, what="samples while Kafka is away", limit_s=180)
        back_at = place.spooled()[-1]["end"] / 1e6
        servers("start")

        wait_for(lambda: place.counted() >= before + 2 * AWAY_S, what="the flow to catch up", limit_s=120)
        (place.folder / "enough").touch()
        out, said = training.communicate(timeout=60)
        assert (training.returncode, out) == (3, "trained\n")
        flow.send_signal(signal.SIGTERM)
        assert flow.wait(60) == 0
    finally:
        training.kill()
        training.wait(30)
        kill(flow)
    place.flow.run()

    steps = place.steps()
    usual = [took for began, took in steps if began < gone_at - 1]
    during = [took for began, took in steps if gone_at < began < back_at]
    _tell(usual, during, said)
    assert back_at - gone_at >= AWAY_S - 2
    assert statistics.median(during) < SLOWER * statistics.median(usual)
    assert max(during) < LONGEST_S
    _is_whole(place)


def _is_whole(place: Place) -> None:
    """Every sample of the spool is in the totals, once."""
    spooled = place.spooled()
    summary = json.loads((place.folder / "summary.json").read_text())
    (total,) = [row for row in place.table("run_total") if row["run_id"] == summary["run_id"]]
    mine = [sample for sample in spooled if sample["run_id"] == summary["run_id"]]
    assert int(total["energy_uj"]) == sum(sum(sample["energy_uj"]) for sample in mine) == summary["energy_uj"] > 0
    assert int(total["samples"]) == len(mine) == summary["samples"]
    accounting = place.table("accounting")
    assert sum(int(row["counted"]) for row in accounting) == len(spooled)
    assert {(int(row["lost"]), int(row["rejected"]), int(row["dead"])) for row in accounting} == {(0, 0, 0)}


def _tell(usual: list[float], during: list[float], said: str) -> None:
    for name, steps in (("before", usual), ("while Kafka was away", during)):
        worst = sorted(steps)[-3:]
        print(f"{name}: {len(steps)} steps, median {statistics.median(steps) * 1e3:.2f} ms, worst {worst}")
    print(said)
