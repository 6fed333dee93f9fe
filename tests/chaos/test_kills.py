"""SIGKILL at random moments, most of them with writes in flight, and no table differs from the oracle's."""

import random
import time
from typing import Any

import pytest

from tests.chaos.cql_proxy import CqlProxy, Trouble
from tests.chaos.options import KILLS
from tests.chaos.place import PARTITIONS, FlowFailed, Place, Running
from tests.chaos.watching import Watcher
from tests.chaos.writing import knobs, script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

IN_FLIGHT_SHARE = 0.8
"""So many of the kills must fall into an epoch with unacknowledged writes."""
PER_KILL_S = {1: 6.0, 2: 12.0}
"""For which the log grows, by processes: more than a start, its two seconds of work and its end take."""
HOLD_S = (0.05, 0.6)
"""Answers to writes are held back so long: on loopback they would come within a millisecond."""


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random_moments_it_comes_to_the_same_tables(
    place: Place, rng: random.Random, seed: str, facts: dict[str, Any], processes: int
) -> None:
    kills = KILLS // 2
    messages = script(knobs(rng.randrange(1 << 30), ticks=3_000), place.ids, PARTITIONS, asleep=[3, 8])
    at_death: list[int] = []
    with CqlProxy(place.cassandra, seed=seed, trouble=Trouble(hold_s=HOLD_S)) as door:
        place.store_at = door.address
        with (
            Watcher(place.store) as watcher,
            place.writer(messages, PER_KILL_S[processes] * kills) as writer,
        ):
            for number in range(kills):
                with place.flow(processes=processes) as flow:
                    at_death.append(_kill_at_random(flow, door, rng, anywhere=number % 10 == 9))
            share = writer.share
            writer.finish()
            place.finish(processes=processes)

    log = place.log()
    in_flight = sum(1 for number in at_death if number)
    facts |= {"kills": kills, "with writes in flight": in_flight, "most at once": max(at_death)}
    facts |= {"log written by the last kill": f"{share:.0%}", "records": sum(map(len, log.samples.values()))}
    facts |= {"row changes watched": watcher.steps, "wrong": len(watcher.wrong)}
    assert place.differing(log) == []
    assert watcher.wrong == []
    assert watcher.steps > 2 * kills
    assert in_flight >= IN_FLIGHT_SHARE * kills


def _kill_at_random(flow: Running, door: CqlProxy, rng: random.Random, *, anywhere: bool) -> int:
    """Kill it, and tell how many of its writes had no answer at that moment.

    *anywhere*: in the first seconds after the start, whatever it does. Else within two seconds after its first write,
    and then at the next moment with a write in flight.
    """
    if anywhere:
        time.sleep(rng.uniform(0, 4))
    else:
        flow.wait_for(lambda: door.in_flight, "a write")
        time.sleep(rng.uniform(0, 2))
        until = time.monotonic() + 15
        while not door.in_flight and time.monotonic() < until:
            time.sleep(0.001)
    flow.check()
    door.freeze()  # so that no answer comes between the counting and the kill
    writes = door.in_flight
    flow.kill()
    door.thaw()
    return writes


def test_a_flow_that_ends_by_itself_is_not_taken_for_killed(place: Place) -> None:
    place.registry = "http://127.0.0.1:1/nothing"

    with place.flow() as flow, pytest.raises(FlowFailed, match="cannot be reached"):
        flow.wait_for(lambda: False, "its end")
