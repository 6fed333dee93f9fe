"""One flow as several commands that share nothing but the network: killed, drained, rescaled, rebuilt."""

import contextlib
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from kappawatt.stores.tables import TABLES
from tests.chaos.place import PARTITIONS, Place, Running, made
from tests.chaos.watching import Watcher
from tests.chaos.writing import knobs, script
from tests.oracle.generate import small
from tests.oracle.write_log import publish

pytestmark = [pytest.mark.stack, pytest.mark.timeout(500)]

ENDS_S = 30
"""Within which the others notice that a member is gone, and end: mostly a second."""


@pytest.fixture
def place(
    tmp_path: Path, kafka_address: str, registry_url: str, cassandra_address: str, topic_prefix: str, keyspace: str
) -> Place:
    return made(tmp_path, kafka_address, registry_url, cassandra_address, topic_prefix, keyspace)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pods:
    """The members of one flow, each a command of its own; only member 0's folder is ever kept."""

    def __init__(self, place: Place, members: int, stack: contextlib.ExitStack, *more: str, until_end: bool = False):
        self.probes = [free_port() for _ in range(members)]
        self._place, self._members, self._stack = place, members, stack
        self._more, self._until_end = more, until_end
        self._meeting = f"127.0.0.1:{free_port()}"
        self.all = [self._started(number) for number in reversed(range(members))][::-1]

    def _started(self, number: int) -> Running:
        flow = self._place.flow(
            *("--members", str(self._members), "--member", str(number), "--meeting", self._meeting),
            *("--probes", f"127.0.0.1:{self.probes[number]}"),
            *(self._more if number == 0 else ()),
            until_end=self._until_end,
            state="state" if number == 0 else f"empty-{random.random()}",
        )
        return self._stack.enter_context(flow)

    def replace(self, number: int) -> None:
        """Start one that ended anew, with nothing of its own but member 0's folder."""
        self.all[number] = self._started(number)

    def term(self, number: int) -> int:
        """Tell one to end, as Kubernetes does; its exit code."""
        self.all[number].process.send_signal(signal.SIGTERM)
        return self.all[number].process.wait(ENDS_S)

    def drain(self) -> list[int]:
        """Tell all to end; their exit codes."""
        for each in self.all:
            each.process.send_signal(signal.SIGTERM)
        return self.codes()

    def wait_for(self, condition, what: str, limit_s: float = 90) -> None:
        def holds() -> bool:
            for each in self.all:
                each.check()
            return condition()

        self.all[0].wait_for(holds, what, limit_s)

    def kill(self, number: int) -> None:
        self.all[number].kill()

    def codes(self, limit_s: float = ENDS_S) -> list[int]:
        """How each ended, once all have."""
        return [each.process.wait(limit_s) for each in self.all]

    def asked(self, number: int, path: str) -> tuple[int, str]:
        """What a member answers to a probe."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.probes[number]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode().strip()


@contextlib.contextmanager
def pods(place: Place, members: int, *more: str, until_end: bool = False) -> Iterator[Pods]:
    with contextlib.ExitStack() as stack:
        yield Pods(place, members, stack, *more, until_end=until_end)


def counted_more(place: Place, by: int = 300):
    before = place.total("counted")
    return lambda: place.total("counted") > before + by


def said(running: Running, words: Sequence[str]) -> bool:
    return any(word in running.said() for word in words)


def test_members_killed_drained_and_rescaled_come_to_the_tables_of_the_log(place: Place) -> None:
    messages = script(knobs(20261122, ticks=1_200), place.ids, PARTITIONS, asleep=[3, 8])
    codes = []
    with Watcher(place.store) as watcher, place.writer(messages, 90) as writer:
        with pods(place, 2) as two:
            two.wait_for(counted_more(place), "some samples")
            ready = [two.asked(number, "/readyz") for number in range(2)]
            for number in (1, 0):
                two.kill(number)
                two.replace(number)
                two.wait_for(counted_more(place), f"more after member {number} was killed")
            for number in (1, 0):
                codes.append(two.term(number))
                two.replace(number)
                two.wait_for(counted_more(place), f"more after member {number} was told to end")
            codes += two.drain()
        with pods(place, 3) as three:
            three.wait_for(counted_more(place), "more in three members")
            three.kill(2)
        writer.finish()
        with pods(place, 2, until_end=True) as two:
            codes += two.codes(240)

    assert ready == [(200, "ok"), (200, "ok")]
    assert codes == [0] * 6
    assert place.differing() == []
    assert watcher.wrong == []


def test_state_lost_is_rebuilt_by_all_members(place: Place) -> None:
    publish(small(31), place.kafka, place.prefix, place.ids, PARTITIONS)
    with pods(place, 2, until_end=True) as two:
        codes = two.codes(120)
    (place.folder / "state").rename(place.folder / "lost")

    with pods(place, 2, until_end=True) as two:
        codes += two.codes(120)
        words = two.all[0].said()
    by_two = answers_of(place)
    place.finish("--rebuild")

    assert codes == [0] * 4
    assert "Traceback" not in words
    assert not (place.folder / "state/rebuild.json").exists()
    assert by_two == answers_of(place)


def answers_of(place: Place) -> dict[str, list[dict[str, object]]]:
    """Every row but for its version; `restatement` is the history of one life."""
    return {
        table: [{name: value for name, value in row.items() if name != "version"} for row in place.rows(table)]
        for table in TABLES
        if table != "restatement"
    }


def test_member_waits_alive_and_not_ready_until_the_others_are_there(place: Place) -> None:
    meeting = ("--members", "2", "--meeting", f"127.0.0.1:{free_port()}")
    probes = free_port()
    with place.flow(*meeting, "--member", "1", "--probes", f"127.0.0.1:{probes}", state="empty") as alone:
        asked = Pods.__new__(Pods)
        asked.probes = [probes]
        alone.wait_for(lambda: answers(probes), "its probes")
        live, ready = asked.asked(0, "/livez"), asked.asked(0, "/readyz")
        alone.wait_for(lambda: said(alone, ["member 0 is not at"]), "its words")
        alone.process.send_signal(signal.SIGTERM)
        code = alone.process.wait(ENDS_S)

    assert live == (200, "ok")
    assert ready[0] == 503
    assert code == 0


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_member_with_other_settings_is_refused_and_junk_changes_nothing(place: Place) -> None:
    publish(small(32), place.kafka, place.prefix, place.ids, PARTITIONS)
    port = free_port()
    meeting = ("--members", "2", "--meeting", f"127.0.0.1:{port}")
    with contextlib.ExitStack() as stack:
        leader = stack.enter_context(place.flow(*meeting, "--member", "0"))
        leader.wait_for(lambda: answers(port), "member 0")
        with socket.create_connection(("127.0.0.1", port)) as junk:
            junk.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(100_000))
            time.sleep(0.2)
        other = stack.enter_context(place.flow(*meeting, "--member", "1", "--lateness-s", "7", state="other"))
        other.wait_for(lambda: said(other, ["settings are not those of member 0"]), "a refusal")
        right = stack.enter_context(place.flow(*meeting, "--member", "1", state="right"))
        leader.wait_for(lambda: place.total("counted") > 0, "samples counted by the two")
        for each in (leader, right, other):
            each.process.send_signal(signal.SIGTERM)

        assert [each.process.wait(ENDS_S) for each in (leader, right, other)] == [0, 0, 0]


def test_flow_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    program = ["kappawatt", "flow", "--log", f"file:{tmp_path}", "--members", "2", "--meeting", "127.0.0.1:7"]
    done = subprocess.run([sys.executable, "-m", *program], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "a log and a store that all reach" in done.stderr
