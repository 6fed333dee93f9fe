"""Records a state as this version leaves it: `python -m tests.golden.make`, each release, and when STATE_VERSION grows.

The archive holds a log, the store and the recovery folder of a flow that has read the first half of it, and the whole
log, which the next version has to go on with. The names in it are relative: a state belongs to the URL of its log.
"""

import lzma
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

from kappawatt.emissions.names import STATE_VERSION
from tests.oracle.generate import Knobs, generate
from tests.oracle.model import DAY, Log
from tests.oracle.records import MIDNIGHT
from tests.oracle.write_log import write_files

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WRITTEN_S = (MIDNIGHT + DAY) // 1_000_000
COMMAND = ("flow", "--until-end", "--epoch-s", "0.3", "--log", "file:log", "--store", "sqlite:ledger.sqlite")


def log() -> Log:
    """A little of everything, without records that are rejected or cannot be read."""
    return generate(Knobs(seed=51, hosts=3, runs=2, ticks=10, gpus=2, poison=False))


def half(whole: Log) -> Log:
    """The beginning of each partition."""
    return replace(
        whole,
        samples={name: records[: len(records) // 2] for name, records in whole.samples.items()},
        intensity=whole.intensity[: len(whole.intensity) // 2],
        run_events=whole.run_events[: len(whole.run_events) // 2],
        append_us=None,
    )


def flow(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the flow in *folder* to the end of its log."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kappawatt", *COMMAND, "--state", "state"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=240)


def record(folder: Path) -> None:
    """Make the folder that the archive holds."""
    whole = log()
    write_files(half(whole), folder / "log")
    done = flow(folder)
    assert done.returncode == 0, done.stderr
    write_files(whole, folder / "longer")
    for path in folder.rglob("*.avro"):
        os.utime(path, (WRITTEN_S, WRITTEN_S))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = WRITTEN_S
    return None if info.name.endswith(".lock") else info


def main() -> None:
    """Write `state-vN.tar.xz`."""
    target = HERE / f"state-v{STATE_VERSION}.tar.xz"
    with tempfile.TemporaryDirectory() as folder:
        record(Path(folder))
        with lzma.open(target, "wb", preset=9) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(folder, arcname=".", filter=_plain)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
