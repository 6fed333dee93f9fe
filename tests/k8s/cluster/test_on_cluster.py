"""On a real cluster: from nothing to a run in the store, whose total is what the training measured of itself."""

import json
from typing import Any

import pytest

from tests.k8s.cluster.conftest import NAMESPACES, OVERLAY, Cluster

pytestmark = [pytest.mark.timeout(1_500)]

MAIN = NAMESPACES[0]


def told_by_training(cluster: Cluster) -> dict[str, Any]:
    """The last words of the training: its own sum."""
    lines = cluster.kubectl("-n", MAIN, "logs", "job/training", "--tail", "-1").splitlines()
    found: dict[str, Any] = {}
    for line in lines:
        if line.startswith("{"):
            found |= json.loads(line)
    return found


def total(cluster: Cluster, run_id: str) -> dict[str, Any]:
    return json.loads(cluster.in_flow("kappawatt", "show", run_id, "--json"))["total"]


def test_from_nothing_all_of_it_comes_up(cluster: Cluster) -> None:
    cluster.wait_for(lambda: cluster.ready(2), "two members that pass epochs", 900)
    for kind in ("deployment/dash", "deployment/registry"):
        cluster.kubectl("-n", MAIN, "rollout", "status", kind, "--timeout", "300s", limit_s=320)
    cluster.kubectl("-n", NAMESPACES[1], "rollout", "status", "daemonset/collector", "--timeout", "300s", limit_s=320)
    print(cluster.pods())


def test_second_apply_changes_nothing(cluster: Cluster) -> None:
    rendered = cluster.kubectl("kustomize", str(OVERLAY))

    assert cluster.kubectl("diff", "--server-side", "-f", "-", given=rendered) == ""


def test_total_of_the_training_is_its_own_sum(cluster: Cluster) -> None:
    cluster.kubectl("-n", MAIN, "wait", "job/training", "--for=condition=complete", "--timeout", "600s", limit_s=620)
    own = told_by_training(cluster)
    run_id, energy_uj = own["run_id"], own["summary"]["energy_uj"]

    cluster.wait_for(lambda: (total(cluster, run_id) or {}).get("energy_uj") == energy_uj, f"{energy_uj} µJ", 120)
