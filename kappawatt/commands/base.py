"""What every command shares: flags made from settings, output, tables, exit codes."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kappawatt import logs
from kappawatt import settings as settings_
from kappawatt.settings import Settings

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done · it failed or the answer is no · wrong flags or settings · Ctrl-C."""

Handler = Callable[[argparse.Namespace, Settings], int]


def command(
    commands: Any, name: str, handler: Handler, *, help: str, about: str = "", examples: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A sub-parser with one line of *help*, a description and examples."""
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=about or help,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(handler=handler)
    return parser


def add_settings(parser: argparse.ArgumentParser, *names: str, strip: str = "") -> None:
    """A flag for each named setting, without the prefix *strip*; not given is None: environment and file count."""
    known = {one.name: one for one in settings_.about()}
    group = parser.add_argument_group("settings (also KAPPAWATT_… and kappawatt.toml; see `kappawatt config`)")
    for name in names:
        one = known[name]
        default = "" if one.default in (None, "") else f" [{one.default}]"
        group.add_argument(
            f"--{name.removeprefix(strip).replace('_', '-')}",
            dest=f"setting_{name}",
            metavar=one.unit.upper().split("/")[0].replace(" ", "_"),
            help=(one.help + default).replace("%", "%%"),
        )


def add_json(parser: argparse.ArgumentParser) -> None:
    """The flag `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def given_flags(args: argparse.Namespace) -> dict[str, object]:
    """The settings among the flags, by setting name."""
    return {name.removeprefix("setting_"): value for name, value in vars(args).items() if name.startswith("setting_")}


def say(text: str, level: int = logging.INFO) -> None:
    """A message for the person, on stderr; *level* is for programs that speak JSON."""
    if logs.in_json():
        logging.getLogger("kappawatt").log(level, "%s", text)
        return
    _end_progress()
    print(f"kappawatt: {text}", file=sys.stderr, flush=True)


_progress_shown = 0.0


def progress(text: str) -> None:
    """A line on stderr that the next one replaces; away from a terminal, a line every five seconds."""
    global _progress_shown
    if sys.stderr.isatty():
        _progress_shown = time.monotonic()
        print(f"\r\033[Kkappawatt: {text}", end="", file=sys.stderr, flush=True)
    elif time.monotonic() - _progress_shown >= 5.0:
        _progress_shown = time.monotonic()
        print(f"kappawatt: {text}", file=sys.stderr, flush=True)


def _end_progress() -> None:
    if _progress_shown and sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def print_json(value: object) -> None:
    """*value* as JSON on stdout; NaN and infinity do not exist in JSON and become null."""
    print(json_text(value))


def json_text(value: object) -> str:
    """*value* as `print_json` prints it."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """A plain table on stdout: columns two spaces apart, those in *right* flush right.

    Control and direction signs in a cell are shown as `?`: a run's name must not steer a terminal.
    """
    cells = [[harmless(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        padded = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join(padded).rstrip())


def harmless(text: str) -> str:
    """*text* with everything unprintable replaced by `?`."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
