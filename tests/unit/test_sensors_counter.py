"""A counter's step is named, and a wrap is believed only when it can be one."""

import pytest

from kappawatt.sensors.counter import First, Moved, Restarted, Wrapped, believe, step


@pytest.mark.parametrize(
    ("before", "now", "limit", "found"),
    [
        pytest.param(None, 7, 9, First(), id="first reading is a baseline"),
        pytest.param(3, 7, 9, Moved(4), id="forward"),
        pytest.param(3, 3, 9, Moved(0), id="still"),
        pytest.param(8, 2, 9, Wrapped(4), id="through zero"),
        pytest.param(9, 0, 9, Wrapped(1), id="from the limit to zero is one"),
        pytest.param(8, 2, None, Restarted(), id="no limit, so it cannot wrap"),
        pytest.param(12, 2, 9, Restarted(), id="it was above its limit, so the limit is wrong"),
    ],
)
def test_step_is_named(before, now, limit, found):
    assert step(before, now, limit) == found


def test_reset_is_not_taken_for_a_wrap_that_would_need_kilowatts():
    # codecarbon 3.3.2 books 162,146 J here
    wrap = step(100_002_000_000, 5_000_000, 262_143_328_850)

    found = believe(wrap, elapsed_us=15_000_000, max_power_w=400.0, same_boot=True)

    assert found == Restarted()


def test_wrap_is_not_believed_across_a_boot():
    assert believe(Wrapped(4), elapsed_us=1_000_000, max_power_w=400.0, same_boot=False) == Restarted()


def test_plausible_wrap_is_believed():
    assert believe(Wrapped(300_000_000), elapsed_us=1_000_000, max_power_w=400.0, same_boot=True) == Wrapped(
        300_000_000
    )
