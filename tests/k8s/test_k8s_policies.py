"""Every overlay holds every policy, and every policy finds what is planted against it."""

import copy
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.policies import POLICIES, Object, Policy, of_kind, policies_named

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("local", "demo", "production")


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[Object]]:
    """The objects of each overlay, as `kubectl apply -k` would send them."""
    if shutil.which("kubectl") is None:
        pytest.fail("kubectl is not on this machine: see https://kubernetes.io/docs/tasks/tools/")
    found = {}
    for overlay in OVERLAYS:
        command = ["kubectl", "kustomize", str(ROOT / "k8s/overlays" / overlay)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        found[overlay] = [thing for thing in yaml.safe_load_all(done.stdout) if thing]
    return found


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_holds(rendered: dict[str, list[Object]], overlay: str, policy: Policy) -> None:
    assert policy(rendered[overlay]) == []


def test_production_runs_what_was_looked_at(rendered: dict[str, list[Object]]) -> None:
    pods = of_kind(rendered["production"], "Deployment", "StatefulSet", "DaemonSet", "Job")
    images = {each["image"] for thing in pods for each in thing["spec"]["template"]["spec"]["containers"]}

    assert all("@sha256:" in image for image in images)


def test_production_brings_no_server_along(rendered: dict[str, list[Object]]) -> None:
    names = {thing["metadata"]["name"] for thing in of_kind(rendered["production"], "Deployment", "StatefulSet")}

    assert names == {"flow", "dash"}


# --- what is planted, by policy ---------------------------------------------------------------------------------------

Plant = Callable[[list[Object]], Any]


def one(things: list[Object], kind: str, name: str) -> Object:
    (found,) = (t for t in of_kind(things, kind) if t["metadata"]["name"].startswith(name))
    return found


def pod(things: list[Object], kind: str, name: str) -> Object:
    return one(things, kind, name)["spec"]["template"]["spec"]


def container(things: list[Object], kind: str, name: str) -> Object:
    return pod(things, kind, name)["containers"][0]


def flow(things: list[Object]) -> Object:
    return container(things, "StatefulSet", "flow")


def flow_set(things: list[Object]) -> Object:
    return one(things, "StatefulSet", "flow")["spec"]


def flow_pod(things: list[Object]) -> Object:
    return pod(things, "StatefulSet", "flow")


def agent(things: list[Object]) -> Object:
    return container(things, "DaemonSet", "collector")


def settings(things: list[Object]) -> Object:
    return one(things, "ConfigMap", "kappawatt-settings")["data"]


def without_deny(things: list[Object]) -> None:
    things.remove(next(t for t in of_kind(things, "NetworkPolicy") if t["metadata"]["name"] == "nothing-else"))


def members_policy(things: list[Object]) -> Object:
    return one(things, "NetworkPolicy", "flow-members")["spec"]


def give(things: list[Object], name: str, value: str) -> None:
    flow(things)["env"].append({"name": name, "value": value})


HOST = {"name": "x", "hostPath": {"path": "/"}}
WRITTEN = {"kind": "Secret", "metadata": {"name": "x", "namespace": "kappawatt"}}
PLANTED: list[tuple[str, str, Plant]] = [
    ("follows_the_schema", "a field that is none", lambda t: pod(t, "Deployment", "dash").update(replicas=2)),
    ("follows_the_schema", "a number as text", lambda t: flow_set(t).update(replicas="two")),
    ("runs_as_nobody", "root", lambda t: pod(t, "Deployment", "dash")["securityContext"].update(runAsUser=0)),
    ("runs_as_nobody", "any user", lambda t: pod(t, "Job", "migrate")["securityContext"].pop("runAsNonRoot")),
    ("has_no_rights", "a capability", lambda t: flow(t)["securityContext"]["capabilities"].update(add=["NET_RAW"])),
    ("has_no_rights", "sudo", lambda t: flow(t)["securityContext"].pop("allowPrivilegeEscalation")),
    ("has_no_rights", "a privileged collector", lambda t: agent(t)["securityContext"].update(privileged=True)),
    ("has_no_rights", "all system calls", lambda t: flow_pod(t)["securityContext"].pop("seccompProfile")),
    (
        "writes_to_volumes_only",
        "a writable root",
        lambda t: flow(t)["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    ("writes_to_volumes_only", "no /tmp", lambda t: flow(t)["volumeMounts"].clear()),
    ("writes_to_volumes_only", "an endless folder", lambda t: flow_pod(t)["volumes"][0].update(emptyDir={})),
    ("sees_no_host", "the host's network", lambda t: pod(t, "DaemonSet", "collector").update(hostNetwork=True)),
    ("sees_no_host", "a host's folder in the flow", lambda t: flow_pod(t)["volumes"].append(HOST)),
    ("sees_no_host", "a writable /sys", lambda t: agent(t)["volumeMounts"][0].pop("readOnly")),
    (
        "is_told_nothing_by_the_cluster",
        "a token",
        lambda t: pod(t, "Deployment", "dash").pop("automountServiceAccountToken"),
    ),
    (
        "is_told_nothing_by_the_cluster",
        "service variables",
        lambda t: pod(t, "Deployment", "dash").update(enableServiceLinks=True),
    ),
    ("asks_for_what_it_needs", "no request", lambda t: flow(t)["resources"]["requests"].pop("cpu")),
    ("asks_for_what_it_needs", "no limit", lambda t: container(t, "Job", "schema")["resources"].pop("limits")),
    ("answers_probes", "no readiness", lambda t: flow(t).pop("readinessProbe")),
    ("answers_probes", "the same question twice", lambda t: flow(t)["readinessProbe"]["httpGet"].update(path="/livez")),
    ("answers_probes", "a port that is open", lambda t: flow(t).update(livenessProbe={"tcpSocket": {"port": 8081}})),
    ("outlives_a_drained_node", "no budget", lambda t: t.remove(one(t, "PodDisruptionBudget", "dash"))),
    (
        "outlives_a_drained_node",
        "a budget of nothing",
        lambda t: one(t, "PodDisruptionBudget", "flow")["spec"].update(maxUnavailable=0),
    ),
    ("outlives_a_drained_node", "all on one node", lambda t: flow_pod(t).pop("topologySpreadConstraints")),
    ("names_its_image", "latest", lambda t: flow(t).update(image="registry.example/kappawatt:latest")),
    ("names_its_image", "no tag", lambda t: flow(t).update(image="kappawatt")),
    ("holds_no_secret", "a Secret", lambda t: t.append(WRITTEN)),
    ("holds_no_secret", "a password", lambda t: give(t, "KAPPAWATT_CASSANDRA_PASSWORD", "hush")),
    (
        "holds_no_secret",
        "a password in an address",
        lambda t: settings(t).update(KAPPAWATT_REGISTRY="https://me:hush@registry"),
    ),
    (
        "comes_as_itself",
        "the flow's log-in for the page",
        lambda t: container(t, "Deployment", "dash")["envFrom"].append({"secretRef": {"name": "flow-credentials"}}),
    ),
    ("comes_as_itself", "no log-in", lambda t: container(t, "Job", "intensity")["envFrom"].pop()),
    ("denies_what_is_not_allowed", "no policy", without_deny),
    (
        "lets_only_the_flow_reach_the_flow",
        "the page",
        lambda t: members_policy(t)["ingress"][0]["from"].append({"podSelector": {}}),
    ),
    (
        "lets_only_the_flow_reach_the_flow",
        "more than the metrics",
        lambda t: one(t, "NetworkPolicy", "flow-metrics")["spec"]["ingress"][0]["ports"].append({"port": "meeting"}),
    ),
    (
        "lets_only_the_flow_reach_the_flow",
        "a service",
        lambda t: one(t, "Service", "flow")["spec"].update(clusterIP="10.0.0.9"),
    ),
    ("starts_the_flow_as_one", "one by one", lambda t: flow_set(t).update(updateStrategy={"type": "RollingUpdate"})),
    ("starts_the_flow_as_one", "a third pod", lambda t: flow_set(t).update(replicas=3)),
    ("starts_the_flow_as_one", "no time", lambda t: flow_pod(t).update(terminationGracePeriodSeconds=30)),
    ("starts_the_flow_as_one", "no volume", lambda t: flow_set(t).pop("volumeClaimTemplates")),
    ("gives_settings_that_exist", "a wrong name", lambda t: give(t, "KAPPAWATT_STOER", "x")),
    ("gives_settings_that_exist", "a wrong value", lambda t: give(t, "KAPPAWATT_IDLE_S", "soon")),
    ("leads_somewhere", "no such settings", lambda t: t.remove(one(t, "ConfigMap", "kappawatt-settings"))),
    (
        "leads_somewhere",
        "a service of nothing",
        lambda t: one(t, "Service", "dash")["spec"].update(selector={"app": "page"}),
    ),
    ("enforces_pod_security", "no verdict", lambda t: t[0]["metadata"].pop("labels")),
    ("ends_its_jobs", "a Job that stays", lambda t: one(t, "Job", "migrate")["spec"].pop("ttlSecondsAfterFinished")),
    ("ends_its_jobs", "a Job that gives up", lambda t: one(t, "Job", "schema")["spec"].update(backoffLimit=1)),
]


@pytest.mark.parametrize(("policy", "what", "plant"), PLANTED, ids=[f"{p}: {what}" for p, what, _ in PLANTED])
def test_policy_finds_what_is_planted(rendered: dict[str, list[Object]], policy: str, what: str, plant: Plant) -> None:
    things = copy.deepcopy(rendered["production"])
    plant(things)

    assert policies_named()[policy](things) != []


def test_every_policy_has_something_planted_against_it() -> None:
    assert {policy for policy, _, _ in PLANTED} == policies_named().keys()
