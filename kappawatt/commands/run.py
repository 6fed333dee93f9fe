"""`run -- CMD`: measures a command as `perf stat` would."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kappawatt import identity, runner
from kappawatt.commands import base
from kappawatt.errors import KappawattError, SettingsError
from kappawatt.settings import Settings

if TYPE_CHECKING:
    from kappawatt.recorder import Job, Recorder
    from kappawatt.summary import Summary

STOP_LIMIT_S = 10.0


def add(commands: Any) -> None:
    """Add the commands of this module."""
    run = base.command(
        commands,
        "run",
        _run,
        help="measure a command",
        about="Runs a command and measures it and all that it starts. Its stdin, stdout and exit code are left\n"
        "alone; signals are passed on to it; the summary goes to stderr. Trouble with measuring never\n"
        "stops the command.",
        examples=[
            "kappawatt run -- python train.py --epochs 10",
            "kappawatt run --name digits --project vision --zone DEU -o summary.json --json -- make train",
        ],
    )
    run.add_argument("--name", metavar="TEXT", help="what you call it; default the command's name")
    run.add_argument("--model", metavar="TEXT", help="name of the model")
    run.add_argument("--label", action="append", default=[], metavar="KEY=TEXT", help="anything else; may be repeated")
    run.add_argument(
        "--host-scope", action="store_true", help="all that the host draws is this run's, not only its share"
    )
    run.add_argument("-o", "--output", metavar="FILE", help="write the summary to FILE instead of stderr")
    base.add_json(run)
    base.add_settings(
        run,
        "project",
        "team",
        "user",
        "environment",
        "zone",
        "pue",
        "log",
        "registry",
        "topic_prefix",
        "spool",
        "period_s",
        "cpu_tdp_w",
        "powercap",
    )
    run.add_argument("command", nargs="*", metavar="-- CMD", help="the command and its arguments, after two dashes")


def _run(args: argparse.Namespace, settings: Settings) -> int:
    if not args.command:
        raise SettingsError("run: there is no command; give it after two dashes: kappawatt run -- python train.py")
    name = args.name or Path(args.command[0]).name
    from kappawatt.recorder import Job, new_id  # the sensors and the log, which other commands need not wait for
    from kappawatt.sensors.sampler import boot_host_name

    place = identity.place(os.environ)
    job = Job(
        run_id=os.environ.get(identity.RUN_ID) or new_id(name, place.job),
        name=name,
        settings=settings,
        rank=place.rank,
        whole_host=args.host_scope,
        measure=os.environ.get(identity.JOIN) != boot_host_name(settings.host),
        about={"model": args.model},
        labels=_labels(args.label),
    )
    try:
        runner.find(args.command)
        with ExitStack() as stack:
            out = stack.enter_context(_output(args.output)) if args.output else sys.stderr
            ended, summary = _measured(args.command, job)
            if summary is not None:
                _write(summary, out, as_json=args.json)
    except runner.CannotStartError as error:
        base.say(str(error))
        return error.code
    return ended.code


def _measured(command: list[str], job: "Job") -> "tuple[runner.Ended, Summary | None]":
    runner.hold_signals()
    recorder = _recorder(job)
    environ = os.environ if recorder is None else _environ_for_child(recorder)
    try:
        pid = runner.spawn(command, environ)
    except runner.CannotStartError:
        if recorder is not None:
            recorder.stop("failed", limit_s=STOP_LIMIT_S)
        raise
    summaries: list[Summary | None] = []
    if recorder is None:
        return runner.wait(pid, lambda _: None), None
    recorder.follow(pid)
    ended = runner.wait(pid, lambda how: summaries.append(_stopped(recorder, how)))
    return ended, summaries[0]


def _recorder(job: "Job") -> "Recorder | None":
    """A started recorder; None, said on stderr, if nothing can be measured: the command runs all the same."""
    from kappawatt.recorder import Recorder

    recorder = Recorder(job)
    try:
        recorder.start()
    except KappawattError as error:
        base.say(f"the command runs unmeasured: {error}")
        return None
    return recorder


def _environ_for_child(recorder: "Recorder") -> Mapping[str, str]:
    # A track() inside the command joins this run: its phases and epochs are written, nothing is measured twice.
    return {**os.environ, identity.RUN_ID: recorder.run_id, identity.JOIN: recorder.host_name}


def _stopped(recorder: "Recorder", ended: runner.Ended) -> "Summary | None":
    try:
        return recorder.stop(ended.status, limit_s=STOP_LIMIT_S)
    except KappawattError as error:
        base.say(f"the run was not measured to its end: {error}")
        return None


def _output(path: str) -> TextIO:
    try:
        return open(path, "w", encoding="utf-8")
    except OSError as error:
        raise KappawattError(f"-o {path}: {error.strerror}; name a file that can be written") from error


def _write(summary: "Summary", out: TextIO, *, as_json: bool) -> None:
    text = json.dumps(summary.to_json(), ensure_ascii=False, allow_nan=False) if as_json else str(summary)
    print(text, file=out, flush=True)


def _labels(given: list[str]) -> dict[str, str]:
    labels = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise SettingsError(f"--label {text!r} is not KEY=TEXT")
        labels[key] = value
    return labels
