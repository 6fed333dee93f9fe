"""The product's emissions flow with a Kafka topic in place of its store."""

import logging
import os
import sys
import time
from pathlib import Path

import kafka_rows

from dataflows.main import run
from kappawatt.settings import FlowSettings

SAMPLE = "sample"


def settings(number: int) -> FlowSettings:
    """As `kappawatt flow` would have them; a pass has a state of its own."""
    said = os.environ
    live = said["BENCH_MODE"] == "live"
    return FlowSettings(
        log=f"kafka://{said['BENCH_BOOTSTRAP']}",
        registry=said["BENCH_REGISTRY"],
        store=f"{said['BENCH_BOOTSTRAP']}/{said['BENCH_OUTPUT']}-{number}",
        state=str(Path(said["BENCH_STATE"], f"pass-{number}")),
        topic_prefix=said["BENCH_SAMPLES"].removesuffix(SAMPLE),
        processes=int(said["BENCH_PARALLELISM"]),
        until_end=not live,
        lateness_s=float(said["BENCH_LATENESS_S"]),
    )


def main() -> int:
    """All passes, or the live run."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    if os.environ["BENCH_MODE"] == "live":
        return run(settings(1), kafka_rows.open_live)
    for number in range(1, int(os.environ["BENCH_PASSES"]) + 1):
        began = time.monotonic()
        print(f"BENCH start {number}", flush=True)
        code = run(settings(number), kafka_rows.open_store)
        if code:
            return code
        print(f"BENCH end {number}", flush=True)
        logging.info("pass %d: %.1f s", number, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    sys.exit(main())
