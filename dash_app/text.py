"""Numbers, times and words as people read them. Missing is shown as “–”, never as 0."""

import datetime as dt
import math
import zoneinfo

from kappawatt.units import US_PER_S, kwh

MISSING = "–"
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"))
_MONEY_SIGNS = {"EUR": "€", "USD": "$", "GBP": "£"}


def digits(value: float | None, count: int = 3) -> str:
    """*value* to *count* significant digits, thousands separated; whole numbers keep all theirs.

    >>> digits(0.0012345), digits(12.345), digits(123456.7), digits(0), digits(None)
    ('0.00123', '12.3', '123,457', '0', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    rounded = float(f"{value:.{count - 1}e}")
    places = max(0, count - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{places}f}"


def scaled(value: float | None, unit: str) -> tuple[str, str]:
    """Number and unit with the prefix that leaves one to three digits before the point.

    >>> scaled(1234.5, "Wh"), scaled(0.25, "Wh"), scaled(0, "g"), scaled(None, "g")
    (('1.23', 'kWh'), ('250', 'mWh'), ('0', 'g'), ('–', 'g'))
    """
    if value is None or not math.isfinite(value):
        return MISSING, unit
    if value == 0:
        return "0", unit
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return digits(value / factor), f"{prefix}{unit}"
    return digits(value * 1e3), f"m{unit}"


def energy(energy_uj: int | None) -> tuple[str, str]:
    """Energy as number and unit from the Wh family.

    >>> energy(4_500_000_000), energy(None)
    (('1.25', 'Wh'), ('–', 'Wh'))
    """
    return scaled(None if energy_uj is None else kwh(energy_uj) * 1e3, "Wh")


def mass(grams: float | None) -> tuple[str, str]:
    """Emissions as number and unit; tonnes from a million grams on.

    >>> mass(2_500_000.0), mass(0.5)
    (('2.50', 't'), ('500', 'mg'))
    """
    if grams is not None and math.isfinite(grams) and abs(grams) >= 1e6:
        return digits(grams / 1e6), "t"
    return scaled(grams, "g")


def money(amount: float | None, currency: str | None) -> str:
    """An amount in its currency; several currencies in one sum are said, not added.

    >>> money(0.01234, "EUR"), money(None, "mixed"), money(None, None)
    ('€0.0123', 'several currencies', '–')
    """
    if amount is None:
        return "several currencies" if currency == "mixed" else MISSING
    shown = f"{amount:,.2f}" if abs(amount) >= 1 else digits(amount)
    sign = _MONEY_SIGNS.get(currency or "")
    return f"{sign}{shown}" if sign else f"{shown} {currency or ''}".strip()


def percent(part: float | None) -> str:
    """A share of one in percent; what is above 0 or below 1 is never rounded to it.

    >>> percent(0.98765), percent(1.0), percent(0.99996), percent(0.00001), percent(None)
    ('98.8 %', '100 %', '>99.9 %', '<0.1 %', '–')
    """
    if part is None or not math.isfinite(part):
        return MISSING
    if part in (0, 1):
        return f"{part * 100:.0f} %"
    if part > 0.9995:
        return ">99.9 %"
    if part < 0.0005:
        return "<0.1 %"
    return f"{part * 100:.1f} %"


def duration(us: int | None) -> str:
    """A time span by its two greatest parts.

    >>> duration(3_725_000_000), duration(59_400_000), duration(86_400_000_000), duration(9_600), duration(None)
    ('1 h 2 min', '59.4 s', '1 d', '10 ms', '–')
    """
    if us is None or us < 0:
        return MISSING
    seconds = us / US_PER_S
    if 0 < seconds < 0.9995:
        return f"{us / 1e3:.0f} ms" if us >= 500 else "<1 ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds % 1 else f"{seconds:.0f} s"
    whole = int(seconds)
    for length, name, part, part_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length:,} {name}" + (f" {rest} {part_name}" if rest else "")
    return MISSING


def zone_of(name: str | None) -> dt.tzinfo:
    """The time zone of that IANA name; UTC when this machine does not know it.

    >>> zone_of("no/such zone")
    datetime.timezone.utc
    """
    try:
        return zoneinfo.ZoneInfo(name) if name and len(name) < 64 else dt.UTC
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return dt.UTC


def fixed_zone(us: int, zone: dt.tzinfo) -> dt.timezone:
    """The offset that *zone* has at *us*, so that an axis through a change of the clocks neither jumps nor folds."""
    return dt.timezone(_instant(us).astimezone(zone).utcoffset() or dt.timedelta(0))


def zone_label(us: int, zone: dt.tzinfo) -> str:
    """Name and offset of *zone* at *us*.

    >>> zone_label(0, zone_of("Asia/Tokyo")), zone_label(0, dt.UTC)
    ('Asia/Tokyo, UTC+09:00', 'UTC')
    """
    if zone is dt.UTC or str(zone) == "UTC":
        return "UTC"
    return f"{zone}, {fixed_zone(us, zone)}"


def moment(us: int | None, zone: dt.tzinfo) -> str:
    """Date and time to the second in *zone*.

    >>> moment(0, zone_of("Asia/Tokyo"))
    '1970-01-01 09:00:00'
    """
    return MISSING if us is None else f"{_instant(us).astimezone(zone):%Y-%m-%d %H:%M:%S}"


def wall_clock(us: int, zone: dt.tzinfo) -> str:
    """Date and time to the microsecond in *zone*, without naming it.

    >>> wall_clock(1_500_000, dt.UTC)
    '1970-01-01T00:00:01.500000'
    """
    return _instant(us).astimezone(zone).replace(tzinfo=None).isoformat()


def clock(us: int, now_us: int, zone: dt.tzinfo) -> str:
    """The time of day, with the date unless that is today's in *zone*."""
    then, now = _instant(us).astimezone(zone), _instant(now_us).astimezone(zone)
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def utc_day(us: int) -> str:
    """The UTC day of *us* as the store's partitions name it.

    >>> utc_day(0)
    '1970-01-01'
    """
    return f"{_instant(us):%Y-%m-%d}"


def inert(text: str | None, most: int = 200) -> str:
    r"""*text* on one line without control, bidirectional or zero-width signs, cut at *most*.

    Names come from outside: a right-to-left override could make one read as another.

    >>> inert("a\u202eb\x00c"), inert(None), inert("x" * 9, most=4)
    ('abc', '', 'xxx…')
    """
    kept = "".join(sign for sign in (text or "") if sign == " " or sign.isprintable()).strip()
    return kept if len(kept) <= most else f"{kept[: most - 1]}…"


def _instant(us: int) -> dt.datetime:
    # Clamped to the years that a datetime has, with a day to spare for zones: an event may carry any instant.
    inside = min(max(us, -62_135_510_400_000_000), 253_402_200_000_000_000)
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=inside)
