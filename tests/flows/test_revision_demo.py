"""An hour goes from 124 to 104 g/kWh while the real flow runs on files and SQLite: every table says so, and why."""

import subprocess
import sys
from pathlib import Path

from tests.flows.flows import ROOT

TABLES = ("run_window_5s", "run_window_5m", "run_window_1h", "run_total", "zone_window_1h", "restatement")


def test_revision_is_in_every_table_of_the_hour(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.make_revision", "--folder", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stderr
    shown = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [line[:3] for line in shown] == [[table, "37.200000", "31.200000"] for table in TABLES]
    assert shown[-1][3:] == ["124", "->", "104", "g/kWh,", "revision,", "applied:", "True"]
