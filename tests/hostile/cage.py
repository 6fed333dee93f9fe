"""Runs one hostile case in a process of its own, in little memory and little time: a crash fails, and no more."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MORE_BYTES = 384 << 20
"""Address space that a case may take beyond what is taken when it starts; threads of Polars have a part of it."""
LIMIT_S = 60

Facts = dict[str, Any]


def caged(case: str, *arguments: object) -> Facts:
    """What *case* of `CASES` gives for the arguments, and beside it `cpu_s` and `grown_mb` of its process."""
    command = [sys.executable, "-m", "tests.hostile.cage", case, *map(str, arguments)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, f"{case} ended with {done.returncode}:\n{done.stderr[-2000:]}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read_log(folder: str, topic: str) -> Facts:
    """All partitions of a topic of a file log, by the reader that the flow uses."""
    from kappawatt.log.files import FileLog

    log = FileLog(Path(folder))
    records, bad = 0, []
    for name in log.partitions(topic):
        partition, position, chunks = log.partition(topic, name), None, 0
        while True:
            chunk = partition.read(position)
            records += len(chunk)
            bad += [reason for *_, reason in chunk.bad]
            chunks += 1
            assert chunks < 1_000
            if chunk.at_end:
                break
            position = chunk.next
    return {"records": records, "bad": bad}


def decode(folder: str) -> Facts:
    """The datums `0`, `1`, … of a folder as messages of the schema in `schema.json` there, mixed with good ones."""
    import numpy as np

    from kappawatt.wire.columns import RawBatch
    from kappawatt.wire.decode import SampleDecoder

    schema = json.loads((Path(folder) / "schema.json").read_text())
    datums = [path.read_bytes() for path in sorted(Path(folder).glob("[0-9]*"))]
    end = np.cumsum([len(each) for each in datums])
    start = end - np.array([len(each) for each in datums])
    ids = np.full(len(datums), 7, np.int32)
    decoded = SampleDecoder({7: schema}.get).decode(RawBatch(b"".join(datums), start, end, ids))
    return {"records": len(decoded.seq), "bad": sorted({reason for _, reason in decoded.bad})}


def read_control(folder: str, topic: str) -> Facts:
    """The same for a topic that is read record by record."""
    from kappawatt.wire.resolution import TopicReader

    schema = json.loads((Path(folder) / "schema.json").read_text())
    reader = TopicReader(topic, {7: schema}.get, max_bytes=256 << 10)
    found = [reader.read(7, path.read_bytes()) for path in sorted(Path(folder).glob("[0-9]*"))]
    return {
        "records": sum(isinstance(each, dict) for each in found),
        "bad": [each for each in found if isinstance(each, str)],
    }


CASES: dict[str, Callable[..., Facts]] = {"read_log": read_log, "decode": decode, "read_control": read_control}


def main() -> None:
    import numpy as np
    import polars as pl

    import kappawatt.log.files
    import kappawatt.wire.decode
    import kappawatt.wire.resolution  # noqa: F401

    pl.DataFrame({"a": np.arange(3)}).select(pl.col("a").sum())  # threads and pools are there before the limit
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    facts = CASES[sys.argv[1]](*sys.argv[2:])
    cpu_s = time.process_time() - began
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({**facts, "cpu_s": cpu_s, "grown_mb": grown_mb}))


if __name__ == "__main__":
    main()
