"""Intensity records and run events, judged and turned into what shards take (docs/semantics.md §3, §4)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from kappawatt.ledger.prices import KINDS, Price
from kappawatt.ledger.rows import Row, dates
from kappawatt.ledger.runs import Event
from kappawatt.ledger.verdicts import is_long
from kappawatt.units import (
    FUTURE_SKEW_US,
    MAX_FORECAST_US,
    MAX_INTENSITY_G_PER_KWH,
    MAX_PUE,
    MAX_WUE_L_PER_KWH,
    WINDOW_5M_US,
)

SIGNALS = ("average", "marginal")
EVENTS = ("start", "phase_start", "phase_end", "epoch", "heartbeat", "budget", "stop")

_CARRIED = (
    "user", "team", "project", "model", "framework", "dataset", "environment", "zone", "status", "phase",
    "rank", "epoch", "metrics", "labels", "hardware", "pue", "wue_l_per_kwh",
)  # fmt: skip


def judge_intensity(record: Mapping[str, Any], append_us: int | None = None) -> str | None:
    """Why an intensity record, appended to the log at an instant if one is given, is rejected; None if it is not."""
    if not record["zone"]:
        return "empty_id"
    if is_long(record["zone"]) or is_long(record["provider"]):
        return "long_id"
    if record["valid_from"] >= record["valid_to"]:
        return "empty_interval"
    if record["valid_from"] % WINDOW_5M_US or record["valid_to"] % WINDOW_5M_US:
        return "unaligned_period"
    if not 0 <= record["intensity_g_per_kwh"] <= MAX_INTENSITY_G_PER_KWH:
        return "implausible_intensity"
    if record["kind"] not in KINDS or record["signal"] not in SIGNALS:
        return "unknown_word"
    if append_us is not None and record["valid_from"] > append_us + MAX_FORECAST_US:
        return "ahead_of_log"
    return None


def price(record: Mapping[str, Any]) -> Price | None:
    """What the join takes of an accepted record; None for marginal ones, which are for scheduling only.

    A factor that is no finite number is none: a record with one would make sums of nothing but NaN.
    """
    if record["signal"] != "average":
        return None
    values: list[Any] = [record.get(name) for name in Price._fields]
    values = [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]
    return Price(*values)


def intensity_row(record: Mapping[str, Any]) -> Row:
    """The row of table `intensity`."""
    names = (
        "valid_from", "valid_to", "signal", "provider", "kind", "revision", "intensity_g_per_kwh", "dataset",
        "published_at", "factor", "water_l_per_kwh", "price_per_kwh", "currency", "renewable",
    )  # fmt: skip
    return (record["zone"], dates(np.array([record["valid_from"]]))[0], *(record.get(name) for name in names))


def judge_event(record: Mapping[str, Any], append_us: int | None = None) -> str | None:
    """Why a run event, appended to the log at an instant if one is given, is rejected; None if it is not."""
    if not (record["run_id"] and record["event_id"]):
        return "empty_id"
    if any(is_long(record.get(name) or "") for name in ("run_id", "event_id", "phase")):
        return "long_id"
    if record["run_id"].startswith("~"):
        return "reserved_run_id"
    if record["type"] not in EVENTS:
        return "unknown_word"
    pue, wue = record.get("pue"), record.get("wue_l_per_kwh")
    if pue is not None and not 1 <= pue <= MAX_PUE:
        return "bad_pue"
    if wue is not None and not 0 <= wue <= MAX_WUE_L_PER_KWH:
        return "bad_wue"
    if append_us is not None and record["at"] > append_us + FUTURE_SKEW_US:
        return "ahead_of_log"
    return None


def event(record: Mapping[str, Any]) -> tuple[str, Event]:
    """The run and its event, with the fields that carry something."""
    values = {name: record[name] for name in _CARRIED if record.get(name) not in (None, {}, [], ())}
    name = (record.get("labels") or {}).get("name")
    if name is not None:
        values["name"] = name
    return record["run_id"], Event(record["at"], record["event_id"], record["type"], values)
