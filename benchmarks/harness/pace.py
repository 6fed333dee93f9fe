"""A producer at a fixed rate, as a process of its own: open loop, it waits for nobody.

    python -m benchmarks.harness.pace BOOTSTRAP REGISTRY PREFIX SHAPE RATE ANSWER

Makes the topics and all messages first, writes what a right answer is to the file ANSWER, says `ready`; on a line on
stdin it sends message i at t0 + i / RATE and prints t0 (s since 1970) with how far behind it ever was.
"""

import gc
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arrivals import Log, framed
from .cluster import Cluster
from .data import Writer
from .oracle import SLOT_US
from .shape import Shape

STEP_S = 0.002
LEAD_S = 0.5


def completes(counts: Sequence[tuple[str, int, int] | None]) -> dict[str, int]:
    """Key of every 5-s row → number of the last message that adds to it.

    >>> completes([("r", 0, 1), None, ("r", 4_999_999, 5_000_001)])
    {'r|5|0': 2, 'r|5|5000000': 2}
    """
    last: dict[str, int] = {}
    for number, tick in enumerate(counts):
        if tick is not None:
            run, start, end = tick
            for slot in range(start - start % SLOT_US, end, SLOT_US):
                last[f"{run}|5|{slot}"] = number
    return last


def main(arguments: Sequence[str]) -> int:
    bootstrap, registry, prefix, said, rate, answer = arguments
    shape = Shape(**json.loads(said))
    cluster = Cluster(bootstrap, registry)
    writer = Writer(cluster, prefix, cluster.make_inputs(prefix), linger_ms=2)
    writer.others(shape)
    log = Log(shape)
    arrivals = list(log)
    messages = [(arrival.host, framed(arrival, writer.frame)) for arrival in arrivals]
    expected: dict[str, Any] = {"messages": len(messages), "expected": log.rows(), "counts": log.oracle.counts}
    Path(answer).write_text(json.dumps(expected | {"completes": completes([each.counts for each in arrivals])}))
    del log, arrivals, expected
    gc.collect()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    t0, behind = send(writer, messages, float(rate))
    print(json.dumps({"t0": t0, "behind_s": behind}), flush=True)
    return 0


def send(writer: Writer, messages: Sequence[tuple[int, bytes]], rate: float) -> tuple[float, float]:
    """Send all at the rate; when the first was due, and the greatest delay of any."""
    t0, sent, behind = time.time() + LEAD_S, 0, 0.0
    while sent < len(messages):
        now = time.time()
        due = min(len(messages), int((now - t0) * rate) + 1 if now >= t0 else 0)
        if due > sent:
            behind = max(behind, now - t0 - sent / rate)
        for host, message in messages[sent:due]:
            writer.sample(host, message)
        sent = max(sent, due)
        writer.poll()
        time.sleep(STEP_S)
    writer.close()
    return t0, behind


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
