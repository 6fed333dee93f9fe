"""Run states as bytes: what is not touched costs nothing, and comes back as it was."""

from kappawatt.ledger.run_states import RunStates
from kappawatt.ledger.runs import Event, Run
from tests.oracle.records import MIDNIGHT, event, sample
from tests.unit.ledger_kit import Ledger

GPUS = [{"device": f"gpu:{n}", "kind": 2, "model": "H200", "uuid": f"GPU-{n:032x}", "tdp_w": 700.0} for n in range(8)]


def states(count):
    found = RunStates()
    for code in range(count):
        found.begin(code)
        found[code].apply(Event(code, "e", "start", {"user": f"user {code}", "hardware": GPUS}))
        found[code].sums.book(code, 7, 1)
    return found


def test_state_comes_back_as_it_was():
    found, again = states(3), RunStates()
    found.dump()
    found.dump()

    again.load(found.dump())

    assert [again[code].dump() for code in range(3)] == [states(3)[code].dump() for code in range(3)]
    assert again[1].dump() == found[1].dump()


def test_what_was_not_asked_for_is_the_same_object():
    found = states(3)
    found.dump()
    before = found.dump()

    found[1].samples += 1
    after = found.dump()

    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_dump_is_independent_of_later_changes():
    found, again = states(2), RunStates()
    dumped = found.dump()
    found[0].samples += 1

    again.load(dumped)

    assert (again[0].samples, found[0].samples) == (0, 1)


def test_code_begins_and_ends():
    found = states(2)
    found.end(0)
    assert (found.dump()[0], found.price_indices()) == (b"", {1})

    found.begin(0)
    assert found[0].dump() == Run().dump()


def test_prices_of_all_runs_are_known_packed_or_not():
    found = states(4)
    found.dump()
    found.dump()
    found[2].sums.book(9, 1, 1)

    assert found.price_indices() == {0, 1, 2, 3, 9}


def test_finished_run_of_eight_gpus_takes_less_than_two_kilobytes():
    ledger = Ledger(shards=1)
    for number in range(20):
        names = {"run_id": f"digits-20261121-093000-{number:06x}", "at": MIDNIGHT}
        said = {"user": "ann", "team": "t", "project": "p", "model": "m", "pue": 1.2, "labels": {"name": "digits"}}
        ledger.event(event(event_id=f"{number}-s", type="start", hardware=GPUS, **names, **said))
        ledger.event(*(event(event_id=f"{number}-{n}", **names) for n in range(100)))
        ledger.event(event(event_id=f"{number}-e", type="stop", **names))
        ledger.read(sample(run_id=names["run_id"], seq=number))
    shard = ledger.flush().shards[0]
    shard.dump()
    ledger.read(sample(run_id="other", seq=99)).flush()

    kept = [len(state) for state in shard.dump()[1][3]][:20]

    assert max(kept) < 2_000
