"""A flow that finds a later start at its store ends with one message, and what it read since is not written."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dataflows.process import SUPERSEDED
from examples.downsampling.files import Writer
from examples.downsampling.tables import Tables
from kappawatt.stores import open_store
from kappawatt.stores.tables import TABLES
from tests.flows.flows import ROOT, Flow, kill, rows_of, wait_for
from tests.oracle.generate import small
from tests.oracle.write_log import write_files


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, which is gone in the end."""
    try:
        yield process
    finally:
        kill(process)


def shown(flow: Flow) -> dict[str, list[dict[str, object]]]:
    return {table: rows_of(flow, table) for table in TABLES}


@pytest.mark.parametrize("processes", [1, 2])
def test_flow_ends_at_the_first_write_after_a_later_start_and_changes_nothing(tmp_path: Path, processes: int) -> None:
    log = small(6)
    first = replace(log, samples={name: each[: len(each) // 2] for name, each in log.samples.items()}, append_us=None)
    write_files(first, tmp_path / "log")
    flow = Flow(log=f"file:{tmp_path / 'log'}", store=f"sqlite:{tmp_path / 'store.db'}", state=tmp_path / "state")
    said = tmp_path / "said.txt"
    half = sum(map(len, first.samples.values()))

    with said.open("w") as file, ending(flow.start(processes=processes, until_end=False, stderr=file)) as process:
        wait_for(lambda: sum(row["sent"] for row in rows_of(flow, "accounting")) == half, what="half of the log")
        with closing(open_store(flow.store)) as successor:
            fence = successor.raise_fence(time.time_ns() // 1_000)
        right = shown(flow)
        write_files(log, tmp_path / "log")  # the same files, longer
        code = process.wait(60)

    assert code == SUPERSEDED
    assert shown(flow) == right
    assert f"the store's fence is {fence} " in said.read_text()
    assert "Traceback" not in said.read_text()


def test_job_of_ones_own_ends_the_same_way(tmp_path: Path) -> None:
    now_ms, store = time.time_ns() // 1_000_000, tmp_path / "store.sqlite"
    command = [sys.executable, "-m", "examples.downsampling", "--epoch-s", "0.1"]
    command += ["--log", str(tmp_path / "log"), "--store", str(store)]
    said = tmp_path / "said.txt"

    with closing(Writer(tmp_path / "log" / "a.avro")) as writer, said.open("w") as file:
        writer.append([("meter", now_ms, 1.0)])
        with ending(subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, stderr=file)) as process:
            wait_for(lambda: rows(store, "accounting") != [], what="the first row")
            with closing(Tables(store)) as successor:
                successor.raise_fence(time.time_ns() // 1_000)
            right = {table: rows(store, table) for table in ("window", "late", "accounting", "letter")}
            writer.append([("meter", now_ms + 1, 2.0)])
            code = process.wait(60)

    assert code == SUPERSEDED
    assert {table: rows(store, table) for table in right} == right
    assert "another flow was started on it" in said.read_text()


def rows(store: Path, table: str) -> list[tuple[object, ...]]:
    if not store.exists():
        return []
    with closing(Tables(store)) as tables:
        return tables.rows(table)
