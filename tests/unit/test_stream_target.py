"""The guard of a start: it asks for the fence when it must, and no write gets by once a later start is there."""

import pytest

from kappawatt.errors import Superseded
from kappawatt.stream.target import ASK_AGAIN_US, FenceGuard
from kappawatt.testing import ManualRuntime, MemoryStore
from kappawatt.testing.store import MemorySession


class Counting(MemorySession):
    """A session that counts how often its fence is asked for."""

    asked = 0

    def fence(self) -> int:
        self.asked += 1
        return super().fence()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def session(store: MemoryStore) -> Counting:
    return Counting(store)


@pytest.fixture
def clock() -> ManualRuntime:
    return ManualRuntime()


@pytest.fixture
def guard(session: Counting, clock: ManualRuntime) -> FenceGuard:
    return FenceGuard(session, session.raise_fence(0), clock.monotonic_us)


def test_guard_asks_before_the_first_write_of_each_epoch_and_not_again(guard: FenceGuard, session: Counting):
    for _ in range(3):
        for _ in range(5):
            guard.before_write()
        guard.end_epoch()

    assert session.asked == 3


def test_guard_asks_again_when_much_time_has_passed(guard: FenceGuard, session: Counting, clock: ManualRuntime):
    guard.before_write()
    clock.advance(ASK_AGAIN_US)
    guard.before_write()
    early = session.asked
    clock.advance(1)
    guard.before_write()

    assert (early, session.asked) == (1, 2)


def test_later_start_is_noticed_in_the_next_epoch(guard: FenceGuard, store: MemoryStore):
    guard.before_write()
    store.raise_fence(0)
    guard.before_write()  # within the epoch: what leaves in it, the later start writes as well

    guard.end_epoch()

    with pytest.raises(Superseded):
        guard.before_write()


def test_later_start_is_noticed_after_a_long_hold_within_the_epoch(
    guard: FenceGuard, store: MemoryStore, clock: ManualRuntime
):
    guard.before_write()
    store.raise_fence(0)
    clock.advance(ASK_AGAIN_US + 1)

    with pytest.raises(Superseded):
        guard.before_write()


def test_refusal_says_what_was_asked_what_was_found_and_what_to_do(session: Counting, clock: ManualRuntime):
    noon_us = 1_763_812_800_000_000
    guard = FenceGuard(session, session.raise_fence(noon_us), clock.monotonic_us)
    session.raise_fence(noon_us + 90_000_000)

    with pytest.raises(Superseded) as refused:
        guard.before_write()

    said = str(refused.value)
    assert f"with fence {noon_us} (2025-11-22 12:00:00 UTC)" in said
    assert f"the store's fence is {noon_us + 90_000_000} (2025-11-22 12:01:30 UTC)" in said
    assert "end it before this one is started again" in said
