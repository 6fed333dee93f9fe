"""What members of a flow say to each other, and who may be one."""

import socket
import time

import pytest

from collectors.agent import Beat
from dataflows import main
from dataflows.answers import alive, ready
from dataflows.lines import Line, SharedMarks
from dataflows.meeting import fingerprint, place_of
from dataflows.process import Watchdog
from kappawatt.errors import SettingsError
from kappawatt.settings import FlowSettings

SETTINGS = FlowSettings(log="kafka://k:9092", store="cassandra://c:9042/kw", state="s", members=2, meeting="m:7")


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        one = socket.create_connection(door.getsockname())
        return one, door.accept()[0]


def change(**values: object) -> FlowSettings:
    known = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    return FlowSettings(**{**known, **values})


def test_marks_of_two_members_become_the_same() -> None:
    one, other = connected()
    ours, theirs = Line(one), Line(other)
    here, there = SharedMarks(ours.send), SharedMarks()

    here.open("control")
    here.open("waiting.0")
    here.shut("waiting.0")
    for _ in range(3):
        message = theirs.receive()
        assert message is not None
        assert there.hear(message)

    assert there.is_open("control")
    assert not there.any_open("waiting.")
    ours.close()
    assert theirs.receive() is None
    theirs.close()


def test_marks_of_a_start_that_is_over_are_told_to_nobody() -> None:
    told: list[object] = []
    marks = SharedMarks(told.append)
    marks.retire()

    marks.open("waiting.0")

    assert told == []


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n", b"[1]\n", b"\xff\xfe\n", b"{" * 100_000, b'{"open"'])
def test_what_is_no_message_ends_the_line(junk: bytes) -> None:
    one, other = connected()
    line = Line(other)
    one.settimeout(5)
    one.sendall(junk)
    one.shutdown(socket.SHUT_WR)

    assert line.receive() is None
    line.close()
    one.close()


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"member": 1, "state": "elsewhere", "probes": "x:1", "rebuild": True}, True),
        ({"lateness_s": 7.0}, False),
        ({"log": "kafka://other:9092"}, False),
        ({"store": "cassandra://c:9042/other"}, False),
    ],
    ids=["own", "lateness", "log", "store"],
)
def test_members_have_in_common_what_decides_about_rows(values: dict[str, object], same: bool) -> None:
    assert (fingerprint(change(**values)) == fingerprint(SETTINGS)) is same


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"meeting": None}, "need it"),
        ({"meeting": "flow-0"}, "HOST:PORT"),
        ({"member": 2}, "member=2 of members=2"),
        ({"members": 9}, "8 at most"),
        ({"processes": 2}, "is one process"),
        ({"store": "sqlite:ledger.sqlite"}, "that all reach"),
        ({"members": 1, "member": 1}, "member=1 of members=1"),
    ],
)
def test_flow_of_members_that_cannot_be_is_refused_before_anything_else(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        main.run(change(**values))


def test_place_of_a_meeting_may_be_a_name_or_an_address() -> None:
    assert place_of("flow-0.flow.kappawatt.svc:7077") == ("flow-0.flow.kappawatt.svc", 7077)
    assert place_of("[fe80::1]:7077") == ("fe80::1", 7077)


def test_flow_is_ready_while_epochs_pass_and_alive_while_it_waits() -> None:
    watchdog = Watchdog(limit_s=1e9)
    before = alive(watchdog), ready(watchdog)
    watchdog.start()
    running = alive(watchdog), ready(watchdog)
    watchdog._passed -= 40
    slow = alive(watchdog), ready(watchdog)
    with watchdog.waiting():
        watchdog._last -= 1_000
        waiting = alive(watchdog), ready(watchdog)
    watchdog._last -= 1_000
    stuck = alive(watchdog)

    assert before == (None, "starting: reading the kept state, or waiting for the other members")
    assert running == (None, None)
    assert slow == (None, "no epoch has passed for 40 s")
    assert waiting[0] is None
    assert "waiting for the store" in str(waiting[1])
    assert stuck == "no progress for 1000 s"


def test_agent_that_takes_no_turns_is_not_alive() -> None:
    class Agent:
        turned_s = -1e6
        written = 1

    agent = Agent()
    beat = Beat(agent, 1.0)
    stuck = beat.alive()
    agent.turned_s = time.monotonic()

    assert "no turn for" in str(stuck)
    assert beat.alive() is None
    assert beat.ready() is None
