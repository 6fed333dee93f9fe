"""Runs the job: python -m examples.downsampling --log DIR --store FILE [--until-end]"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from kappawatt import engine

from .intake import Minutes
from .job import STATE_VERSION, downsampling_job
from .tables import Tables


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the end, or until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Power-meter readings to a row per meter and minute.")
    parser.add_argument("--log", type=Path, required=True, help="folder of Avro files, each a source partition")
    parser.add_argument("--store", type=Path, required=True, help="SQLite file of the rows")
    parser.add_argument("--until-end", action="store_true", help="read what is there, give final rows, end")
    parser.add_argument("--epoch-s", type=float, default=0.5, help="time between two reads of the log")
    parser.add_argument("--width-s", type=float, default=60.0, help="length of a window")
    parser.add_argument("--lateness-s", type=float, default=15.0, help="how long after its end it takes readings")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s downsampling: %(message)s")
    minutes = Minutes(round(options.width_s * 1_000), round(options.lateness_s * 1_000))
    tables = Tables(options.store)
    engine.run(
        lambda runtime: downsampling_job(options.log, runtime, until_end=options.until_end, minutes=minutes),
        tables,
        state=options.store.with_suffix(".state"),
        log=f"{options.log} {minutes}",
        state_version=STATE_VERSION,
        epoch_s=options.epoch_s,
    )
    tables.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
