"""How runs live and end: stops, leases, silence, and what closes their windows (semantics §4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.model import Log, Parameters
from tests.oracle.records import MIDNIGHT, event, sample
from tests.oracle.truth import expected_tables
from tests.unit.ledger_kit import DAY, WINDOWS, Ledger
from tests.unit.ledger_stories import UNEXPLAINED, W1H, W5M

SECOND = 1_000_000
MINUTE = 60 * SECOND
LEASE = 15 * MINUTE


def at(after_us, **fields):
    """A second of run r1 that ends so long after midnight."""
    end = MIDNIGHT + after_us
    return sample(**({"start": end - SECOND, "end": end, "seq": after_us // SECOND} | fields))


def said(type_, after_us, **fields):
    return event(event_id=f"{type_}-{after_us}", type=type_, at=MIDNIGHT + after_us, **fields)


def status(ledger, run_id="r1"):
    return ledger.only("run", run_id=run_id)["status"]


def finals(ledger, table="run_window_5s", run_id="r1"):
    return [row["final"] for row in ledger.table(table, run_id=run_id)]


@pytest.mark.parametrize(
    ("fleet_us", "shown"), [(MINUTE + LEASE - 1, "running"), (MINUTE + LEASE, "lost")], ids=["lease", "over"]
)
def test_run_is_lost_when_its_lease_runs_out(fleet_us, shown):
    ledger = Ledger().event(said("start", 0)).read(at(MINUTE)).flush()

    ledger.report(MIDNIGHT + fleet_us).flush()

    row = ledger.only("run")
    assert (row["status"], row["ended_at"], row["last_seen"]) == (shown, None, MIDNIGHT + MINUTE)
    assert ledger.only("runs_by_date")["status"] == shown


def test_lost_run_is_written_once():
    ledger = Ledger(shards=1).read(at(MINUTE)).flush().report(MIDNIGHT + W1H).flush()

    ledger.report(MIDNIGHT + 2 * W1H)

    assert "run" not in ledger.shards[0].flush().rows


@pytest.mark.parametrize(
    "sign",
    [
        lambda ledger: ledger.read(at(W1H, host="h2", collector_id="c2")),
        lambda ledger: ledger.event(said("heartbeat", W1H)),
        lambda ledger: ledger.event(said("start", W1H)),
    ],
    ids=["sample", "heartbeat", "start"],
)
@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_sign_of_life_makes_a_lost_run_running_again(sign, restarted):
    ledger = Ledger().read(at(MINUTE)).flush().report(MIDNIGHT + W1H).flush()
    assert status(ledger) == "lost"
    if restarted:
        ledger.restart()

    sign(ledger).flush()

    assert status(ledger) == "running"


def test_sign_of_life_that_is_too_old_leaves_it_lost():
    ledger = Ledger().read(at(MINUTE)).flush().report(MIDNIGHT + W1H).flush()

    ledger.event(said("heartbeat", 10 * MINUTE)).flush()

    assert (status(ledger), ledger.only("run")["last_seen"]) == ("lost", MIDNIGHT + 10 * MINUTE)


@pytest.mark.parametrize(
    ("events", "samples", "shown"),
    [
        ([said("stop", MINUTE)], [at(MINUTE)], "succeeded"),
        ([said("stop", MINUTE, status="failed")], [], "failed"),
        ([said("stop", MINUTE, status="running")], [], "lost"),
        ([said("budget", MINUTE, budget_energy_uj=1)], [], "running"),
        ([said("epoch", MINUTE)], [], "lost"),
        ([said("stop", MINUTE), said("start", 2 * MINUTE)], [], "lost"),
    ],
    ids=["stopped", "failed", "stop that says running", "planned only", "epoch only", "started again"],
)
def test_only_a_run_that_lives_and_has_not_stopped_is_lost(events, samples, shown):
    ledger = Ledger().event(*events).read(*samples).flush().report(MIDNIGHT + W1H).flush()

    assert status(ledger) == shown


def test_what_a_host_used_for_no_run_is_never_lost():
    ledger = Ledger().read(at(MINUTE, run_id=None)).flush().report(MIDNIGHT + DAY).flush()

    assert status(ledger, "~h1") == "running"


def test_end_of_a_bounded_log_is_its_greatest_counted_end():
    records = [at(MINUTE), at(MINUTE + LEASE, run_id="r2", collector_id="c2", host="h2")]

    ledger = Ledger().read(*records).end()

    assert (status(ledger, "r1"), status(ledger, "r2")) == ("lost", "running")


def test_bucket_that_counted_nothing_says_so_at_the_end():
    ledger = Ledger("a", "b").read(at(MINUTE), bucket="a").event(said("start", -DAY, run_id="r2")).end()

    assert (status(ledger, "r1"), status(ledger, "r2")) == ("running", "lost")


# Closing


def stopped(ledger, *, stop_us=2 * MINUTE):
    """A run whose samples come as far as its stop, and a fleet that goes on for two hours."""
    ledger.read(at(MINUTE), at(stop_us)).event(said("stop", stop_us + SECOND)).flush()
    return ledger.report(MIDNIGHT + 2 * W1H).flush()


def test_windows_of_a_finished_run_do_not_wait_for_more_of_it():
    ledger = stopped(Ledger())

    assert finals(ledger) == [True, True]
    assert [finals(ledger, table) for table in WINDOWS[1:]] == [[True], [True]]


def test_windows_of_a_silent_run_wait():
    ledger = Ledger().read(at(MINUTE), at(2 * MINUTE)).flush().report(MIDNIGHT + 2 * W1H).flush()

    assert (status(ledger), finals(ledger)) == ("lost", [False, False])


def test_host_that_was_away_for_a_day_keeps_its_curve_although_the_stop_comes_first():
    ledger = Ledger().read(at(MINUTE)).flush().report(MIDNIGHT + DAY).flush()
    ledger.event(said("stop", 3 * W1H)).report(MIDNIGHT + DAY + MINUTE).flush()

    for end in range(W5M, 3 * W1H + 1, W5M):
        ledger.read(at(end)).report(MIDNIGHT + DAY + MINUTE + end // 100).flush()

    assert ledger.table("late") == []
    assert [ledger.total(table) for table in WINDOWS] == [37_000_000] * 3
    assert finals(ledger.report(MIDNIGHT + DAY + W1H).flush()) == [True] * 37


@pytest.mark.parametrize(("silence_us", "closed"), [(2 * DAY - 1, False), (2 * DAY, True)])
def test_silent_run_is_closed_in_the_end(silence_us, closed):
    ledger = Ledger().read(at(MINUTE)).flush()

    ledger.report(MIDNIGHT + MINUTE + silence_us).flush()

    assert finals(ledger) == [closed]


def test_what_comes_for_a_closed_run_is_late():
    ledger = Ledger().read(at(MINUTE)).flush().report(MIDNIGHT + 3 * DAY).flush()

    ledger.read(at(2 * MINUTE), at(3 * DAY + MINUTE)).flush()

    assert [row["seq"] for row in ledger.table("late")] == [120]
    assert [ledger.total(table) for table in (*WINDOWS, "run_total")] == [2_000_000] * 3 + [3_000_000]


# Fleet time


def test_event_time_goes_on_with_the_arrival_time_that_all_have_read_up_to():
    ledger = Ledger("a", "b").read(at(MINUTE), bucket="a").flush()

    ledger.report(None, bucket="a", read_us=MIDNIGHT + W1H).flush()
    assert status(ledger) == "running"

    ledger.report(None, bucket="b", read_us=MIDNIGHT + LEASE).flush()
    assert status(ledger) == "running"

    ledger.report(None, bucket="b", read_us=MIDNIGHT + LEASE + MINUTE).flush()
    assert status(ledger) == "lost"


def test_arrival_time_does_not_count_while_one_bucket_is_busy():
    ledger = Ledger("a", "b").read(at(MINUTE), bucket="a").flush()

    ledger.report(MIDNIGHT + MINUTE, bucket="a").report(None, bucket="b", read_us=MIDNIGHT + DAY)
    ledger.report(None, bucket="b", read_us=MIDNIGHT + DAY).flush()

    assert status(ledger) == "running"


def test_arrival_time_evicts_nothing_of_a_run_that_is_open():
    ledger = Ledger().read(at(MINUTE)).flush().report(None, read_us=MIDNIGHT + DAY).flush()

    ledger.read(at(W1H)).flush()

    assert ledger.table("late") == []
    assert ledger.total("run_window_5s") == 2_000_000


def test_event_time_never_goes_back():
    ledger = Ledger().read(at(MINUTE)).flush().report(None, read_us=MIDNIGHT + W1H).flush()

    ledger.report(MIDNIGHT + MINUTE).flush().restart().event(said("heartbeat", 10 * MINUTE)).flush()

    assert status(ledger) == "lost"


# Any order


signs = st.lists(
    st.tuples(
        st.sampled_from(("start", "stop", "heartbeat", "epoch", "budget", "sample")),
        st.integers(0, 90).map(lambda minutes: minutes * MINUTE),
        st.sampled_from(("r1", "r2")),
        st.sampled_from((None, None, "failed", "running")),
    ),
    max_size=10,
    unique_by=lambda each: each[:3],
)


def record_of(sign):
    kind, after_us, run_id, outcome = sign
    if kind == "sample":
        return at(after_us + SECOND, run_id=run_id, collector_id=f"c-{run_id}", host=f"h-{run_id}")
    return said(kind, after_us, run_id=run_id, status=outcome)


def tell(ledger, sign):
    if sign[0] == "sample":
        ledger.read(record_of(sign), partition=f"sample/{sign[2]}")
    else:
        ledger.event(record_of(sign))


@settings(max_examples=60, phases=UNEXPLAINED)
@given(signs, st.data())
def test_rows_of_runs_are_the_oracles_in_any_order_and_split(found, data):
    ledger = Ledger(lateness_us=2 * W1H)
    log = Log(run_events=[record_of(sign) for sign in found if sign[0] != "sample"])
    for sign in sorted(found, key=lambda sign: sign[1]):
        if sign[0] == "sample":
            log.samples.setdefault(sign[2], []).append(record_of(sign))
    told_us = None
    for sign in data.draw(st.permutations(found)):
        tell(ledger, sign)
        if data.draw(st.booleans()):
            ledger.flush()
        if data.draw(st.booleans()):
            told_us = max(told_us or 0, MIDNIGHT + data.draw(st.integers(0, 120)) * MINUTE)
            ledger.report(None, read_us=told_us)
        if data.draw(st.booleans()):
            ledger.flush().restart()

    ledger.end()

    expected = expected_tables(log, Parameters(lateness_us=2 * W1H, told_us=told_us))
    for table in ("run", "runs_by_date", "run_total", *WINDOWS):
        assert ledger.rows[table] == expected[table]
