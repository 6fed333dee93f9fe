"""A real training under `kappawatt run` is what it is without, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kappawatt.log.files import FileLog
from kappawatt.log.locks import FileLock
from kappawatt.log_records import records

ROOT = Path(__file__).parents[2]
TRAINING = """
import pathlib, sys, time
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
digits, model = load_digits(), MLPClassifier((64,), random_state=1)
for epoch in range(4):
    model.partial_fit(digits.data / 16, digits.target, classes=range(10))
    print("epoch", epoch, "loss", model.loss_)
sys.stdout.flush()
sys.stdout.buffer.write(bytes(range(256)))
sys.stdout.flush()
print("from the training", file=sys.stderr)
pathlib.Path("trained").touch()
while sys.argv[1] == "for ever": model.partial_fit(digits.data, digits.target)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("KAPPAWATT_")}
    (tmp_path / "train.py").write_text(TRAINING, encoding="utf-8")
    return {**kept, "PYTHONPATH": str(ROOT), "KAPPAWATT_LOG": f"file:{tmp_path / 'log'}", "KAPPAWATT_PERIOD_S": "0.2"}


def start(folder: Path, environ: dict[str, str], *before: str, how: str) -> "subprocess.Popen[bytes]":
    command = [*before, sys.executable, "train.py", how]
    nothing, pipe = subprocess.DEVNULL, subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environ, stdin=nothing, stdout=pipe, stderr=pipe)


MEASURED = (sys.executable, "-m", "kappawatt", "run", "--name", "digits", "--zone", "DEU", "--")


@pytest.mark.parametrize("code", [0, 3])
def test_exit_code_and_output_are_those_of_the_training_alone(
    tmp_path: Path, environ: dict[str, str], code: int
) -> None:
    alone, measured = (start(tmp_path, environ, *before, how=str(code)) for before in ((), MEASURED))

    out, _ = alone.communicate(timeout=60)
    out_measured, said = measured.communicate(timeout=60)

    assert (measured.returncode, out_measured) == (alone.returncode, out)
    assert alone.returncode == code
    told = said.decode().splitlines()
    assert told[0] == "from the training"
    assert told[1].endswith("succeeded" if code == 0 else "failed")
    assert energy_uj(tmp_path) > 0
    assert_let_go(tmp_path)


def test_sigterm_ends_the_training_and_the_summary_is_still_told(tmp_path: Path, environ: dict[str, str]) -> None:
    measured = start(tmp_path, environ, *MEASURED[:-1], "--json", "--", how="for ever")
    until = time.monotonic() + 60
    while not (tmp_path / "trained").exists():
        assert time.monotonic() < until, "it does not train"
        os.sched_yield()

    measured.send_signal(signal.SIGTERM)
    out, said = measured.communicate(timeout=60)

    assert measured.returncode == 128 + signal.SIGTERM
    assert out.endswith(bytes(range(256)))
    summary = json.loads(said.decode().splitlines()[1])
    assert (summary["status"], summary["energy_uj"]) == ("failed", energy_uj(tmp_path))
    assert summary["energy_uj"] > 0
    assert_let_go(tmp_path)


def energy_uj(folder: Path) -> int:
    """What the run's samples in the log add up to."""
    return sum(sum(sample["energy_uj"]) for sample in records(folder / "log", "sample") if sample["run_id"])


def assert_let_go(folder: Path) -> None:
    """No lock is held, no run is registered, and every file ends with a whole block."""
    assert [path for path in folder.rglob("*.lock") if FileLock(path).taken()] == []
    assert list(folder.rglob("runs/*.json")) == []
    log = FileLog(folder / "log")
    for topic in ("sample", "run_event", "intensity"):
        (name,) = log.partitions(topic)
        chunk = log.partition(topic, name).read(None)
        assert chunk.next == (chunk.file, (folder / "log" / topic / chunk.file).stat().st_size)
