"""A zone hour is kept while any shard may still contribute to it, however far ahead another bucket is."""

from kappawatt.emissions.names import ZONES
from kappawatt.emissions.steps import ZoneLogic
from kappawatt.ledger.zones import ZoneHour

HOURS = 14 * 24
OLD = 484_000


def part(hour: int, energy_uj: int, *, final: bool) -> ZoneHour:
    return ZoneHour("DE", hour, (energy_uj, *[0] * 7), ((energy_uj, None, 1.0),), 0, (), 1, final)


def energies(step: ZoneLogic) -> list[tuple[int, int]]:
    """Hour and energy of the rows that the next epoch shows."""
    step.snapshot()
    return [
        (row[2] // 3_600_000_000, row[3]) for _, outlet in step.on_batch([]) for row in outlet.rows["zone_window_1h"]
    ]


def test_bucket_far_ahead_does_not_make_older_hours_forget_their_shards() -> None:
    step = ZoneLogic(ZONES[0], None, HOURS)
    step.on_batch([(1, part(OLD + HOURS + 100, 1, final=False)), (1, part(OLD, 10, final=False))])
    assert energies(step) == [(OLD, 10), (OLD + HOURS + 100, 1)]

    step.on_batch([(2, part(OLD, 20, final=False))])

    assert energies(step) == [(OLD, 30)]


def test_hours_older_than_the_horizon_are_forgotten() -> None:
    step = ZoneLogic(ZONES[0], None, HOURS)
    step.on_batch([(1, part(OLD, 10, final=True)), (1, part(OLD + HOURS + 1, 1, final=True))])
    energies(step)

    assert "<ZoneTotals 1 zone hours>" in repr(step._totals)
