"""The benchmark on real Kafka: ours passes the identity check of a catch-up, of a paced run, and after a kill -9."""

from pathlib import Path

import pytest

from benchmarks.harness import engines
from benchmarks.harness.cluster import Cluster
from benchmarks.harness.data import prepared
from benchmarks.harness.live import latency, recovery
from benchmarks.harness.measures import catchup
from benchmarks.harness.shape import Shape

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

LIMIT_S = 90.0


@pytest.fixture
def cluster(kafka_address: str, registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return Cluster(kafka_address, registry_url)


def test_catch_up_of_ours_is_what_the_oracle_expects(cluster: Cluster) -> None:
    data = prepared(cluster, Shape(ticks=60_000))
    assert data.counts["duplicate"] > 200

    (record,) = catchup(engines.load("kappawatt"), cluster, data, passes=1, limit_s=LIMIT_S)

    assert record["identity"] == "ok", record
    assert record["cpu_s"] > 0
    assert record["peak_bytes"] > 50_000_000


def test_paced_run_of_ours_has_every_row_soon(cluster: Cluster) -> None:
    (record,) = latency(engines.load("kappawatt"), cluster, rate=3_000, seconds=12, limit_s=LIMIT_S)

    assert record["identity"] == "ok", record
    assert record["rows"] > 50
    assert 0 < record["p50_s"] < 30


def test_ours_goes_on_after_a_kill_and_has_all_rows(cluster: Cluster) -> None:
    (record,) = recovery(engines.load("kappawatt"), cluster, rate=3_000, seconds=12, limit_s=LIMIT_S)

    assert record["identity"] == "ok", record
    assert record["first_row_s"] > 0


def test_check_names_what_a_shortened_log_lacks(cluster: Cluster) -> None:
    data = prepared(cluster, Shape(ticks=3_000, devices=1, hosts=15, runs=3))
    data.expected["run-999|5|0"] = {"energy_uj": 1}
    data.counts["duplicate"] += 1

    (record,) = catchup(engines.load("kappawatt"), cluster, data, passes=1, limit_s=LIMIT_S)

    assert record["identity"] == "differs"
    assert record["why"][0] == "run-999|5|0 is missing"
    assert record["why"][-1].startswith("duplicate: counted")
