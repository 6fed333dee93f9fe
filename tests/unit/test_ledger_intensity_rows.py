"""Which of several intensity records with one key is shown, and for how long that is remembered (semantics §4)."""

import pytest

from kappawatt.ledger.control import intensity_row
from kappawatt.ledger.intensity_rows import IntensityRows
from tests.oracle.records import MIDNIGHT, price
from tests.unit.ledger_kit import APPENDED, DAY
from tests.unit.ledger_stories import W1H, W5M

HORIZON = 14 * DAY


def shown(rows, *, append_us=APPENDED, **fields):
    return rows.better(intensity_row(price(**fields)), append_us)


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"published_at": 1}, {"published_at": 2}),
        ({"dataset": "v1"}, {"dataset": "v2"}),
        ({"intensity_g_per_kwh": 1.0}, {"intensity_g_per_kwh": 2.0}),
        ({"published_at": 1, "dataset": "v2"}, {"published_at": 2, "dataset": "v1"}),
        ({"dataset": "v1", "intensity_g_per_kwh": 9.0}, {"dataset": "v2", "intensity_g_per_kwh": 1.0}),
    ],
)
def test_of_rows_with_one_key_the_greatest_is_shown(worse, better):
    rising, falling = IntensityRows(HORIZON), IntensityRows(HORIZON)

    assert [shown(rising, **worse), shown(rising, **better), shown(rising, **better)] == [True, True, False]
    assert [shown(falling, **better), shown(falling, **worse)] == [True, False]


def test_rows_with_another_key_are_all_shown():
    rows = IntensityRows(HORIZON)

    assert shown(rows, revision=0)
    assert shown(rows, revision=1)


def test_best_rows_outlast_a_restart():
    rows, again = IntensityRows(HORIZON), IntensityRows(HORIZON)
    shown(rows, published_at=5)

    again.load(rows.dump())

    assert [shown(again, published_at=at) for at in (4, 5, 6)] == [False, False, True]


def test_state_is_the_same_object_while_nothing_changes():
    rows = IntensityRows(HORIZON)
    shown(rows, published_at=MIDNIGHT)
    state = rows.dump()

    shown(rows, published_at=MIDNIGHT - 1)
    assert rows.dump() is state

    shown(rows, published_at=MIDNIGHT + 1)
    assert rows.dump() is not state


def test_keys_beyond_the_horizon_are_forgotten():
    rows = IntensityRows(HORIZON)

    sizes = []
    for hour in range(30 * 24):
        start = MIDNIGHT + hour * W1H
        shown(rows, valid_from=start, valid_to=start + W1H, published_at=start)
        rows.dump()
        sizes.append(len(rows._best))

    assert max(sizes) <= 14 * 24 + 2


def test_publication_from_the_future_makes_nothing_old():
    rows = IntensityRows(HORIZON)
    shown(rows, published_at=MIDNIGHT, append_us=MIDNIGHT)
    shown(rows, published_at=1 << 60, append_us=MIDNIGHT + W5M, revision=2)
    rows.dump()

    assert not shown(rows, published_at=MIDNIGHT, append_us=MIDNIGHT)
