"""What the downsampling job must give, computed one reading at a time, with fractions; and a log to give it."""

from collections import defaultdict
from fractions import Fraction
from math import isfinite

WIDTH, LATENESS, HORIZON, FUTURE = 60_000, 15_000, 3_600_000, 300_000
MOST_MW = 3_037_000_499


def answer(log, *, now_ms):
    """Rows of each table for a log of {file name: [(identifier, timestamp in ms, value in W), or bytes]}.

    `letter` rows come without their position.
    """
    windows, late, letters, counts = defaultdict(list), [], [], []
    for name, records in sorted(log.items()):
        seen, newest, tally = set(), -(1 << 62), defaultdict(int)
        for record in records:
            verdict, reason = judge(record, seen, newest, now_ms)
            tally[verdict] += 1
            if reason:
                letters.append((name, verdict, reason))
            if verdict != "counted":
                continue
            meter, at, value = record
            seen.add((meter, at))
            newest = max(newest, at)
            start = at // WIDTH * WIDTH
            if start + WIDTH + LATENESS <= newest:
                late.append((meter, at, round(value * 1_000)))
            else:
                windows[meter, start].append(round(value * 1_000))
        if records:
            counts.append((name, len(records), *(tally[each] for each in ("counted", "duplicate", "rejected", "dead"))))
    return {
        "window": sorted(row(*place, values) for place, values in windows.items()),
        "late": sorted(late),
        "letter": sorted(letters),
        "accounting": counts,
    }


def judge(record, seen, newest, now_ms):
    if isinstance(record, bytes):
        return "dead", "undecodable"
    meter, at, value = record
    if not 0 <= at <= now_ms + FUTURE:
        return "rejected", "implausible_time"
    if meter == "":
        return "rejected", "empty_identifier"
    if not isfinite(value) or abs(value * 1_000) > MOST_MW:
        return "rejected", "implausible_value"
    if at < newest - HORIZON:
        return "rejected", "expired"
    return ("duplicate", None) if (meter, at) in seen else ("counted", None)


def row(meter, start, values):
    mean = Fraction(sum(values), len(values))
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    floats = (float(mean / 1_000), float(variance / 1_000_000))
    return (meter, start, len(values), sum(values), min(values), max(values), *floats, "final")


def shown(rows):
    """The tables as `answer` gives them; *rows* gives the rows of one."""
    return {
        "window": sorted(rows("window")),
        "late": sorted(rows("late")),
        "letter": sorted((name, verdict, reason) for name, _, verdict, reason, _ in rows("letter")),
        "accounting": [each[:-1] for each in rows("accounting")],
    }
