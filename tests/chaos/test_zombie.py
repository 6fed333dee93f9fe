"""A flow that was held up wakes after its successor has finished: it ends by itself, and no row of a table changes."""

import random
import shutil
import signal
from typing import Any

import pytest

from dataflows.process import SUPERSEDED
from tests.chaos.cql_proxy import CqlProxy, Trouble
from tests.chaos.place import PARTITIONS, Place
from tests.chaos.watching import changes, contents, pause
from tests.chaos.writing import knobs, script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

AWAKE_S = 60.0
"""So long it may live after it woke."""
ARRIVING_S = 2.0
"""So long what it had sent may need to the store, once it has ended."""
FILLING_S = 0.3
"""So long it goes on to send before it is held up."""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_flow_that_wakes_after_its_successor_ends_and_changes_no_row(
    place: Place, rng: random.Random, seed: str, facts: dict[str, Any], processes: int
) -> None:
    messages = script(knobs(rng.randrange(1 << 30), ticks=1_500), place.ids, PARTITIONS)
    with CqlProxy(place.cassandra, seed=seed, trouble=Trouble(hold_s=(0.05, 0.4))) as door:
        place.store_at = door.address
        with place.writer(messages, 60) as writer, place.flow(processes=processes) as zombie:
            writer.wait(0.3)
            zombie.wait_for(lambda: door.in_flight, "a write")
            door.freeze()
            pause(FILLING_S)
            zombie.signal(signal.SIGSTOP)
            held, before = door.in_flight, door.seen.writes
            place.store_at = place.cassandra
            refused = _refused(place)
            shutil.copytree(place.folder / "state", place.folder / "elsewhere")  # as another machine has it
            writer.finish()
            place.finish(processes=processes, state="elsewhere")
            log = place.log()
            differing, right = place.differing(log), contents(place.store)

            door.thaw()
            zombie.signal(signal.SIGCONT)
            ended = zombie.process.wait(AWAKE_S)
            pause(ARRIVING_S)
            written = door.seen.writes - before

    changed = changes(right, contents(place.store))
    facts |= {"writes held when it was stopped": held, "written after it woke": written, "it ended with": ended}
    facts["rows, and those that it changed"] = (sum(map(len, right.values())), len(changed))
    assert "is in use by" in refused
    assert "--state DIR" in refused
    assert differing == []
    assert held > 0  # they reach the store when the door opens again; what it sends itself before it ends varies
    assert ended == SUPERSEDED
    assert zombie.said().count("another flow was started on it") >= 1
    assert changed == []


def _refused(place: Place) -> str:
    """What a second flow on the same state says."""
    with place.flow() as second:
        assert second.process.wait(60) == 1
        return second.said()
