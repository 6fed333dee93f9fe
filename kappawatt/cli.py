"""The program `kappawatt`: one parser, one place where errors become messages and exit codes."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence

import kappawatt
from kappawatt import settings as settings_
from kappawatt.commands import answers, base, dead, demo, programs, rights, run, setup
from kappawatt.errors import KappawattError, SettingsError

GROUPS = (demo, run, programs, answers, dead, setup, rights)

ABOUT = """\
The live, exact ledger of what AI training costs the planet.

Answers go to stdout (as JSON with --json), messages to stderr."""

EXIT_CODES = """\
exit codes:
  0    done
  1    it failed, or the answer is no; the message says what was asked, what was found and what to do
  2    a flag or a setting is wrong
  130  interrupted (Ctrl-C)
  `run` gives the exit code of its command; 126 and 127 as a shell does, 128 + n after signal n.

KAPPAWATT_DEBUG=1 shows tracebacks."""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    main_parser = argparse.ArgumentParser(
        prog="kappawatt",
        description=ABOUT,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    main_parser.add_argument("--version", action="version", version=f"kappawatt {kappawatt.__version__}")
    commands = main_parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.add(commands)
    return main_parser


def commands() -> list[str]:
    """The names of all commands."""
    (action,) = (each for each in parser()._actions if isinstance(each, argparse._SubParsersAction))
    return list(action.choices)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given, others = _split(list(sys.argv[1:] if argv is None else argv))
    args = parser().parse_args(given)
    vars(args).update(others)
    try:
        return int(args.handler(args, settings_.load(base.given_flags(args))))
    except KeyboardInterrupt:
        return base.INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout (head, less) has gone: end as other tools do, and keep the interpreter's own
        # flush at exit from complaining.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KappawattError as error:
        if os.environ.get("KAPPAWATT_DEBUG"):
            raise
        base.say(str(error), logging.ERROR)
        return base.USAGE if isinstance(error, SettingsError) else base.FAILED


def _split(argv: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Our own arguments, and those that others parse: behind the first `--` of `run`, behind a collector's name."""
    if argv[:1] == ["run"] and "--" in argv:
        at = argv.index("--")
        return argv[:at], {"command": argv[at + 1 :]}
    if argv[:1] == ["collect"] and len(argv) > 1 and not argv[1].startswith("-"):
        return argv[:2], {"rest": argv[2:]}
    return argv, {}


if __name__ == "__main__":
    sys.exit(main())
