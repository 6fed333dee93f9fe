"""Intervals neither overlap nor leave holes, and no device's energy is lost on the way."""

import pytest

from kappawatt.errors import SourceBroken, SourceBusy, SourceGone
from kappawatt.sensors.meter import Meter, Tick, cut
from kappawatt.sensors.source import Reading
from kappawatt.sensors.testing import ManualClock, ScriptedSource
from kappawatt.units import MAX_INTERVAL_US
from kappawatt.wire.codes import DeviceKind, Method

SECOND = 1_000_000
CPU, GPU = "cpu:0", "gpu:0"


def ticks(clock: ManualClock, *sources: ScriptedSource, count: int, every: int = SECOND) -> list[Tick | None]:
    meter = Meter(sources, clock.wall_us, clock.monotonic_us)
    meter.tick()
    found = []
    for _ in range(count):
        clock.go(every)
        found.append(meter.tick())
    return found


def energies(tick: Tick | None) -> dict[str, int]:
    return {reading.device: reading.energy_uj for reading in tick.readings}


def test_first_tick_is_the_baseline():
    clock = ManualClock()

    assert Meter([ScriptedSource({})], clock.wall_us, clock.monotonic_us).tick() is None


def test_each_interval_starts_where_the_last_one_ended():
    first, second = ticks(ManualClock(), ScriptedSource({}, {CPU: 5}, {CPU: 7}), count=2)

    assert first.end_us == second.start_us
    assert second.end_us - second.start_us == SECOND
    assert (energies(first), energies(second)) == ({CPU: 5}, {CPU: 7})


def test_small_drift_of_the_wall_clock_leaves_no_hole():
    clock = ManualClock()
    meter = Meter([ScriptedSource({}, {CPU: 1}, {CPU: 1})], clock.wall_us, clock.monotonic_us)
    meter.tick()
    clock.go(SECOND)
    clock.step(SECOND // 2)
    first = meter.tick()
    clock.go(SECOND)
    second = meter.tick()

    assert first.end_us == second.start_us
    assert second.flags == ()


@pytest.mark.parametrize("step", [7_200 * SECOND, -7_200 * SECOND], ids=["forward", "back"])
def test_stepped_clock_is_flagged_and_lengths_stay_true(step):
    clock = ManualClock()
    meter = Meter([ScriptedSource({}, {CPU: 1}, {CPU: 1})], clock.wall_us, clock.monotonic_us)
    meter.tick()
    clock.go(SECOND)
    clock.step(step)
    first = meter.tick()
    clock.go(SECOND)
    second = meter.tick()

    assert first.flags == ("clock_step",)
    assert [t.end_us - t.start_us for t in (first, second)] == [SECOND, SECOND]
    assert second.start_us - first.end_us == step


def test_long_interval_is_flagged_as_a_gap():
    (tick,) = ticks(ManualClock(), ScriptedSource({}, {CPU: 9}), count=1, every=4 * SECOND)

    assert tick.flags == ("gap",)
    assert energies(tick) == {CPU: 9}


def test_interval_stays_open_while_a_device_cannot_be_read():
    scripted = ScriptedSource({}, {CPU: "gap", GPU: 3}, {CPU: 11, GPU: 4})

    held, tick = ticks(ManualClock(), scripted, count=2)

    assert held is None
    assert tick.end_us - tick.start_us == 2 * SECOND
    assert energies(tick) == {CPU: 11, GPU: 7}


def test_busy_source_keeps_the_interval_open_too():
    held, tick = ticks(
        ManualClock(), ScriptedSource({}, SourceBusy("now"), {CPU: 11}), ScriptedSource({}, {GPU: 1}, {GPU: 2}), count=2
    )

    assert held is None
    assert energies(tick) == {CPU: 11, GPU: 3}


def test_device_that_stays_away_is_given_up_and_the_others_go_on():
    away = [{CPU: "gap", GPU: 1} for _ in range(12)]

    found = ticks(ManualClock(), ScriptedSource({}, *away), count=12)

    assert [tick is not None for tick in found] == [False] * 9 + [True] * 3
    assert energies(found[9]) == {GPU: 10}
    assert [tick.flags for tick in found[9:]] == [("gap",)] * 3


def test_device_that_comes_back_is_waited_for_again():
    script = [{}, *[{CPU: "gap"} for _ in range(10)], {CPU: 50}, {CPU: "gap"}]

    found = ticks(ManualClock(), ScriptedSource(*script), count=12)

    assert energies(found[10]) == {CPU: 50}
    assert found[11] is None


def test_final_tick_waits_for_nothing():
    clock = ManualClock()
    meter = Meter([ScriptedSource({}, {CPU: "gap", GPU: 3})], clock.wall_us, clock.monotonic_us)
    meter.tick()
    clock.go(SECOND // 4)

    tick = meter.tick(final=True)

    assert (tick.end_us - tick.start_us, energies(tick), tick.flags) == (SECOND // 4, {GPU: 3}, ("gap",))


def test_reset_is_flagged_and_not_waited_for():
    (tick,) = ticks(ManualClock(), ScriptedSource({}, {CPU: "counter_reset", GPU: 2}), count=1)

    assert (energies(tick), tick.flags) == ({GPU: 2}, ("counter_reset", "gap"))


@pytest.mark.parametrize("end", [SourceGone("ended"), SourceBroken("mend it")], ids=["gone", "broken"])
def test_source_that_ends_is_left_out_and_the_others_go_on(end):
    found = ticks(ManualClock(), ScriptedSource({}, end), ScriptedSource({}, {GPU: 1}, {GPU: 2}), count=2)

    assert [energies(tick) for tick in found] == [{GPU: 1}, {GPU: 2}]
    assert [tick.flags for tick in found] == [("gap",), ()]


def test_broken_source_is_said_once_with_its_remedy(caplog):
    ticks(ManualClock(), ScriptedSource({}, SourceBroken("mend it")), count=2)

    assert [record.message for record in caplog.records] == ["scripted is not read any more: mend it"]


def test_long_interval_is_cut_and_adds_up():
    reading = Reading(device=CPU, kind=DeviceKind.CPU, method=Method.MODEL, energy_uj=1_000_000_007)
    tick = Tick(start_us=0, end_us=9_000 * SECOND, readings=(reading,))

    pieces = cut(tick)

    assert all(piece.end_us - piece.start_us < MAX_INTERVAL_US for piece in pieces)
    assert [piece.start_us for piece in pieces[1:]] == [piece.end_us for piece in pieces[:-1]]
    assert sum(piece.readings[0].energy_uj for piece in pieces) == 1_000_000_007
