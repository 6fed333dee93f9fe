"""`dead ls` and `dead show`: what was not counted, why, and what to do about it."""

import argparse
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kappawatt import programs, text
from kappawatt.commands import base
from kappawatt.errors import KappawattError, SettingsError
from kappawatt.reasons import explain
from kappawatt.settings import Settings, masked

if TYPE_CHECKING:
    from kappawatt.dead_letters import Letter, LetterBox, Listing

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DUMP_BYTES = 256
_ROW = 16


def add(commands: Any) -> None:
    """Add the commands of this module."""
    dead = base.command(
        commands,
        "dead",
        _usage,
        help="what was not counted: dead letters and rejected records",
        about="Lists what the flow could not count, and tells all about one of them. The flow writes each to topic\n"
        "dead_letter of the log; reading changes nothing there and commits no offset.",
        examples=["kappawatt dead ls", "kappawatt dead show sample/h7 h7-000000.avro:8192"],
    )
    parts = dead.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_ls(parts)
    _add_show(parts)


def _add_ls(parts: Any) -> None:
    ls = base.command(
        parts,
        "ls",
        _ls,
        help="list them, newest first, with counts by reason",
        about="Lists what was not counted, newest first, each once (a crash lists the last ones again), and counts\n"
        "all that fit by reason. A file log knows when a file was last written, not when each letter was.",
        examples=[
            "kappawatt dead ls",
            "kappawatt dead ls --verdict rejected --since 24h",
            "kappawatt dead ls --topic run_event --reason undecodable --json",
        ],
    )
    ls.add_argument("--topic", choices=("sample", "intensity", "run_event"), help="only records of this topic")
    ls.add_argument("--reason", metavar="WORD", help="only this reason: expired, undecodable …")
    ls.add_argument(
        "--verdict",
        choices=("dead", "rejected", "gone"),
        help="only unreadable ones, only refused ones, or only those that the log no longer had",
    )
    ls.add_argument("--since", metavar="WHEN", help="listed since then: 90s, 30m, 24h, 7d, or 2026-11-21T08:00Z")
    ls.add_argument("--limit", type=int, default=50, metavar="N", help="most letters to list [50]")
    base.add_json(ls)
    base.add_settings(ls, "log", "registry", "topic_prefix")


def _add_show(parts: Any) -> None:
    show = base.command(
        parts,
        "show",
        _show,
        help="all about one of them",
        about="All about one record that was not counted: why, what to do, its bytes, and the record if they are one.",
        examples=[
            "kappawatt dead show sample/3 88121",
            "kappawatt dead show sample/h7 h7-000000.avro:8192 --json",
            "kappawatt dead show sample/h7 h7-000000.avro:8192 --raw record.bin",
        ],
    )
    show.add_argument("source", metavar="SOURCE", help="topic and partition, as `dead ls` prints it: sample/3")
    show.add_argument("position", metavar="POSITION", help="the place in it: an offset in Kafka, FILE:BYTES in files")
    show.add_argument(
        "--raw", metavar="FILE|hex", help="write the record's bytes to FILE, or print them in hex; no more"
    )
    base.add_json(show)
    base.add_settings(show, "log", "registry", "topic_prefix")


def _usage(args: argparse.Namespace, settings: Settings) -> int:
    raise SettingsError("dead: say what to do: `kappawatt dead ls` or `kappawatt dead show SOURCE POSITION`")


def _box(settings: Settings) -> "LetterBox":
    try:
        from kappawatt.dead_letters import LetterBox  # reads the log in columns, for which it needs NumPy

        return LetterBox(settings)
    except ModuleNotFoundError as error:
        raise programs.missing("dead", error) from error


def _ls(args: argparse.Namespace, settings: Settings) -> int:
    if args.limit < 1:
        raise SettingsError(f"--limit {args.limit} is not a number above 0; the default is 50")
    found = _box(settings).listing(_wanted(args), args.limit)
    if args.json:
        base.print_json(_as_json(found))
        return base.OK
    if not found.letters:
        filtered = any((args.topic, args.reason, args.verdict, args.since))
        base.say(f"no dead letter{' that fits' if filtered else ''} in {masked(settings.log)}")
    else:
        _print_list(found)
    if found.unreadable:
        base.say(f"{found.unreadable} records of topic dead_letter are no dead letters; something else writes there")
    return base.OK


def _wanted(args: argparse.Namespace) -> "Callable[[Letter], bool]":
    since_us = _since(args.since, time.time()) if args.since else None

    def wanted(letter: "Letter") -> bool:
        record = letter.record
        return (
            (args.topic is None or record.source.partition("/")[0] == args.topic)
            and args.reason in (None, record.reason)
            and args.verdict in (None, record.verdict)
            and (since_us is None or letter.listed_us >= since_us)
        )

    return wanted


def _since(when: str, now_s: float) -> int:
    """The instant that *when* means, µs.

    >>> _since("2h", 7_200.0), _since("1970-01-01T00:00:01Z", 0.0)
    (0, 1000000)
    """
    match = re.fullmatch(r"(\d{1,9})([smhd])", when)
    if match:
        return round((now_s - int(match[1]) * _UNITS_S[match[2]]) * 1e6)
    try:
        at = datetime.fromisoformat(when)
    except ValueError:
        raise SettingsError(f"--since {when} is neither like 90s, 30m, 24h, 7d nor like 2026-11-21T08:00Z") from None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)


def _as_json(found: "Listing") -> dict[str, Any]:
    letters = [
        {
            "source": each.record.source,
            "position": each.record.position,
            "verdict": each.record.verdict,
            "reason": each.record.reason,
            "schema_id": each.record.schema_id,
            "bytes": size,
            "listed_us": each.listed_us,
        }
        for each, size in zip(found.letters, found.sizes, strict=True)
    ]
    counts = dict(found.by_reason.most_common())
    facts = {"total": sum(counts.values()), "repeats": found.repeats, "unreadable": found.unreadable}
    return {"letters": letters, "by_reason": counts, **facts}


def _print_list(found: "Listing") -> None:
    rows = [
        (
            text.instant(each.listed_us),
            each.record.source,
            each.record.position,
            each.record.verdict,
            each.record.reason,
            text.UNKNOWN if each.record.schema_id is None else str(each.record.schema_id),
            f"{size:,}",
        )
        for each, size in zip(found.letters, found.sizes, strict=True)
    ]
    base.print_table(("LISTED", "SOURCE", "POSITION", "VERDICT", "REASON", "SCHEMA", "BYTES"), rows, right=(5, 6))
    print()
    counts = [(reason, f"{count:,}", explain(reason).means) for reason, count in found.by_reason.most_common()]
    base.print_table(("REASON", "RECORDS", "MEANS"), counts, right=(1,))
    total = sum(found.by_reason.values())
    more = f", the newest {len(rows)} are listed" if total > len(rows) else ""
    print(f"\n{total:,} in all{more}; `kappawatt dead show SOURCE POSITION` tells more")


def _show(args: argparse.Namespace, settings: Settings) -> int:
    box = _box(settings)
    letter = box.find(args.source, args.position)
    if letter is None:
        raise KappawattError(
            f"dead letter {args.source} {args.position}: there is none in {masked(settings.log)}; "
            "`kappawatt dead ls` lists those that are there"
        )
    payload = letter.record.payload
    if args.raw == "hex":
        print(payload.hex())
        return base.OK
    if args.raw:
        _write(Path(args.raw), payload)
        return base.OK
    decoded = box.decoded(letter.record)
    if args.json:
        base.print_json(_facts(letter, decoded))
    else:
        _print_letter(letter, decoded)
    return base.OK


def _write(path: Path, payload: bytes) -> None:
    try:
        path.write_bytes(payload)
    except OSError as error:
        raise KappawattError(f"--raw {path} cannot be written: {error.strerror}; name another file") from error
    base.say(f"{len(payload):,} bytes written to {path}")


def _facts(letter: "Letter", decoded: dict[str, Any] | str) -> dict[str, Any]:
    record = letter.record
    return {
        "source": record.source,
        "position": record.position,
        "verdict": record.verdict,
        "reason": record.reason,
        **explain(record.reason)._asdict(),
        "schema_id": record.schema_id,
        "bytes": len(record.payload),
        "listed_us": letter.listed_us,
        "payload_hex": record.payload.hex(),
        "record": decoded if isinstance(decoded, dict) else None,
        "record_unreadable": decoded if isinstance(decoded, str) else None,
    }


def _print_letter(letter: "Letter", decoded: dict[str, Any] | str) -> None:
    from kappawatt.dead_letters import CUT_BYTES

    record = letter.record
    reason = explain(record.reason)
    cut = ", the beginning of a longer record" if len(record.payload) == CUT_BYTES else ""
    facts = (
        ("position", record.position),
        ("listed", text.instant(letter.listed_us)),
        ("verdict", f"{record.verdict}: {record.reason}"),
        ("means", reason.means),
        ("to do", reason.remedy),
        ("schema", "ours, or none" if record.schema_id is None else f"id {record.schema_id} of the registry"),
        ("size", f"{len(record.payload):,} bytes{cut}"),
    )
    print(base.harmless(record.source))
    for name, value in facts:
        print(f"  {name:<8}  {base.harmless(value)}")
    print()
    for line in _dump(record.payload[:_DUMP_BYTES]):
        print(f"  {line}")
    if len(record.payload) > _DUMP_BYTES:
        print(f"  … {len(record.payload) - _DUMP_BYTES:,} bytes more; --raw FILE writes all")
    print()
    if isinstance(decoded, dict):
        print("\n".join(map(base.harmless, base.json_text(decoded).splitlines())))
    else:
        print(f"  no record: {base.harmless(decoded)}")
    sys.stdout.flush()


def _dump(data: bytes) -> list[str]:
    r"""Lines of offset, sixteen bytes in hex, and the ASCII among them.

    >>> _dump(b"Obj\x01")
    ['00000000  4f 62 6a 01                                      Obj.']
    """
    lines = []
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{at:08x}  {row.hex(' '):<{3 * _ROW - 1}}  {shown}")
    return lines
