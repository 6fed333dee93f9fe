"""Run events and prices may say any instant; their rows have a date that every store takes."""

from datetime import date

import numpy as np
import pytest

from kappawatt.ledger.rows import dates


@pytest.mark.parametrize(
    ("instant_us", "day"),
    [
        (-(2**63), "0001-01-01"),
        (-1, "1969-12-31"),
        (253_402_300_799_999_999, "9999-12-31"),
        (253_402_300_800_000_000, "9999-12-31"),
        (2**63 - 1, "9999-12-31"),
    ],
)
def test_date_of_any_instant_is_a_date(instant_us: int, day: str) -> None:
    assert dates(np.array([instant_us])) == [day]
    assert date.fromisoformat(day).isoformat() == day
