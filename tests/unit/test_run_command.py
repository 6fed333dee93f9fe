"""`kappawatt run -- CMD` on real child processes: exit code, streams, signals, summary, records."""

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
BUSY = "import time\nend = time.monotonic() + {s}\nwhile time.monotonic() < end: sum(range(1000))\n"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KAPPAWATT_")}
    return {**kept, "PYTHONPATH": str(ROOT), "KAPPAWATT_LOG": f"file:{tmp_path / 'log'}", "KAPPAWATT_PERIOD_S": "0.2"}


@pytest.fixture
def run(tmp_path: Path, environ: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    def call(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "kappawatt.cli", "run", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, cwd=tmp_path, env=environ, timeout=60)

    return call


def list_of(folder: Path, topic: str) -> list[dict[str, Any]]:
    return list(records(folder / "log", topic))


def wait_for(condition: Callable[[], bool], limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        os.sched_yield()


def test_exit_code_and_stdout_are_those_of_the_command(run: Any) -> None:
    code = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() * 2); sys.exit(7)"

    done = run("--", sys.executable, "-c", code, stdin=b"\x00\xff bytes\n")

    assert (done.returncode, done.stdout) == (7, b"\x00\xff bytes\n\x00\xff bytes\n")


def test_summary_on_stderr_is_the_sum_of_the_samples(run: Any, tmp_path: Path) -> None:
    done = run("--json", "--zone", "DEU", "--", sys.executable, "-c", BUSY.format(s=1.2))

    summary = json.loads(done.stderr)
    samples = [s for s in list_of(tmp_path, "sample") if s["run_id"] == summary["run_id"]]
    assert summary["energy_uj"] == sum(sum(s["energy_uj"]) for s in samples) > 0
    assert (summary["status"], summary["samples"], summary["zone"]) == ("succeeded", len(samples), "DEU")
    assert summary["emissions_g"] == pytest.approx(summary["energy_kwh"] * summary["intensity_g_per_kwh"])


def test_start_and_stop_are_in_the_log(run: Any, tmp_path: Path) -> None:
    run("--name", "digits", "--project", "vision", "--pue", "1.2", "--label", "gpu=no", "--", "false")

    start, stop = list_of(tmp_path, "run_event")
    assert (start["type"], start["project"], start["pue"]) == ("start", "vision", 1.2)
    assert start["labels"] == {"name": "digits", "gpu": "no"}
    assert [device["device"] for device in start["hardware"]]
    assert (stop["type"], stop["status"], stop["run_id"]) == ("stop", "failed", start["run_id"])
    assert stop["at"] > start["at"]


def test_price_of_the_zone_is_in_the_log(run: Any, tmp_path: Path) -> None:
    run("--zone", "DE-LU", "--", "true")

    assert [price["zone"] for price in list_of(tmp_path, "intensity")] == ["DEU", "WORLD"]


def test_summary_goes_to_the_file_of_o(run: Any, tmp_path: Path) -> None:
    done = run("-o", "told.txt", "--", sys.executable, "-c", "print('x')")

    assert done.stderr == b""
    assert (tmp_path / "told.txt").read_text().startswith("kappawatt: run python")


def test_output_file_that_cannot_be_written_is_said_before_anything_runs(run: Any, tmp_path: Path) -> None:
    done = run("-o", "no/such/folder", "--", "touch", "ran")

    assert done.returncode == 1
    assert b"kappawatt: -o no/such/folder: No such file or directory" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_missing_command_gives_127_and_no_run(run: Any, tmp_path: Path) -> None:
    done = run("--", "no-such-command-here")

    assert (done.returncode, done.stderr) == (127, b"kappawatt: no-such-command-here: command not found\n")
    assert not (tmp_path / "log").exists()


def test_command_that_may_not_be_executed_gives_126(run: Any, tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("x")

    assert run("--", "./plain.txt").returncode == 126


def test_no_command_is_a_usage_error(run: Any) -> None:
    done = run("--name", "x")

    assert done.returncode == 2
    assert b"kappawatt run -- python train.py" in done.stderr


def test_dashes_of_the_command_are_its_own(run: Any) -> None:
    code = "import sys; print(sys.argv[1:])"

    done = run("--", sys.executable, "-c", code, "--name", "a", "--", "--json")

    assert done.stdout == b"['--name', 'a', '--', '--json']\n"


def test_command_killed_by_a_signal_gives_128_and_its_number(run: Any) -> None:
    done = run("--", "sh", "-c", "kill -9 $$")

    assert done.returncode == 128 + signal.SIGKILL
    assert b"failed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_reaches_the_command_and_the_run_is_still_summarised(
    number: int, tmp_path: Path, environ: dict[str, str]
) -> None:
    code = (
        "import pathlib, signal, sys\n"
        f"signal.signal({int(number)}, lambda *_: (pathlib.Path('got').touch(), sys.exit(5)))\n"
        "pathlib.Path('ready').touch()\n"
        "while True: sum(range(1000))\n"
    )
    command = [sys.executable, "-m", "kappawatt.cli", "run", "--json", "--", sys.executable, "-c", code]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_for(lambda: (tmp_path / "ready").exists())

    running.send_signal(number)
    _, told = running.communicate(timeout=30)

    assert running.returncode == 5
    assert (tmp_path / "got").exists()
    assert json.loads(told)["status"] == "failed"


def test_signal_reaches_the_whole_group_of_the_command(tmp_path: Path, environ: dict[str, str]) -> None:
    script = "sleep 1000 & echo $! > grandchild; wait; wait"
    command = [sys.executable, "-m", "kappawatt.cli", "run", "-o", "told", "--", "sh", "-c", script]
    running = subprocess.Popen(command, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "grandchild").exists() and bool((tmp_path / "grandchild").read_text().strip()))
    grandchild = Path("/proc") / (tmp_path / "grandchild").read_text().strip()

    running.send_signal(signal.SIGTERM)

    assert running.wait(timeout=30) == 128 + signal.SIGTERM
    wait_for(lambda: not grandchild.exists() or "Z" in (grandchild / "stat").read_text().split()[2])


def test_ctrl_c_on_a_terminal_ends_the_command_and_the_run_is_still_summarised(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    ours, theirs = os.openpty()
    code = "import pathlib; pathlib.Path('ready').touch()\nwhile True: sum(range(1000))"
    measured = [sys.executable, "-m", "kappawatt.cli", "run", "-o", "told", "--", sys.executable, "-c", code]
    running = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *measured],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=environ,
        start_new_session=True,
    )
    wait_for(lambda: (tmp_path / "ready").exists())

    os.write(ours, b"\x03")

    assert running.wait(timeout=30) == 128 + signal.SIGINT
    assert "failed\n  energy" in (tmp_path / "told").read_text()
    os.close(theirs)
    os.close(ours)


def test_track_inside_the_command_joins_its_run(run: Any, tmp_path: Path) -> None:
    code = (
        "import kappawatt\n"
        "with kappawatt.track(name='inner') as r:\n"
        "    with r.phase('fit'): r.epoch(0, loss=0.5)\n"
        "assert r.summary is None\n"
    )

    done = run("--json", "--", sys.executable, "-c", code)

    run_id = json.loads(done.stderr)["run_id"]
    events = sorted(list_of(tmp_path, "run_event"), key=lambda event: event["at"])
    assert {event["run_id"] for event in events} == {run_id}
    assert [event["type"] for event in events] == ["start", "phase_start", "epoch", "phase_end", "stop"]
    assert len({sample["collector_id"] for sample in list_of(tmp_path, "sample")}) == 1


def test_log_that_cannot_be_written_does_not_stop_the_command(run: Any, environ: dict[str, str]) -> None:
    environ["KAPPAWATT_LOG"] = "file:/proc/nowhere"

    done = run("--", sys.executable, "-c", "print('trained')")

    assert (done.returncode, done.stdout) == (0, b"trained\n")
    assert b"/proc/nowhere" in done.stderr
