"""What Prometheus gets of a flow and of a host agent at work."""

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.flows.flows import ROOT, Flow, kill, rows_of, wait_for
from tests.oracle.generate import small
from tests.oracle.truth import expected_tables
from tests.oracle.write_log import write_files

Sample = tuple[str, frozenset[tuple[str, str]]]


def free_ports(count: int) -> int:
    """The first of *count* ports that follow each other and were free a moment ago."""
    for first in range(20_000, 30_000, 7):
        try:
            for port in range(first, first + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


def scraped(port: int) -> dict[Sample, float]:
    """All samples that a port serves; none while nobody listens."""
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    except (urllib.error.URLError, ConnectionError):
        return {}
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def verdicts(found: dict[Sample, float]) -> dict[tuple[str, str], int]:
    """Partition and verdict → samples."""
    pairs = [(dict(labels), value) for (name, labels), value in found.items() if name == "kappawatt_flow_samples_total"]
    return {(labels["source_partition"], labels["verdict"]): int(value) for labels, value in pairs}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_flow_tells_what_became_of_each_sample(tmp_path: Path, processes: int) -> None:
    log = small(3)
    write_files(log, tmp_path / "log")
    first = free_ports(processes)
    flags = ("--metrics", f"127.0.0.1:{first}")
    flow = Flow(
        log=f"file:{tmp_path / 'log'}", store=f"sqlite:{tmp_path / 'x.sqlite'}", state=tmp_path / "state", flags=flags
    )
    names = ("counted", "duplicate", "rejected", "dead", "lost")
    rows = expected_tables(log)["accounting"]
    ports = range(first, first + processes)
    wanted = {(key[0], name): row[name] for key, row in rows.items() for name in names}

    def told() -> dict[Sample, float]:
        return {key: value for port in ports for key, value in scraped(port).items()}

    running = flow.start(processes=processes, until_end=False)
    try:
        wait_for(lambda: verdicts(told()) == wanted, what="the oracle's verdicts")
        shown = sum(
            len(rows_of(flow, table)) for table in ("run_window_5s", "run_total")
        )  # more may come until it is asked
        found = told()
        sent = [
            value for port in ports for (name, _), value in scraped(port).items() if name == "kappawatt_flow_rows_total"
        ]
        assert sum(sent) >= shown
        assert found["kappawatt_flow_waiting_seconds", frozenset()] < 30
        assert found["kappawatt_flow_epoch_age_seconds", frozenset()] < 30
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    finally:
        kill(running)


def test_an_agent_tells_what_it_measured(tmp_path: Path) -> None:
    port = free_ports(1)
    command = [sys.executable, "-m", "kappawatt", "collect", "host", "--log", f"file:{tmp_path / 'log'}"]
    command += ["--spool", str(tmp_path / "spool"), "--period-s", "0.1", "--metrics", f"127.0.0.1:{port}"]
    agent = subprocess.Popen(command, cwd=ROOT, start_new_session=True)

    def energy_j() -> float:
        return sum(value for (name, _), value in scraped(port).items() if name == "kappawatt_agent_energy_joules_total")

    try:
        wait_for(lambda: energy_j() > 0, what="measured energy")
        before = energy_j()
        wait_for(lambda: energy_j() > before, what="more of it")
        found = scraped(port)
        assert found["kappawatt_agent_samples_total", frozenset({("attributed", "no")})] >= 2
        assert found["kappawatt_agent_trouble", frozenset()] == 0
        assert found["kappawatt_agent_lost_records_total", frozenset()] == 0
    finally:
        agent.terminate()
        assert agent.wait(30) == 0
