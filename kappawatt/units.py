"""Every conversion and constant, each with its source; the only home of numbers with units."""

US_PER_S = 1_000_000
US_PER_H = 3_600 * US_PER_S
"""Microseconds in a second."""

UJ_PER_KWH = 3.6e12
"""Microjoules in a kilowatt-hour: 1 kWh = 3.6 MJ (SI Brochure, 9th ed., table 8), exact."""

UL_PER_L = 1e6
"""Microlitres in a litre."""

WINDOW_5S_US = 5 * US_PER_S
WINDOW_5M_US = 300 * US_PER_S
WINDOW_1H_US = US_PER_H

MAX_INTERVAL_US = 3_000 * US_PER_S
"""Intervals this long or longer are rejected: r·(x − a) of the exact split stays below 2^63 (design §5.4)."""

MAX_READING_UJ = 1 << 53
"""Energies from here on are rejected, so that a double holds every accepted reading exactly."""

MAX_ID_BYTES = 512
"""Longest name that may become part of a key, UTF-8; Cassandra refuses keys above 65,535 bytes in all."""

FUTURE_SKEW_US = 300 * US_PER_S
"""How far a sample's end may lie after its append time: five minutes of clock skew."""


MAX_END_US = (1 << 31) * WINDOW_5S_US
"""Samples that end later (in 2310) are rejected: the number of a 5-s window has 31 bits in keys."""

MAX_PUE = 100.0
MAX_WUE_L_PER_KWH = 1_000.0
MAX_INTENSITY_G_PER_KWH = 10_000.0
"""More is a mistake of units, and would drown every sum that it is in: the worst known are some 3, 10 and 1,700."""

MAX_FORECAST_US = 60 * 86_400 * US_PER_S
"""How far a price's first instant may lie after its append time: forecasts reach days, budgets of grids weeks."""


def kwh(energy_uj: int) -> float:
    """Energy in kWh.

    >>> kwh(3_600_000_000_000)
    1.0
    """
    return energy_uj / UJ_PER_KWH
