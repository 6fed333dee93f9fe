"""What is known of a run from its events, in any order (semantics §4)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.records import MIDNIGHT, event, sample
from tests.unit.ledger_kit import DAY, Ledger

KWH = 3_600_000_000_000


def told(*events, samples=()):
    return Ledger().event(*events).read(*samples).end()


def at(number, **fields):
    return event(event_id=f"e{number}", at=MIDNIGHT + number, **fields)


@pytest.mark.parametrize(
    ("events", "status", "ended_at"),
    [
        pytest.param([at(1)], "running", None, id="neither start nor stop"),
        pytest.param([at(1, type="start")], "running", None, id="started"),
        pytest.param([at(1, type="start"), at(2, type="stop")], "succeeded", MIDNIGHT + 2, id="stopped"),
        pytest.param([at(2, type="stop"), at(1, type="start")], "succeeded", MIDNIGHT + 2, id="out of order"),
        pytest.param([at(2, type="stop", status="failed")], "failed", MIDNIGHT + 2, id="never started"),
        pytest.param([at(2, type="stop", status="lost"), at(3, type="start")], "running", None, id="started again"),
        pytest.param([at(2, type="stop", status="failed"), at(3)], "failed", MIDNIGHT + 2, id="heartbeat behind it"),
        pytest.param(
            [at(2, type="stop", status="failed"), at(3, type="stop")], "succeeded", MIDNIGHT + 3, id="two stops"
        ),
        pytest.param([at(2, type="stop", status="running")], "running", None, id="a stop that says running"),
    ],
)
def test_status_is_that_of_the_latest_start_or_stop(events, status, ended_at):
    row = told(*events).only("run")

    assert (row["status"], row["ended_at"]) == (status, ended_at)


def test_equal_instants_are_ordered_by_event_id():
    events = [event(event_id=name, user=name, type=kind) for name, kind in (("b", "stop"), ("a", "start"))]

    row = told(*events).only("run")

    assert (row["user"], row["status"]) == ("b", "succeeded")


def test_field_is_that_of_the_latest_event_that_carries_one():
    row = told(at(1, user="u1", team="t1"), at(3, user="u3"), at(2, user="u2", project="p2"), at(9)).only("run")

    assert (row["user"], row["team"], row["project"], row["model"]) == ("u3", "t1", "p2", None)


def test_repeated_event_id_is_applied_once():
    ledger = told(at(1, user="first", type="epoch", epoch=1), at(1, user="again", type="epoch", epoch=2))

    assert ledger.only("run")["user"] == "first"
    assert ledger.only("run_metric")["epoch"] == 1


def test_same_event_id_in_two_runs_is_two_events():
    ledger = told(event(run_id="r1", user="u1"), event(run_id="r2", user="u2"))

    assert [row["user"] for row in ledger.table("run")] == ["u1", "u2"]


def test_labels_and_hardware_are_text_with_sorted_keys():
    device = {"device": "gpu:0", "kind": 2, "model": "H200", "uuid": None, "tdp_w": 700.0}
    ledger = told(at(1, labels={"b": "ü", "a": "1", "name": "n"}, hardware=[device]), at(2, labels={}, hardware=[]))

    row = ledger.only("run")

    assert row["labels"] == '{"a":"1","b":"\\u00fc","name":"n"}'
    assert json.loads(row["hardware"]) == [device]
    assert row["name"] == "n"


def test_run_is_seen_from_its_first_to_its_last_sample_or_event():
    samples = [sample(start=MIDNIGHT + 5, end=MIDNIGHT + 50)]

    row = told(at(9), at(2), samples=samples).only("run")

    assert (row["first_seen"], row["last_seen"]) == (MIDNIGHT + 2, MIDNIGHT + 50)
    assert (row["started_at"], row["pue"], row["wue_l_per_kwh"]) == (None, 1.0, None)


def test_run_with_events_only_has_no_total():
    ledger = told(at(1, type="start"))

    assert len(ledger.table("run")) == 1
    assert ledger.table("run_total") == []


def test_run_is_listed_by_its_first_start():
    ledger = told(at(DAY + 5, type="start"), at(7, type="start"), at(3, user="u", labels={"name": "n"}))

    row = ledger.only("runs_by_date")

    assert (row["date"], row["started_at"], row["user"], row["name"]) == ("2025-03-02", MIDNIGHT + 7, "u", "n")


def test_listed_row_moves_when_an_earlier_start_becomes_known():
    ledger = Ledger().event(at(DAY, type="start")).flush()
    assert ledger.only("runs_by_date")["date"] == "2025-03-03"

    ledger.event(at(1, type="start")).flush()

    assert ledger.only("runs_by_date")["date"] == "2025-03-02"


def test_run_that_never_started_is_listed_by_when_it_was_seen():
    ledger = Ledger().event(at(50)).flush().read(sample()).flush()

    assert ledger.only("runs_by_date")["started_at"] == MIDNIGHT


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"type": "epoch"}, (None, None, None, None, None)),
        ({"type": "epoch", "epoch": 3, "metrics": {"loss": 0.5}}, (3, 0.5, None, None, None)),
        ({"metrics": {"tokens": 7.0, "accuracy": 0.9, "samples": 2.0}}, (None, None, 0.9, 2.0, 7.0)),
        ({"metrics": {"other": 1.0}}, (None, None, None, None, None)),
    ],
)
def test_epochs_and_metrics_are_rows(fields, shown):
    row = told(at(1, **fields)).only("run_metric")

    assert tuple(row[name] for name in ("epoch", "loss", "accuracy", "samples", "tokens")) == shown


def test_event_without_metrics_is_no_row():
    assert told(at(1, type="start")).table("run_metric") == []


def test_pue_may_be_corrected_downwards():
    ledger = Ledger().event(at(1, pue=1.5)).flush().event(at(2, pue=1.1)).flush()
    assert ledger.only("run")["pue"] == 1.1

    ledger.event(at(0, pue=2.0)).end()

    assert ledger.only("run")["pue"] == 1.1


events = st.builds(
    lambda number, fields: at(number, run_id=fields.pop("run"), **fields),
    st.integers(0, 5),
    st.fixed_dictionaries(
        {"run": st.sampled_from(("r1", "r2"))},
        optional={
            "type": st.sampled_from(("start", "stop", "heartbeat", "epoch", "phase_start")),
            "user": st.sampled_from(("u1", "u2")),
            "pue": st.sampled_from((1.0, 1.5)),
            "status": st.sampled_from(("failed", "lost")),
            "phase": st.sampled_from(("a", "b")),
            "labels": st.sampled_from(({}, {"name": "n"})),
        },
    ),
)


@settings(max_examples=50)
@given(st.lists(events, max_size=8, unique_by=lambda each: (each["run_id"], each["event_id"])), st.data())
def test_rows_of_runs_do_not_depend_on_the_order_of_their_events(records, data):
    shuffled = data.draw(st.permutations(records))
    cut = data.draw(st.integers(0, len(records)))

    plain = told(*records)
    mixed = Ledger().event(*shuffled[:cut]).flush().restart().event(*shuffled[cut:]).end()

    assert mixed.rows == plain.rows
