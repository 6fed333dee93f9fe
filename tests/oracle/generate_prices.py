"""Price records of the generated logs: revised, corrected to actual, with gaps and fallbacks, some to be rejected."""

import math
import random
from collections.abc import Iterator, Mapping

from tests.oracle.model import DAY, W1H, W5M, Record
from tests.oracle.records import price

ZONES = ("DE", "US-CAL-CISO", "FRA", "SE-SE3", "XX-LAB")
"""The first three have prices of their own, FRA is a country, SE-SE3 falls back to SWE, XX-LAB to WORLD or nothing."""

CURRENCY = {"DE": "EUR", "US-CAL-CISO": "USD", "FRA": "EUR"}


def prices_of(
    zones: tuple[str, ...],
    spans: Mapping[str, tuple[int, int]],
    rng: random.Random,
    *,
    midnight_us: int,
    rejected: bool,
) -> list[Record]:
    """Prices for the time that the runs take, in no order."""
    low = min([midnight_us, *(start for start, _ in spans.values())]) // W1H * W1H - W1H
    high = max([midnight_us, *(end for _, end in spans.values())]) // W1H * W1H + 2 * W1H
    records = [record for zone in zones if zone in CURRENCY for record in _own(zone, low, high, rng)]
    records += _fallbacks(midnight_us, low, high)
    if rejected:
        records += _spoilt(midnight_us)
    records += [dict(record) for record in records if rng.random() < 0.05]
    rng.shuffle(records)
    return records


def _own(zone: str, low: int, high: int, rng: random.Random) -> Iterator[Record]:
    """A zone's own records: hourly and by 5 minutes, estimates that become actual, three revisions."""
    for start in range(low, high, W1H):
        yield _value(zone, start, start + W1H, "forecast", 0, rng)
        if rng.random() < 0.9:
            yield _value(zone, start, start + W1H, "estimated", 0, rng)
        yield _value(zone, start, start + W1H, "estimated", 0, rng) | {"signal": "marginal"}
    for start in range(low, high, W5M):
        if rng.random() < 0.25:
            continue
        for revision in range(1, rng.choice((2, 3, 4))):
            yield _value(zone, start, start + W5M, "estimated", revision, rng)
        if rng.random() < 0.4:
            yield _value(zone, start, start + W5M, "actual", 3, rng)
        if rng.random() < 0.1:
            again = _value(zone, start, start + W5M, "actual", 3, rng)
            yield again | {"published_at": start + W5M + 7}


def _value(zone: str, start: int, end: int, kind: str, revision: int, rng: random.Random) -> Record:
    priced = rng.random() < 0.9
    return price(
        zone=zone,
        valid_from=start,
        valid_to=end,
        kind=kind,
        revision=revision,
        intensity_g_per_kwh=round(60 + 500 * rng.random(), 3),
        provider=rng.choice(("grid", "iso")),
        dataset=f"v{rng.randint(1, 3)}",
        published_at=end + rng.randrange(1, 1_000_000_000),
        water_l_per_kwh=round(3 * rng.random(), 4) if rng.random() < 0.7 else None,
        price_per_kwh=round(0.5 * rng.random() - 0.05, 5) if priced else None,
        currency=CURRENCY[zone] if priced else None,
        renewable=round(rng.random(), 3) if rng.random() < 0.5 else None,
    )


def _fallbacks(midnight_us: int, low: int, high: int) -> list[Record]:
    """Static values of countries, one for the world from midnight on only, and a country's own forecast."""
    year = {"valid_from": midnight_us - 200 * DAY, "valid_to": midnight_us + 165 * DAY, "kind": "static"}
    year |= {"provider": "ember", "dataset": "2024"}
    return [
        price(zone="DEU", intensity_g_per_kwh=381.25, water_l_per_kwh=1.9, **year),
        price(zone="DEU", intensity_g_per_kwh=380.5, **year | {"dataset": "2023"}),
        price(zone="SWE", intensity_g_per_kwh=41.1, price_per_kwh=1.1, currency="SEK", **year),
        price(zone="FRA", intensity_g_per_kwh=56.0, **year),
        price(zone="WORLD", intensity_g_per_kwh=480.0, **year | {"valid_from": midnight_us}),
        price(zone="SWE", valid_from=midnight_us, kind="forecast", intensity_g_per_kwh=33.3),
        price(zone="USA", valid_from=low, valid_to=high, kind="estimated", intensity_g_per_kwh=410.0, factor="direct"),
    ]


def _spoilt(midnight_us: int) -> list[Record]:
    """One record for each reason to reject it; each would count if it were not rejected."""
    strong = {"valid_from": midnight_us, "revision": 99, "provider": "spoilt"}
    return [
        price(**strong | {"valid_to": midnight_us}),
        price(**strong | {"valid_to": midnight_us + W5M - 1}),
        price(**strong | {"valid_from": midnight_us + 1, "valid_to": midnight_us + W5M}),
        price(**strong, intensity_g_per_kwh=-1.0),
        price(**strong, intensity_g_per_kwh=math.nan),
        price(**strong, intensity_g_per_kwh=math.inf),
        price(**strong | {"kind": "measured"}),
        price(**strong | {"signal": "mean"}),
        price(**strong | {"zone": ""}),
    ]
