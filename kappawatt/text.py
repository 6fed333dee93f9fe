"""Numbers and instants as a person reads them: kWh, grams, local time, three significant digits."""

from datetime import datetime

from kappawatt.units import US_PER_S, kwh

UNKNOWN = "-"


def energy(energy_uj: int | None) -> str:
    """Energy in the unit that fits.

    >>> energy(5_000_000), energy(36_000_000_000), energy(7_200_000_000_000), energy(0)
    ('5.00 J', '10.0 Wh', '2.00 kWh', '0 J')
    """
    if energy_uj is None:
        return UNKNOWN
    if abs(energy_uj) < 3_600_000_000:
        return f"{digits(energy_uj / 1e6)} J"
    if abs(energy_uj) < 3_600_000_000_000:
        return f"{digits(kwh(energy_uj) * 1000)} Wh"
    return f"{digits(kwh(energy_uj))} kWh"


def kilowatt_hours(energy_uj: int | None) -> str:
    """Energy in kWh, whatever its size: columns must compare.

    >>> kilowatt_hours(5_000_000), kilowatt_hours(3_600_000_000_000)
    ('0.00000139', '1.00')
    """
    return UNKNOWN if energy_uj is None else digits(kwh(energy_uj))


def emissions(grams: float | None) -> str:
    """Emissions in the unit that fits; unknown is not zero.

    >>> emissions(0.01234), emissions(1234.0), emissions(None)
    ('0.0123 g CO2e', '1.23 kg CO2e', 'unknown CO2e')
    """
    if grams is None:
        return "unknown CO2e"
    if abs(grams) < 1000:
        return f"{digits(grams)} g CO2e"
    if abs(grams) < 1e6:
        return f"{digits(grams / 1000)} kg CO2e"
    return f"{digits(grams / 1e6)} t CO2e"


def digits(value: float | None) -> str:
    """Three significant digits, never an exponent, thousands parted.

    >>> digits(0.00012345), digits(12.345), digits(123456.0), digits(0.0), digits(None)
    ('0.000123', '12.3', '123,456', '0', '-')
    """
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    exponent = int(f"{value:e}".partition("e")[2])
    return f"{value:.{max(0, 2 - exponent)}f}"


def duration(us: int | None) -> str:
    """A length of time.

    >>> duration(1_500_000), duration(61_000_000), duration(7_384_000_000), duration(200_000_000_000)
    ('1.5 s', '1 min 01 s', '2 h 03 min', '2 d 07 h')
    """
    if us is None:
        return UNKNOWN
    seconds = us / US_PER_S
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {whole:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24:02d} h"


def instant(us: int | None) -> str:
    """An instant in local time, to the second, with its offset from UTC."""
    if us is None:
        return UNKNOWN
    return datetime.fromtimestamp(us // US_PER_S).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def share(part: float | None) -> str:
    """A ratio in percent; only what is really all is 100 %.

    >>> share(0.9996), share(1.0), share(None)
    ('99.9 %', '100 %', '-')
    """
    if part is None:
        return UNKNOWN
    if part >= 1.0:
        return "100 %"
    return f"{int(part * 1000) / 10:.1f} %"
