"""A zone hour is kept while any shard may still contribute to it, however far ahead another bucket is."""

from kappawatt.emissions.names import ZONES
from kappawatt.emissions.steps import ZoneLogic
from kappawatt.ledger.zones import Over, ZoneHour

HOURS = 14 * 24
OLD = 484_000


def part(hour: int, energy_uj: int, over: Over) -> ZoneHour:
    return ZoneHour("DE", hour, (energy_uj, *[0] * 7), ((energy_uj, None, 1.0),), 0, (), 1, over)


def energies(step: ZoneLogic) -> list[tuple[int, int]]:
    """Hour and energy of the rows that the next epoch shows."""
    step.snapshot()
    return [
        (row[2] // 3_600_000_000, row[3]) for _, outlet in step.on_batch([]) for row in outlet.rows["zone_window_1h"]
    ]


def test_bucket_far_ahead_does_not_make_older_hours_forget_their_shards() -> None:
    step = ZoneLogic(ZONES[0], None, HOURS)
    step.on_batch([(1, part(OLD + HOURS + 100, 1, Over.NO)), (1, part(OLD, 10, Over.NO))])
    assert energies(step) == [(OLD, 10), (OLD + HOURS + 100, 1)]

    step.on_batch([(2, part(OLD, 20, Over.NO))])

    assert energies(step) == [(OLD, 30)]


def test_hours_older_than_the_horizon_are_forgotten() -> None:
    step = ZoneLogic(ZONES[0], None, HOURS)
    step.on_batch([(1, part(OLD, 10, Over.PASSED)), (1, part(OLD + HOURS + 1, 1, Over.PASSED))])
    energies(step)

    assert "<ZoneTotals 1 zone hours>" in repr(step._totals)


def test_end_of_a_log_forgets_no_hour_that_a_longer_one_may_still_change() -> None:
    step = ZoneLogic(ZONES[0], None, HOURS)
    step.on_batch([(1, part(OLD, 10, Over.AT_THE_END)), (1, part(OLD + HOURS + 1, 1, Over.AT_THE_END))])
    energies(step)

    step.on_batch([(2, part(OLD, 20, Over.NO))])

    assert energies(step) == [(OLD, 30)]
