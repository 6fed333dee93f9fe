"""The numbers that programs tell Prometheus: served whole, documented, true."""

import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from kappawatt.errors import SettingsError
from kappawatt.metrics import REGISTRY, serve

ROOT = Path(__file__).parents[2]

SERVED = """
import sys
import collectors.metrics, dataflows.metrics
from kappawatt.metrics import REGISTRY, serve
from kappawatt.outlet import Outlet
from kappawatt.settings import Settings

collectors.metrics.watch(Outlet(Settings(log="file:" + sys.argv[1]), "h"))
serve("127.0.0.1:0", "test")
for family in REGISTRY.collect():
    ending = {"counter": "_total", "info": "_info"}.get(family.type, "")
    print(family.name + ending)
"""


def documented() -> dict[str, list[str]]:
    """Labels by metric, as docs/metrics.md has them."""
    text = (ROOT / "docs" / "metrics.md").read_text().partition("<!-- metrics -->")[2].partition("<!-- /metrics -->")[0]
    rows = re.findall(r"^\| `([a-z_0-9]+)` \| (.*?) ?\|", text, re.MULTILINE)
    return {name: re.findall(r"`([a-z_]+)`", labels) for name, labels in rows}


def test_all_that_is_served_is_documented_and_the_other_way_round(tmp_path: Path) -> None:
    # In a process of its own: a registry is filled once a process.
    command = [sys.executable, "-c", SERVED, str(tmp_path / "log")]
    served = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()

    assert {name for name in served if name.startswith("kappawatt_")} == documented().keys()


def test_the_answer_has_the_process_s_own_numbers() -> None:
    port = serve("127.0.0.1:0", "test")

    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()

    assert re.search(r"^process_cpu_seconds_total [0-9.]+$", text, re.MULTILINE)
    assert 'kappawatt_build_info{program="test"' in text
    assert REGISTRY.get_sample_value("process_resident_memory_bytes")


@pytest.mark.parametrize("address", ["9464", "127.0.0.1", ":9464", "127.0.0.1:99999", "127.0.0.1:http"])
def test_what_is_no_address_is_refused_with_an_example(address: str) -> None:
    with pytest.raises(SettingsError, match=r"is not HOST:PORT, for example 127\.0\.0\.1:9464"):
        serve(address, "test")


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"cannot listen on port {port}"):
            serve(f"127.0.0.1:{port}", "test")


def test_alerts_ask_for_metrics_that_there_are() -> None:
    rules = (ROOT / "k8s" / "components" / "monitoring" / "alerts.yaml").read_text()
    asked = set(re.findall(r"\bkappawatt_[a-z_0-9]+", rules))

    assert {name.removesuffix("_bucket") for name in asked} - documented().keys() == set()
