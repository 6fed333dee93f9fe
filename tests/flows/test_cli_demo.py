"""`kappawatt demo` as a person runs it: all processes, real training, real flow, real page."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kappawatt.log.locks import FileLock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KAPPAWATT_")}

    def start(*arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "kappawatt.cli", "demo", "--dir", str(tmp_path / "demo"), "--port", "0", *arguments],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def processes_in(folder: Path) -> list[str]:
    """Command lines of all processes whose log is in *folder*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it ended meanwhile
    return found


def test_demo_prints_the_runs_cost_and_leaves_nothing_behind(
    demo: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    out, told = demo("--seconds", "5", "--no-open", "--zone", "DEU", "--json").communicate(timeout=200)

    answer = json.loads(out)
    assert answer["energy_uj"] == answer["energy_by_training_uj"] > 0
    assert answer["agrees"]
    assert answer["emissions_g"] == pytest.approx(answer["energy_kwh"] * answer["intensity_g_per_kwh"])
    assert answer["coverage"] > 0.9
    assert answer["methods"]["cpu:0"]
    assert "kappawatt: the page: http://127.0.0.1:" in told
    assert processes_in(tmp_path / "demo") == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_demo_that_is_interrupted_leaves_no_process_and_no_lock(
    demo: Callable[..., "subprocess.Popen[str]"], tmp_path: Path, number: int, code: int
) -> None:
    running = demo("--seconds", "600", "--no-open")
    samples = tmp_path / "demo" / "log" / "sample"
    limit = time.monotonic() + 100
    while not any(samples.glob("*.avro")) or not any((tmp_path / "demo").glob("training.log")):
        assert time.monotonic() < limit
        assert running.poll() is None
        os.sched_yield()

    running.send_signal(number)
    running.communicate(timeout=60)

    assert running.returncode == code
    assert processes_in(tmp_path / "demo") == []
    assert [path for path in (tmp_path / "demo").rglob("*.lock") if FileLock(path).taken()] == []
