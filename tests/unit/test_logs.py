"""JSON lines: every word of a program on stderr is one object, the first holds the settings, none a secret."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kappawatt import cli
from kappawatt.logs import JsonLines

ROOT = Path(__file__).resolve().parents[2]


def started(tmp_path: Path, *command: str, **environ: str) -> "subprocess.Popen[str]":
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "KAPPAWATT_LOG_FORMAT": "json"}
    words = [sys.executable, "-m", "kappawatt", *command]
    return subprocess.Popen(
        words, env=env | environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def said(program: "subprocess.Popen[str]") -> list[dict[str, object]]:
    """Its lines, each of which is JSON, once it has ended."""
    _, stderr = program.communicate(timeout=60)
    return [json.loads(line) for line in stderr.splitlines()]


def test_first_line_holds_the_settings_and_no_secret(tmp_path: Path) -> None:
    login = {"KAPPAWATT_REGISTRY_USERNAME": "reader", "KAPPAWATT_REGISTRY_PASSWORD": "hunter2"}
    lines = said(started(tmp_path, "collect", "intensity", "--zone", "DEU", **login))

    assert [line["message"] for line in lines] == [
        "starting",
        "2 intensity records written to file:.kappawatt/log (Ember, CC BY 4.0)",
    ]
    assert {(line["level"], line["program"], line["logger"]) for line in lines} == {
        ("info", "collect intensity", "kappawatt")
    }
    settings = lines[0]["settings"]
    assert isinstance(settings, dict)
    assert (settings["zone"], settings["KAPPAWATT_REGISTRY_PASSWORD"]) == ("WORLD", "***")
    assert "hunter2" not in json.dumps(lines)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_line_of_a_flow_is_json_also_of_its_processes(tmp_path: Path, processes: str) -> None:
    started(tmp_path, "collect", "simulate", "--hosts", "1", "--runs", "1", "--duration", "30s").communicate(timeout=60)
    flow = started(tmp_path, "flow", "--until-end", "--processes", processes)
    lines = said(flow)

    assert flow.returncode == 0
    assert lines[0]["message"] == "starting"
    assert {line["program"] for line in lines} == {"flow"}
    assert any(str(line["message"]).startswith("flow: file:") for line in lines)


def test_error_that_ends_a_program_is_a_line_too(tmp_path: Path) -> None:
    flow = started(tmp_path, "flow", "--log", "kafka://127.0.0.1:1", "--registry", "http://127.0.0.1:1")
    last = said(flow)[-1]

    assert flow.returncode == 1
    assert last["level"] == "error"
    assert "Kafka at 127.0.0.1:1" in str(last["message"])


def test_host_agent_and_page_speak_json(tmp_path: Path) -> None:
    said(started(tmp_path, "migrate"))
    for command in (("collect", "host", "--probes", "127.0.0.1:0"), ("dash", "--no-open", "--port", "0")):
        program = started(tmp_path, *command)
        assert program.stderr is not None
        first = [json.loads(program.stderr.readline()) for _ in range(2)]
        time.sleep(0.3)
        program.send_signal(signal.SIGTERM)
        rest = said(program)

        assert first[0]["message"] == "starting"
        assert all(line["program"] == first[0]["program"] for line in first + rest)


def test_error_has_its_traceback_and_a_line_stays_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("a.b", logging.ERROR, "f", 1, "it failed:\n%s", ("why",), sys.exc_info())
    line = JsonLines("flow", 3).format(record)
    found = json.loads(line)

    assert "\n" not in line
    assert (found["message"], found["process"], found["level"]) == ("it failed:\nwhy", 3, "error")
    assert found["error"].endswith("ValueError: two\nlines")
    assert found["time"].endswith("+00:00")


def test_format_that_is_none_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert cli.main(["flow", "--log-format", "xml"]) == 2
    assert "log_format='xml' is neither text nor json; the default is text" in capsys.readouterr().err
