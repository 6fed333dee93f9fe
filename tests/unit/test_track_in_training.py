"""`track()` inside real child processes: it measures, it ends however the process ends, it never breaks anything."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kappawatt.log_records import records

ROOT = Path(__file__).parents[2]
BUSY = "import time\ndef busy(s):\n    end = time.monotonic() + s\n    while time.monotonic() < end: sum(range(1000))\n"


class Training:
    """Runs a piece of Python in a folder of its own, and reads the log that it left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: text for name, text in os.environ.items() if not name.startswith("KAPPAWATT_")}
        log = f"file:{folder / 'log'}"
        self.environ = {**kept, "PYTHONPATH": str(ROOT), "KAPPAWATT_LOG": log, "KAPPAWATT_PERIOD_S": "0.2"}

    def start(self, code: str, **environ: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BUSY + "import kappawatt\n" + code],
            cwd=self.folder,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, code: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        started = self.start(code, **environ)
        out, told = started.communicate(timeout=60)
        return subprocess.CompletedProcess([], started.returncode, out, told)

    def records(self, topic: str) -> list[dict[str, Any]]:
        return list(records(self.folder / "log", topic))

    def events(self) -> list[tuple[str, str | None]]:
        events = sorted(self.records("run_event"), key=lambda event: (event["at"], event["event_id"]))
        return [(event["type"], event["phase"] or event["status"]) for event in events]


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


def wait_for(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        os.sched_yield()


def test_block_is_one_run_with_its_phases_and_epochs(training: Training) -> None:
    code = """
with kappawatt.track(name="digits", project="vision", model="mlp", labels={"seed": 7}) as run:
    with run.phase("prepare"): pass
    with run.phase("train"):
        busy(0.5)
        run.epoch(0, loss=0.5, accuracy=0.75, skipped=None)
    run.log(f1=0.5)
"""
    training.run(code)

    assert training.events() == [
        ("start", None),
        ("phase_start", "prepare"),
        ("phase_end", "prepare"),
        ("phase_start", "train"),
        ("epoch", None),
        ("phase_end", "train"),
        ("heartbeat", None),
        ("stop", "succeeded"),
    ]
    start, epoch = training.records("run_event")[0], training.records("run_event")[4]
    assert (start["project"], start["model"], start["labels"]) == ("vision", "mlp", {"name": "digits", "seed": "7"})
    assert (epoch["epoch"], epoch["metrics"]) == (0, {"loss": 0.5, "accuracy": 0.75})


def test_summary_is_the_sum_of_the_samples_and_is_told_on_stderr(training: Training) -> None:
    code = """
import json
with kappawatt.track(name="digits", zone="DEU") as run: busy(1.0)
print(json.dumps(run.summary.to_json()))
"""
    done = training.run(code)

    summary = json.loads(done.stdout)
    mine = [sample for sample in training.records("sample") if sample["run_id"] == summary["run_id"]]
    assert summary["energy_uj"] == sum(sum(sample["energy_uj"]) for sample in mine) > 0
    assert (summary["samples"], summary["coverage"]) == (len(mine), 1.0)
    assert done.stderr.startswith(f"kappawatt: run {summary['run_id']} succeeded\n  energy ")


def test_samples_of_the_run_and_of_nobody_follow_each_other_without_a_hole(training: Training) -> None:
    training.run("with kappawatt.track() as run: busy(1.0)")

    samples = training.records("sample")
    mine = sorted((s["start"], s["end"]) for s in samples if s["run_id"])
    assert sorted(s["seq"] for s in samples) == list(range(len(samples)))
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(mine))
    assert {s["run_id"] is None for s in samples} == {True, False}


def test_scope_host_books_everything_on_the_run(training: Training) -> None:
    training.run("with kappawatt.track(scope='host') as run: busy(0.5)")

    assert all(sample["run_id"] for sample in training.records("sample"))


def test_child_process_is_part_of_the_run(training: Training) -> None:
    code = """
import json, subprocess, sys
with kappawatt.track(quiet=True) as run:
    subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 1: sum(range(1000))"])
"""
    training.run(code)

    assert sum(s["cpu_time_us"] for s in training.records("sample") if s["run_id"]) > 900_000


def test_decorated_function_is_a_run_a_call_and_gives_its_result(training: Training) -> None:
    code = """
@kappawatt.track(quiet=True)
def fit(x): return x + 1
@kappawatt.track(name="twice", quiet=True)
async def later(x): return x * 2
import asyncio
print(fit(1), fit(x=2), asyncio.run(later(4)), fit.__name__)
"""
    done = training.run(code)

    names = [event["labels"]["name"] for event in training.records("run_event") if event["type"] == "start"]
    assert (done.stdout, done.stderr) == ("2 3 8 fit\n", "")
    assert sorted(names) == ["fit", "fit", "twice"]
    assert len({event["run_id"] for event in training.records("run_event")}) == 3


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("raise ValueError('x')", 1, "failed"),
        ("raise SystemExit(3)", 3, "failed"),
        ("raise SystemExit(0)", 0, "succeeded"),
        ("raise KeyboardInterrupt", 130, "failed"),
    ],
)
def test_end_of_the_block_is_the_end_of_the_run(training: Training, end: str, code: int, status: str) -> None:
    done = training.run(f"with kappawatt.track(quiet=True):\n    {end}")

    assert done.returncode in (code, -signal.SIGINT)
    assert training.events()[-1] == ("stop", status)


def test_run_that_nobody_stops_ends_with_the_interpreter(training: Training) -> None:
    training.run("run = kappawatt.track(quiet=True).__enter__()")

    assert training.events() == [("start", None), ("stop", "failed")]


def test_sigterm_ends_the_run_and_then_the_process_as_before(training: Training) -> None:
    started = training.start("with kappawatt.track(): open('ready', 'w').close(); busy(1000)")
    wait_for(lambda: (training.folder / "ready").exists())

    started.send_signal(signal.SIGTERM)
    _, told = started.communicate(timeout=30)

    assert started.returncode == -signal.SIGTERM
    assert "failed\n  energy" in told
    assert training.events()[-1] == ("stop", "failed")


def test_sigterm_handler_of_the_training_still_runs(training: Training) -> None:
    code = """
import signal, sys
def save(number, frame): print("saved"); sys.exit(9)
signal.signal(signal.SIGTERM, save)
with kappawatt.track(quiet=True): open('ready', 'w').close(); busy(1000)
"""
    started = training.start(code)
    wait_for(lambda: (training.folder / "ready").exists())

    started.send_signal(signal.SIGTERM)
    out, _ = started.communicate(timeout=30)

    assert (started.returncode, out) == (9, "saved\n")
    assert training.events()[-1] == ("stop", "failed")


def test_sigterm_handler_is_given_back_at_the_end(training: Training) -> None:
    code = """
import signal
with kappawatt.track(quiet=True): pass
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    assert training.run(code).stdout == "True\n"


def test_forked_child_does_nothing_and_disturbs_nothing(training: Training) -> None:
    code = """
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads, which is what trainings do
with kappawatt.track(quiet=True) as run:
    pid = os.fork()
    if pid == 0:
        run.epoch(1, loss=1.0)
        run.stop()
        raise SystemExit(0)
    print(os.waitpid(pid, 0)[1])
    busy(0.5)
    run.epoch(2)
"""
    done = training.run(code)

    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)
    assert training.events() == [("start", None), ("epoch", None), ("stop", "succeeded")]


def test_run_inside_a_run_takes_part_in_it(training: Training) -> None:
    code = """
with kappawatt.track(name="outer", quiet=True) as outer:
    with kappawatt.track(name="inner") as inner:
        inner.epoch(1)
        print(inner.id == outer.id)
    print(inner.summary)
"""
    done = training.run(code)

    assert (done.stdout, done.stderr) == ("True\nNone\n", "")
    assert training.events() == [("start", None), ("epoch", None), ("stop", "succeeded")]


def test_two_runs_at_once_write_nobodys_part_once(training: Training) -> None:
    code = """
import pathlib, sys
with kappawatt.track(name=NAME, quiet=True) as run:
    pathlib.Path(NAME).touch()
    while not (pathlib.Path("a").exists() and pathlib.Path("b").exists()): busy(0.05)
    busy(1.5)
"""
    both = [training.start(f"NAME = {name!r}\n{code}") for name in ("a", "b")]
    assert [each.communicate(timeout=60) and each.returncode for each in both] == [0, 0]

    nobodys = sorted((s["start"], s["end"]) for s in training.records("sample") if s["run_id"] is None)
    runs = {s["run_id"].split("-")[0] for s in training.records("sample") if s["run_id"]}
    assert runs == {"a", "b"}
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(nobodys))


def test_run_beside_an_agent_is_measured_by_the_agent(training: Training) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-m", "collectors.agent"], cwd=training.folder, env=training.environ, stderr=subprocess.PIPE
    )
    wait_for(lambda: (training.folder / "log" / "sample").exists())

    done = training.run("with kappawatt.track(name='mine') as run: busy(1.5)")
    agent.terminate()
    agent.communicate(timeout=30)

    samples = training.records("sample")
    assert len({sample["collector_id"] for sample in samples}) == 1
    assert {str(sample["run_id"]).split("-")[0] for sample in samples} == {"mine", "None"}
    assert "measured by kappawatt collect host (pid" in done.stderr
    assert training.events() == [("start", None), ("stop", "succeeded")]


def test_agent_that_begins_later_leaves_a_run_that_measures_itself_to_it(training: Training) -> None:
    code = """
import pathlib
with kappawatt.track(name="mine", quiet=True) as run:
    pathlib.Path("began").touch()
    while not pathlib.Path("enough").exists(): busy(0.05)
print(run.summary.energy_uj)
"""
    run = training.start(code)
    wait_for(lambda: (training.folder / "began").exists())
    agent = subprocess.Popen(
        [sys.executable, "-m", "collectors.agent"], cwd=training.folder, env=training.environ, stderr=subprocess.PIPE
    )
    assert agent.stderr is not None
    assert agent.stderr.readline()  # it has begun
    seen = len(training.records("sample"))
    wait_for(lambda: len(training.records("sample")) > seen + 15)

    (training.folder / "enough").touch()
    told, _ = run.communicate(timeout=60)
    at_end = len(training.records("sample"))
    wait_for(lambda: len(training.records("sample")) > at_end + 2)  # the agent has the devices now
    agent.terminate()
    agent.communicate(timeout=30)

    samples = training.records("sample")
    mine = [sample for sample in samples if sample["run_id"]]
    nobodys = sorted((s["start"], s["end"]) for s in samples if s["run_id"] is None)
    assert sum(sum(sample["energy_uj"]) for sample in mine) == int(told)
    assert len({sample["collector_id"] for sample in mine}) == 1
    assert len({sample["collector_id"] for sample in samples}) == 2
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(nobodys))


def test_second_local_rank_measures_nothing(training: Training) -> None:
    code = "with kappawatt.track() as run: run.epoch(0, loss=1.0)\nprint(run)"

    done = training.run(code, LOCAL_RANK="1", RANK="1", WORLD_SIZE="2")

    assert (done.stdout, done.stderr) == ("<Run None not measured>\n", "")
    assert not (training.folder / "log").exists()


def test_ranks_of_a_job_share_one_run(training: Training) -> None:
    for rank in ("0", "8"):
        job = {"LOCAL_RANK": "0", "RANK": rank, "WORLD_SIZE": "16", "TORCHELASTIC_RUN_ID": "job7"}
        training.run("with kappawatt.track(name='ddp', quiet=True): busy(0.3)", **job)

    assert {sample["run_id"] for sample in training.records("sample")} == {"ddp-job7", None}
    assert training.events() == [("start", None), ("stop", "succeeded")]


@pytest.mark.parametrize(
    "environ",
    [
        {"KAPPAWATT_LOG": "nonsense"},
        {"KAPPAWATT_ZONNE": "DEU"},
        {"KAPPAWATT_LOG": "file:/proc/nowhere"},
        {"KAPPAWATT_PERIOD_S": "-1"},
    ],
    ids=["url", "unknown setting", "disk", "value"],
)
def test_trouble_is_said_and_the_training_goes_on(training: Training, environ: dict[str, str]) -> None:
    code = """
with kappawatt.track() as run:
    with run.phase("train"): run.epoch(0, loss=0.5); run.log(x="no number")
print("trained")
"""
    done = training.run(code, **environ)

    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_dead_broker_leaves_the_records_in_the_spool_and_the_training_alone(training: Training) -> None:
    dead = {"KAPPAWATT_LOG": "kafka://127.0.0.1:1", "KAPPAWATT_REGISTRY": "http://127.0.0.1:1"}
    code = """
with kappawatt.track() as run: busy(0.5)
print("trained", run.summary.samples > 0)
"""
    done = training.run(code, **dead)

    spool = training.folder / ".kappawatt" / "spool"
    assert (done.returncode, done.stdout) == (0, "trained True\n")
    assert "Kafka at 127.0.0.1:1" in done.stderr
    assert "the rest waits in .kappawatt/spool" in done.stderr
    assert {event["type"] for event in records(spool, "run_event")} == {"start", "stop"}
    assert list(records(spool, "sample"))


def test_strict_raises_what_is_wrong(training: Training) -> None:
    done = training.run("with kappawatt.track(strict=True): print('inside')", KAPPAWATT_ZONNE="DEU")

    assert done.returncode == 1
    assert "SettingsError: environment variable KAPPAWATT_ZONNE is unknown; did you mean KAPPAWATT_ZONE?" in done.stderr
    assert done.stdout == ""


def test_import_loads_no_client_and_no_numbers() -> None:
    code = "import sys, kappawatt; kappawatt.track; print(*sorted(sys.modules))"
    clients = {"numpy", "polars", "psutil", "pynvml", "fastavro", "confluent_kafka", "bytewax"}
    slow = {"inspect", "asyncio", "logging", "typing", "re", "dataclasses", "socket"}

    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code],  # what site-packages import on their own is not ours
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert (clients | slow).isdisjoint(loaded.stdout.split())
