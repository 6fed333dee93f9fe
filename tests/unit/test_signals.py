"""A member that is left alone becomes itself anew, unless it was told to end."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

BEGINNING = """
import os, pathlib, signal, sys
from dataflows import signals

lives = pathlib.Path(sys.argv[1])
held = [each for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}")]
with lives.open("a") as file:
    print(os.getpid(), len(held), *sys.argv[2:], file=file)
if len(lives.read_text().splitlines()) > 1:
    signals.stop_on_signals()  # what was kept for this life arrives here
    sys.exit(0 if signals.STOP.is_set() else 5)
for end in os.pipe():
    os.set_inheritable(end, True)
signals.stop_on_signals()
"""


def lives(tmp_path: Path, ending: str) -> tuple[int, list[list[str]]]:
    """Exit code, and per life the process id, open files and flags."""
    script, written = tmp_path / "member.py", tmp_path / "lives"
    script.write_text(BEGINNING + ending)
    command = [sys.executable, str(script), str(written), "--members", "2", "--rebuild"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    return done.returncode, [line.split() for line in written.read_text().splitlines()]


def test_same_process_begins_again_without_its_files_and_without_rebuilding_again(tmp_path: Path) -> None:
    code, (first, second) = lives(tmp_path, "signals.begin_anew()")

    assert code == 5
    assert first[0] == second[0]
    assert first[1] == second[1]
    assert (first[2:], second[2:]) == (["--members", "2", "--rebuild"], ["--members", "2"])


def test_signal_on_the_way_to_the_new_beginning_is_kept_for_it(tmp_path: Path) -> None:
    late = """
def tell(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    return again(*_)
again, os.execv = os.execv, tell
signals.begin_anew()
"""
    code, all_lives = lives(tmp_path, late)

    assert (code, len(all_lives)) == (0, 2)


def test_who_was_told_to_end_ends_even_before_python_has_looked_at_the_signal(tmp_path: Path) -> None:
    # the main thread is in C, as it is in the engine: no handler of Python's runs meanwhile
    told = """
import ctypes, threading
def lose():
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    signals.begin_anew()
threading.Thread(target=lose).start()
ctypes.CDLL(None).poll(None, 0, 60_000)
"""
    code, all_lives = lives(tmp_path, told)

    assert (code, len(all_lives)) == (72, 1)


def test_drain_counts_as_told_by_another_only_without_a_signal(tmp_path: Path) -> None:
    asked = """
before = signals.drained_by_another()
signals.STOP.set()
by_another = signals.drained_by_another()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(0 if (before, by_another, signals.drained_by_another()) == (False, True, False) else 1)
"""
    code, _ = lives(tmp_path, asked)

    assert code == 0
