"""A journaled job is the job: same items, same state, whatever is killed, and little is kept an epoch."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kappawatt.errors import SettingsError, StateError
from kappawatt.stream.job import Ending, Item, Job, Step
from kappawatt.stream.journal import Journal, Ring, journaled
from kappawatt.stream.outbox import Outbox, Outlet
from kappawatt.stream.ticks import TICK, is_tick

KEYS = ("a", "b", "c")
RINGS = {key: Ring(f"{key}.base", tuple(f"{key}.{slot}" for slot in range(3))) for key in KEYS}


class Diary:
    """Folds the values of an epoch, in any order, into a history, and tells of each fold and to the next step."""

    def __init__(self, key: str, state: Any, onward: str | None) -> None:
        self._key, self._onward = key, onward
        self._history, outbox, self._tell = state if state is not None else ([], (), [])
        self._history, self._tell = list(self._history), list(self._tell)
        self._outbox = Outbox(*outbox)
        self._new: list[int] = []
        self._awake = False

    def on_batch(self, values: list[Any]) -> list[Item]:
        items: list[Item] = [(self._key, outlet) for outlet in self._outbox.release()]
        items += [(self._onward, value) for value in self._tell if self._onward]
        self._tell, self._awake = [], True
        self._new += [value for value in values if not is_tick(value)]
        return items

    def has_more(self) -> bool:
        return bool(self._history) and sum(self._history[-1]) > 12  # big epochs echo in an empty one

    def fold(self, *, quiet: bool = False) -> None:
        self._history.append(tuple(sorted(self._new)))
        if quiet:
            self._outbox.skip()
        else:
            self._outbox.put({"t": [(len(self._history), sum(self._new))]}, {})
            self._tell.append(sum(self._new))
        self._new, self._awake = [], False

    def snapshot(self) -> Any:
        if self._awake and (self._new or self.has_more()):
            self.fold()
        return self.dump()

    def dump(self) -> Any:
        return (list(self._history), self._outbox.dump(), list(self._tell))


def plain() -> Job:
    onward = Step("second", ("z",), lambda key, state: Diary(key, state, None))
    return Job("diaries", (), (Step("first", KEYS, lambda key, state: Diary(key, state, "z")), onward))


def kept_small(limit_bytes: int, era: str = "") -> Job:
    rings = {"z": Ring("z.base", ("z.0", "z.1"))}
    both = {
        "first": Journal(RINGS, pickle.dumps, pickle.loads),
        "second": Journal(rings, pickle.dumps, pickle.loads),
    }
    return journaled(plain(), both, era=era, limit_bytes=limit_bytes)


class Engine:
    """The least that an engine does: wakes keys, keeps what they say at the end of an epoch, builds anew from it."""

    def __init__(self, make: Callable[[], Job]) -> None:
        self._make = make
        self.kept: dict[tuple[str, str], bytes] = {}
        self.written: list[dict[tuple[str, str], bytes]] = []
        self.start()

    def start(self, *, hears_late: bool = False) -> None:
        self._job: Job = self._make()
        self.logics: dict[tuple[str, str], Any] = {}
        self._unheard = {of: pickle.loads(kept) for of, kept in self.kept.items()}
        self._heard: dict[tuple[str, str], Any] = {}
        self._starting = 2
        if not hears_late:
            self._hear()

    def epoch(self, cuts: list[list[Item]], *, commit: bool = True, end: bool = False) -> list[Item]:
        """One epoch: items in some activations. What leaves the job."""
        woken: set[tuple[str, str]] = set()
        out: list[Item] = []
        ticks = [(key, TICK) for step in self._job.steps[:1] for key in step.keys] + [("z", TICK)]
        for items in (ticks if self._starting > 0 else [("z", TICK)], *cuts):
            out += self._pass(items, woken)
        self._hear()
        self._starting -= 1
        for step in self._job.steps if end else ():
            for (step_id, _), logic in list(self.logics.items()):
                if step_id == step.step_id and isinstance(logic, Ending):
                    out += self._pass(logic.on_end(), woken)
            woken |= {of for of in self.logics if of[0] == step.step_id}
        snapshots = {of: pickle.dumps(self.logics[of].snapshot()) for of in sorted(woken)}
        if end:  # it asks keys that it never built for what they were built with
            snapshots |= {of: pickle.dumps(state) for of, state in self._heard.items()}
        if commit:
            self.kept |= snapshots
            self.written.append(snapshots)
        return out

    def _hear(self) -> None:
        steps = {step.step_id: step for step in self._job.steps}
        for of in list(self._unheard):
            self._heard[of] = steps[of[0]].hear(self._unheard.pop(of))

    def _pass(self, items: list[Item], woken: set[tuple[str, str]]) -> list[Item]:
        out = [item for item in items if isinstance(item[1], Outlet)]
        for step in self._job.steps:
            for key in step.keys:
                values = [value for name, value in items if name == key and not isinstance(value, Outlet)]
                if not values:
                    continue
                of = (step.step_id, key)
                if of not in self.logics:
                    if of in self._unheard:
                        self._heard[of] = step.hear(self._unheard.pop(of))
                    self.logics[of] = step.build(key, self._heard.pop(of, None))
                woken.add(of)
                made = self.logics[of].on_batch(values)
                out += [item for item in made if isinstance(item[1], Outlet)]
                items = items + [item for item in made if not isinstance(item[1], Outlet)]
        return out


values = st.tuples(st.sampled_from(KEYS), st.integers(0, 9))
epochs = st.lists(
    st.tuples(
        st.lists(st.lists(values, max_size=4), max_size=3),
        st.sampled_from(["go on", "go on", "go on", "kill before the commit", "kill after it", "drain"]),
    ),
    max_size=25,
)


def play(engine: Engine, plan: Any, *, hears_late: bool = False) -> list[list[Item]]:
    shown = []
    for cuts, fate in plan:
        shown.append(engine.epoch(cuts, commit=fate != "kill before the commit", end=fate == "drain"))
        if fate != "go on":
            engine.start(hears_late=hears_late)
    return [*shown, engine.epoch([]), engine.epoch([])]


@given(epochs, st.sampled_from([0, 60, 1 << 30]))
@settings(max_examples=300)
def test_journaled_job_gives_what_the_job_gives(plan: Any, limit_bytes: int) -> None:
    journaled_engine, engine = Engine(lambda: kept_small(limit_bytes)), Engine(plain)

    assert play(journaled_engine, plan) == play(engine, plan)


@given(epochs)
def test_state_that_is_heard_after_the_first_messages_is_waited_for(plan: Any) -> None:
    late, engine = Engine(lambda: kept_small(60)), Engine(plain)

    play(late, plan, hears_late=True)
    play(engine, plan)

    assert taken(late) == taken(engine)


def taken(engine: Engine) -> dict[str, list[int]]:
    """By key of the first step all values that are in its state after a drain and a start."""
    engine.epoch([], end=True)
    engine.start()
    engine.epoch([])
    logics = {key: engine.logics["first", key] for key in KEYS}
    diaries = {key: getattr(logic, "_logic", logic) for key, logic in logics.items()}
    return {key: sorted(value for fold in diary._history for value in fold) for key, diary in diaries.items()}


def test_an_epoch_keeps_what_came_and_seldom_the_whole() -> None:
    engine = Engine(lambda: kept_small(1 << 30))

    for number in range(400):
        engine.epoch([[("a", number)]])

    bytes_an_epoch = [sum(map(len, states.values())) for states in engine.written[-100:]]
    assert sorted(bytes_an_epoch)[30] < 800
    assert len(engine.kept) <= len(KEYS) * 5 + 4


def test_keys_do_not_send_their_whole_state_in_one_epoch() -> None:
    engine = Engine(lambda: kept_small(1 << 30))

    for _ in range(12):
        engine.epoch([[(key, 1) for key in KEYS]])

    bases = [sorted(key for _, key in states if key in ("a.base", "b.base", "c.base")) for states in engine.written]
    assert bases[5:8] in (
        [["a.base"], ["b.base"], ["c.base"]],
        [["b.base"], ["c.base"], ["a.base"]],
        [["c.base"], ["a.base"], ["b.base"]],
    )


def test_messages_of_other_settings_are_refused() -> None:
    rules = ["lateness 5"]
    engine = Engine(lambda: kept_small(1 << 30, rules[0]))
    engine.epoch([[("a", 1)]])
    rules[0] = "lateness 7"
    engine.start()

    with pytest.raises(SettingsError, match="lateness 5; now lateness 7"):
        engine.epoch([])


def test_drained_state_is_taken_over_by_other_settings() -> None:
    rules = ["lateness 5"]
    engine = Engine(lambda: kept_small(1 << 30, rules[0]))
    engine.epoch([[("a", 1)]], end=True)
    rules[0] = "lateness 7"
    engine.start()

    assert [outlet.rows for _, outlet in engine.epoch([])] == [{"t": [(1, 1)]}]


def test_missing_journal_ends_the_job() -> None:
    engine = Engine(lambda: kept_small(1 << 30))
    engine.epoch([[("a", 1)]])
    engine.kept = {of: kept for of, kept in engine.kept.items() if of[0] != "first_journal"}
    engine.start()

    for _ in range(30):
        engine.epoch([[("a", 2)]])
    with pytest.raises(StateError, match="journal of a from flush 0 to 1 is not where its key is"):
        engine.epoch([[("a", 2)]])


def test_missing_journal_ends_a_drain() -> None:
    engine = Engine(lambda: kept_small(1 << 30))
    engine.epoch([[("a", 1)]])
    engine.kept = {of: kept for of, kept in engine.kept.items() if of[0] != "first_journal"}
    engine.start()

    with pytest.raises(StateError, match="journal of a"):
        engine.epoch([], end=True)


def test_other_format_is_refused() -> None:
    engine = Engine(lambda: kept_small(1 << 30))
    engine.epoch([[("a", 1)]])
    of = ("first", "a")
    engine.kept[of] = pickle.dumps((99, *pickle.loads(engine.kept[of])[1:]))
    engine.start()

    with pytest.raises(StateError, match="format 99, this release reads 2"):
        engine.epoch([])


def test_a_start_after_a_kill_sends_no_base_that_is_not_due() -> None:
    engine = Engine(lambda: kept_small(1 << 30))
    engine.epoch([[("a", 1)]])
    for _ in range(3):
        engine.start()
        engine.epoch([])

    engine.epoch([[("a", 2)]])

    assert not [key for states in engine.written for _, key in states if key.endswith(".base")]
    assert taken(engine)["a"] == [1, 2]


def test_what_was_heard_is_not_held_twice() -> None:
    engine = Engine(lambda: kept_small(0))
    for number in range(5):
        engine.epoch([[("a", number)]])

    engine.start()

    assert all(state[4] is None for (step, _), state in engine._heard.items() if step == "first_journal")


def test_state_of_the_first_format_is_taken_over() -> None:
    engine = Engine(lambda: kept_small(1 << 30))
    engine.epoch([[("a", 1)]])
    for of, kept in engine.kept.items():
        state = pickle.loads(kept)
        engine.kept[of] = pickle.dumps((1, *state[1:-1]) if of == ("first", "a") else (1, *state[1:]))

    engine.start()

    assert taken(engine)["a"] == [1]
