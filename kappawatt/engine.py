"""Runs a job on the engine, from a checkout and from a wheel alike: the public door to the program `dataflows`."""

from collections.abc import Callable
from pathlib import Path

from kappawatt import programs
from kappawatt.stream.job import Job, Runtime
from kappawatt.stream.target import Target


def run(
    make_job: Callable[[Runtime], Job],
    target: Target,
    *,
    state: Path,
    log: str,
    state_version: int,
    epoch_s: float = 0.5,
    rebuild: bool = False,
) -> None:
    """Run a job in this process until its parts end, or SIGTERM or SIGINT drain it.

    Guarantee: what parts and steps had at the last commit is what they have after a start, whatever ended the process
    before; no outlet is lost, and those of the last epoch may be written twice, with a higher version.

    Args:
        make_job: Gives the job for the runtime of this process.
        target: Where rows go; dead records have to be rows, too.
        state: Folder of the kept state; made anew if it belongs to another store, log or version.
        log: What the job reads, in words: state of another log is not used.
        state_version: Of all snapshots together.
        epoch_s: Time between two reads of the log.
        rebuild: Forget the state and read the whole log again; rows are replaced, those of keys that do not come
            again stay.

    Raises:
        KappawattError: The extra `flow` is not installed, or another process runs on this state.
    """
    programs.load("dataflows.jobs").run(
        make_job, target, state=state, log=log, state_version=state_version, epoch_s=epoch_s, rebuild=rebuild
    )
