"""What the oracle is given and gives: a log as plain records, and the tables that follow from it.

Nothing here, or in the modules beside it, imports the product or NumPy: the oracle is the second, slow and plain
writing of docs/semantics.md. Instants are integer µs UTC, energies integer µJ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]
Row = dict[str, Any]
Table = dict[tuple[Any, ...], Row]
Tables = dict[str, Table]

SECOND = 1_000_000
W5S = 5 * SECOND
W5M = 300 * SECOND
W1H = 3_600 * SECOND
DAY = 86_400 * SECOND
WIDTHS = {"run_window_5s": W5S, "run_window_5m": W5M, "run_window_1h": W1H}

KEYS: dict[str, tuple[str, ...]] = {
    "run": ("run_id",),
    "run_total": ("run_id",),
    "phase_total": ("run_id", "phase"),
    "run_window_5s": ("run_id", "date", "window_start"),
    "run_window_5m": ("run_id", "date", "window_start"),
    "run_window_1h": ("run_id", "date", "window_start"),
    "device_window_5m": ("run_id", "date", "host", "window_start", "device"),
    "zone_window_1h": ("zone", "date", "window_start"),
    "run_metric": ("run_id", "date", "at", "event_id"),
    "runs_by_date": ("date", "started_at", "run_id"),
    "intensity": ("zone", "date", "valid_from", "valid_to", "signal", "provider", "kind", "revision"),
    "late": ("run_id", "date", "collector_id", "seq"),
    "restatement": ("run_id", "date", "at", "restatement_id"),
    "alert": ("date", "at", "alert_id"),
    "accounting": ("source_partition",),
}
"""Key columns of every table, in key order (written again here on purpose: the oracle shares nothing)."""

ALPHA3: dict[str, str] = {
    "AU": "AUS",
    "BR": "BRA",
    "CA": "CAN",
    "DE": "DEU",
    "ES": "ESP",
    "FI": "FIN",
    "FR": "FRA",
    "GB": "GBR",
    "IN": "IND",
    "IS": "ISL",
    "IT": "ITA",
    "JP": "JPN",
    "NO": "NOR",
    "PL": "POL",
    "SE": "SWE",
    "US": "USA",
}
"""ISO 3166 alpha-2 → alpha-3, as far as the generated logs need it."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A datum that cannot be read: `reason` says why, *record* is what the writer spoils to make its bytes."""

    reason: str
    record: Record


@dataclass(slots=True)
class Log:
    """A log as records with the Avro field names; times are int µs.

    Args:
        samples: Per source partition (the name behind `sample/`) what is read there, in reading order.
        intensity: Price records, in reading order.
        run_events: Run events, in reading order.
        append_us: Append time of each sample, parallel to `samples`; None: nothing is checked against it.
        positions: Where reading goes on, by source partition; a missing one is not compared.
    """

    samples: dict[str, list[Record | Dead]] = field(default_factory=dict)
    intensity: list[Record] = field(default_factory=list)
    run_events: list[Record] = field(default_factory=list)
    append_us: Mapping[str, Sequence[int]] | None = None
    positions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The settings that the numbers depend on, with the product's defaults."""

    max_device_power_w: int = 1_000_000
    horizon_us: int = 14 * DAY
    lateness_us: int = 900 * SECOND
    lease_us: int = 900 * SECOND
    close_us: int = 2 * DAY
    told_us: int | None = None  # how far event time was said to be beyond the log: nobody says so with --until-end
    future_skew_us: int = 300 * SECOND
    max_interval_us: int = 3_000 * SECOND
    country_of: Mapping[str, str] = field(default_factory=lambda: ALPHA3)
    iso3: frozenset[str] = frozenset(ALPHA3.values())


class CouldBeLate(AssertionError):  # noqa: N818 - a fact about the log, not an error of the product
    """The log has a sample that some arrival order makes late; its rows are not a function of the log alone."""


def is_long(name: str) -> bool:
    """Whether a name is too long to be part of a key."""
    return len(name.encode()) > 512


def utc_date(instant_us: int) -> str:
    """The UTC day of an instant, `YYYY-MM-DD`, of the years 1 to 9999 (proleptic Gregorian, days-to-civil algorithm).

    Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
    """
    days = min(max(instant_us // DAY, -719_162), 2_932_896) + 719_468
    era, of_era = divmod(days, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    return f"{year:04d}-{month:02d}-{day:02d}"
