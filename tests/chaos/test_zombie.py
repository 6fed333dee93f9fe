"""A flow that was held up wakes after its successor has finished: no row that the successor wrote changes."""

import random
import shutil
import signal
import subprocess
from typing import Any

import pytest

from tests.chaos.cql_proxy import CqlProxy, Trouble
from tests.chaos.place import PARTITIONS, Place
from tests.chaos.watching import changes, contents, pause
from tests.chaos.writing import knobs, script

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

AWAKE_S = 12.0
"""So long it may write after it woke."""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_flow_that_wakes_changes_no_row_that_its_successor_wrote(
    place: Place, rng: random.Random, seed: str, facts: dict[str, Any], cassandra_session: Any, processes: int
) -> None:
    messages = script(knobs(rng.randrange(1 << 30), ticks=1_500), place.ids, PARTITIONS)
    with CqlProxy(place.cassandra, seed=seed, trouble=Trouble(hold_s=(0.05, 0.4))) as door:
        place.store_at = door.address
        with place.writer(messages, 60) as writer, place.flow(processes=processes) as zombie:
            writer.wait(0.3)
            zombie.wait_for(lambda: door.in_flight, "a write")
            door.freeze()
            zombie.signal(signal.SIGSTOP)
            held, before = door.in_flight, door.seen.writes
            place.store_at = place.cassandra
            refused = _refused(place)
            shutil.copytree(place.folder / "state", place.folder / "elsewhere")  # as another machine has it
            writer.finish()
            place.finish(processes=processes, state="elsewhere")
            log = place.log()
            fence = _fence(cassandra_session, place)
            differing, right = place.differing(log), contents(place.store)

            door.thaw()
            zombie.signal(signal.SIGCONT)
            pause(AWAKE_S)
            written = door.seen.writes - before
            ended = _end(zombie.process)

    changed = changes(right, contents(place.store))
    facts |= {"writes held when it was stopped": held, "written after it woke": written, "it ended with": ended}
    facts["other rows that it changed"] = [text.split(" ")[0] for _, text in changed]
    assert "is in use by" in refused
    assert "--state DIR" in refused
    assert differing == []
    assert held > 0
    assert written > 0
    assert fence > 0
    assert [text for version, text in changed if version >= fence] == []


def _fence(session: Any, place: Place) -> int:
    """Of the start that finished last; all its versions are above it."""
    return int(session.execute(f"SELECT number FROM {place.keyspace}.meta WHERE name = 'fence'").one()[0])


def _refused(place: Place) -> str:
    """What a second flow on the same state says."""
    with place.flow() as second:
        assert second.process.wait(60) == 1
        return second.said()


def _end(process: "subprocess.Popen[str]") -> int:
    """The exit code, of itself or after SIGTERM."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return process.wait(90)
