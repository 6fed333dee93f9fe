"""What must hold of every rendered overlay. A policy gives what breaks it, in words; nothing means that it holds."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import kubernetes_validate

from kappawatt import rights, settings
from kappawatt.errors import SettingsError

Object = dict[str, Any]
Policy = Callable[[list[Object]], list[str]]

VERSION = "1.34"
COLLECTORS = "kappawatt-collectors"
OURS = "kappawatt"
SERVERS = {"kafka", "registry", "cassandra"}
PODS_OF = ("Deployment", "StatefulSet", "DaemonSet", "Job")
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|PRIVATE|CREDENTIAL", re.IGNORECASE)
USER_IN_URL = re.compile(r"://[^/@\s]+:[^/@\s]+@")


def called(thing: Object) -> str:
    return f"{thing['kind']} {thing['metadata'].get('namespace', '')}/{thing['metadata']['name']}"


def of_kind(things: list[Object], *kinds: str) -> list[Object]:
    return [thing for thing in things if thing["kind"] in kinds]


def pods(things: list[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name and whole of what makes pods, and the spec of its pods."""
    for thing in of_kind(things, *PODS_OF):
        yield called(thing), thing, thing["spec"]["template"]["spec"]


def containers(things: list[Object]) -> Iterator[tuple[str, Object, Object, Object]]:
    for name, thing, spec in pods(things):
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            yield f"{name} {container['name']}", thing, spec, container


def environment(things: list[Object], container: Object, namespace: str) -> dict[str, str]:
    """The literal settings that a container gets, of its own and of its ConfigMaps."""
    found: dict[str, str] = {}
    maps = {(m["metadata"]["namespace"], m["metadata"]["name"]): m for m in of_kind(things, "ConfigMap")}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            found |= maps.get((namespace, source["configMapRef"]["name"]), {}).get("data", {})
    return found | {each["name"]: each.get("value", "") for each in container.get("env", [])}


def labels(thing: Object) -> Mapping[str, str]:
    return thing["spec"]["template"]["metadata"].get("labels", {})


def chosen(selector: Object, by: Mapping[str, str]) -> bool:
    """Whether a label selector takes what carries the labels *by*."""
    wanted = selector.get("matchLabels", {})
    asked = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in asked), "only In is known here"
    exact = all(by.get(name) == value for name, value in wanted.items())
    return exact and all(by.get(each["key"]) in each["values"] for each in asked)


# --- the policies -----------------------------------------------------------------------------------------------------


def follows_the_schema(things: list[Object]) -> list[str]:
    """Every object is one that Kubernetes knows, with no field that it does not."""
    wrong = []
    for thing in things:
        try:
            kubernetes_validate.validate(thing, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{called(thing)}: {error.message}")
    return wrong


def runs_as_nobody(things: list[Object]) -> list[str]:
    """All but the collectors run as a user that is not root."""
    wrong = []
    for name, thing, spec in pods(things):
        rights = spec.get("securityContext", {})
        if thing["metadata"]["namespace"] != COLLECTORS and (not rights.get("runAsNonRoot") or not rights["runAsUser"]):
            wrong.append(f"{name} may run as root")
    return wrong


def has_no_rights(things: list[Object]) -> list[str]:
    """No container has a capability, can gain one, or makes system calls beyond the runtime's own list."""
    wrong = []
    for name, _, spec, container in containers(things):
        rights = container.get("securityContext", {})
        if rights.get("capabilities", {}) != {"drop": ["ALL"]}:
            wrong.append(f"{name} keeps capabilities")
        if rights.get("allowPrivilegeEscalation") is not False or rights.get("privileged"):
            wrong.append(f"{name} can gain rights")
        if spec.get("securityContext", {}).get("seccompProfile") != {"type": "RuntimeDefault"}:
            wrong.append(f"{name} has no seccomp profile")
    return wrong


def writes_to_volumes_only(things: list[Object]) -> list[str]:
    """The root is read-only, /tmp is a volume, and what is in memory or on the node's disk for a while is bounded."""
    wrong = []
    for name, _, spec, container in containers(things):
        if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
            wrong.append(f"{name} can write its root")
        if "/tmp" not in [mount["mountPath"] for mount in container.get("volumeMounts", [])]:
            wrong.append(f"{name} has no /tmp")
        wrong += [
            f"{name}: {volume['name']} has no size limit"
            for volume in spec.get("volumes", [])
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]
        ]
    return wrong


def sees_no_host(things: list[Object]) -> list[str]:
    """Folders of the host are for collectors, read-only but for their spool; its network and processes for nobody."""
    wrong = []
    for name, thing, spec in pods(things):
        wrong += [f"{name} has {each}" for each in ("hostNetwork", "hostPID", "hostIPC") if spec.get(each)]
        folders = {v["name"]: v["hostPath"]["path"] for v in spec.get("volumes", []) if "hostPath" in v}
        if folders and thing["metadata"]["namespace"] != COLLECTORS:
            wrong.append(f"{name} mounts the host's {', '.join(folders.values())}")
        for mount in (mount for container in spec["containers"] for mount in container["volumeMounts"]):
            path = folders.get(mount["name"])
            if path not in (None, "/var/lib/kappawatt") and not mount.get("readOnly"):
                wrong.append(f"{name} can write the host's {path}")
    return wrong


def is_told_nothing_by_the_cluster(things: list[Object]) -> list[str]:
    """No token of the API; no variables about services, which would be unknown settings."""
    return [
        f"{name} has {each}"
        for name, _, spec in pods(things)
        for each in ("automountServiceAccountToken", "enableServiceLinks")
        if spec.get(each) is not False
    ]


def asks_for_what_it_needs(things: list[Object]) -> list[str]:
    """Requests for processor and memory, and a limit for memory."""
    wrong = []
    for name, _, _, container in containers(things):
        has = container.get("resources", {})
        missing = {"cpu", "memory"} - has.get("requests", {}).keys() or {"memory"} - has.get("limits", {}).keys()
        wrong += [f"{name} says nothing of its {each}" for each in sorted(missing)]
    return wrong


def answers_probes(things: list[Object]) -> list[str]:
    """What runs for good is probed for its start, its life and its work; ours by two different questions."""
    wrong = []
    for name, thing, _, container in containers(things):
        if thing["kind"] == "Job":
            continue
        probes = {kind: container.get(f"{kind}Probe", {}) for kind in ("startup", "liveness", "readiness")}
        wrong += [f"{name} has no {kind} probe" for kind, probe in probes.items() if not probe]
        live, ready = (probes[kind].get("httpGet", {}).get("path") for kind in ("liveness", "readiness"))
        if container["name"] == OURS and (live is None or live == ready):
            wrong.append(f"{name} is asked the same for life and work: {live}")
    return wrong


def outlives_a_drained_node(things: list[Object]) -> list[str]:
    """Each of ours has a disruption budget that can be kept, and its pods are spread over nodes."""
    wrong = []
    budgets = of_kind(things, "PodDisruptionBudget")
    for name, thing, spec in pods(things):
        if thing["kind"] not in ("Deployment", "StatefulSet") or spec["containers"][0]["name"] != OURS:
            continue
        mine = [b["spec"] for b in budgets if chosen(b["spec"]["selector"], labels(thing))]
        if len(mine) != 1:
            wrong.append(f"{name} has {len(mine)} disruption budgets")
        for budget in mine:
            if budget.get("maxUnavailable") == 0 or budget.get("minAvailable", 0) >= thing["spec"]["replicas"]:
                wrong.append(f"{name}: no node under it could ever be drained")
        if not any(chosen(each["labelSelector"], labels(thing)) for each in spec.get("topologySpreadConstraints", [])):
            wrong.append(f"{name} may lie on one node whole")
    return wrong


def names_its_image(things: list[Object]) -> list[str]:
    """Every image is a certain one: by digest, or by a tag that is not `latest`."""
    found = [(name, container["image"]) for name, _, _, container in containers(things)]
    certain = re.compile(r"[a-z0-9./-]+/[a-z0-9-]+(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$")
    return [f"{name} runs {image}" for name, image in found if not certain.match(image)]


def holds_no_secret(things: list[Object]) -> list[str]:
    """Secrets are referred to, never written down: not as objects, variables, settings or in addresses."""
    wrong = [f"{called(thing)} is written down" for thing in of_kind(things, "Secret")]
    for thing in of_kind(things, "ConfigMap"):
        wrong += [
            f"{called(thing)} holds {name}"
            for name, value in thing.get("data", {}).items()
            if SECRET.search(name) or USER_IN_URL.search(value)
        ]
    for name, _, _, container in containers(things):
        wrong += [
            f"{name} is given {each['name']}"
            for each in container.get("env", [])
            if "value" in each and (SECRET.search(each["name"]) or USER_IN_URL.search(each["value"]))
        ]
    return wrong


def comes_as_itself(things: list[Object]) -> list[str]:
    """Where servers ask for a log-in, each program has that of its own role and no other's."""
    roles = {role.name for role in rights.ROLES}
    given = {
        thing["metadata"]["name"]: [
            source["secretRef"]["name"] for source in container.get("envFrom", []) if "secretRef" in source
        ]
        for _, thing, _, container in containers(things)
        if container["name"] == OURS
    }
    if not any(given.values()):
        return []
    wrong = [f"{name} is no role of kappawatt.rights" for name in given if name not in roles]
    return wrong + [
        f"{name} logs in by {' and '.join(secrets) or 'nothing'}"
        for name, secrets in given.items()
        if secrets != [f"{name}-credentials"]
    ]


def denies_what_is_not_allowed(things: list[Object]) -> list[str]:
    """Each namespace with pods refuses all traffic that no other policy allows."""
    denied = {
        policy["metadata"]["namespace"]
        for policy in of_kind(things, "NetworkPolicy")
        if policy["spec"]
        == {"podSelector": {}, "policyTypes": policy["spec"]["policyTypes"]}  # all pods, and no exception
        and set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    }
    used = {thing["metadata"]["namespace"] for _, thing, _ in pods(things)}
    return [f"namespace {name} lets everything through" for name in sorted(used - denied)]


_NUMBERS = [{"port": "metrics"}]  # plain HTTP, of which nobody can make code


def lets_only_the_flow_reach_the_flow(things: list[Object]) -> list[str]:
    """Bytewax speaks pickle: who reaches a member can run code in it."""
    wrong = []
    flow = next(thing for _, thing, _ in pods(things) if thing["metadata"]["name"] == "flow")
    own = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "flow"}}}]
    for policy in of_kind(things, "NetworkPolicy"):
        if policy["metadata"]["namespace"] != OURS or not chosen(policy["spec"]["podSelector"], labels(flow)):
            continue
        wrong += [
            f"{called(policy)} lets others reach the flow: {rule}"
            for rule in policy["spec"].get("ingress", [])
            if rule.get("from") != own and not (rule.get("from") and rule.get("ports") == _NUMBERS)
        ]
    services = [s for s in of_kind(things, "Service") if chosen({"matchLabels": s["spec"]["selector"]}, labels(flow))]
    wrong += [f"{called(s)} is no headless service" for s in services if s["spec"].get("clusterIP") != "None"]
    return wrong


def starts_the_flow_as_one(things: list[Object]) -> list[str]:
    """All members start at once, none is replaced alone, as many as they believe to be; a drain is given its time."""
    (flow,) = (thing for _, thing, _ in pods(things) if thing["metadata"]["name"] == "flow")
    spec, pod = flow["spec"], flow["spec"]["template"]["spec"]
    given = environment(things, pod["containers"][0], flow["metadata"]["namespace"])
    wrong = []
    if spec["podManagementPolicy"] != "Parallel" or spec["updateStrategy"] != {"type": "OnDelete"}:
        wrong.append("pods of the flow are started or replaced one by one")
    if given.get("KAPPAWATT_MEMBERS") != str(spec["replicas"]):
        wrong.append(f"{spec['replicas']} pods believe to be {given.get('KAPPAWATT_MEMBERS')} members")
    if pod["terminationGracePeriodSeconds"] < 45:
        wrong.append("the flow has no time to drain")
    (service,) = (s for s in of_kind(things, "Service") if s["metadata"]["name"] == spec["serviceName"])
    if not service["spec"].get("publishNotReadyAddresses"):
        wrong.append("members cannot find each other before they are ready")
    if "state" not in [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])]:
        wrong.append("the state goes with the pod")
    return wrong


def gives_settings_that_exist(things: list[Object]) -> list[str]:
    """Each of ours starts with what it is given: all names are known, all values can be used."""
    wrong = []
    for name, thing, _, container in containers(things):
        if container["name"] != OURS:
            continue
        given = environment(things, container, thing["metadata"]["namespace"])
        missing = {"KAPPAWATT_LOG", "KAPPAWATT_REGISTRY"} - given.keys()
        wrong += [f"{name} is not given {each}" for each in sorted(missing)]
        try:
            settings.load(environ={each: value for each, value in given.items() if each.startswith("KAPPAWATT_")})
        except SettingsError as error:
            wrong.append(f"{name}: {error}")
    return wrong


def leads_somewhere(things: list[Object]) -> list[str]:
    """ConfigMaps that are named are there, services choose pods, and every name is one object's."""
    maps = {(m["metadata"]["namespace"], m["metadata"]["name"]) for m in of_kind(things, "ConfigMap")}
    wrong = []
    for name, thing, spec, container in containers(things):
        used = [each["configMapRef"]["name"] for each in container.get("envFrom", []) if "configMapRef" in each]
        used += [volume["configMap"]["name"] for volume in spec.get("volumes", []) if "configMap" in volume]
        wrong += [f"{name}: no ConfigMap {m}" for m in used if (thing["metadata"]["namespace"], m) not in maps]
    for service in of_kind(things, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        if not any(chosen(selector, labels(thing)) for _, thing, _ in pods(things)):
            wrong.append(f"{called(service)} chooses nothing")
    names = [called(thing) for thing in things]
    return wrong + [f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]


def enforces_pod_security(things: list[Object]) -> list[str]:
    """The API server itself refuses what is not `restricted`, everywhere but at the collectors."""
    wrong = []
    there = {space["metadata"]["name"]: space["metadata"].get("labels", {}) for space in of_kind(things, "Namespace")}
    for name in sorted({thing["metadata"]["namespace"] for _, thing, _ in pods(things)}):
        wanted = "privileged" if name == COLLECTORS else "restricted"
        found = there.get(name, {}).get("pod-security.kubernetes.io/enforce")
        if found != wanted:
            wrong.append(f"namespace {name} enforces {found}, not {wanted}")
    return wrong


def ends_its_jobs(things: list[Object]) -> list[str]:
    """A Job of ours is tried again while servers come up, and is gone before the next release wants to change it."""
    wrong = []
    for name, thing, spec in pods(things):
        if thing["kind"] != "Job" or thing["metadata"]["name"] == "training":
            continue
        if spec["restartPolicy"] != "OnFailure" or thing["spec"].get("backoffLimit", 0) < 10:
            wrong.append(f"{name} gives up early")
        if "ttlSecondsAfterFinished" not in thing["spec"]:
            wrong.append(f"{name} stays for ever")
    return wrong


POLICIES: tuple[Policy, ...] = (
    follows_the_schema,
    runs_as_nobody,
    has_no_rights,
    writes_to_volumes_only,
    sees_no_host,
    is_told_nothing_by_the_cluster,
    asks_for_what_it_needs,
    answers_probes,
    outlives_a_drained_node,
    names_its_image,
    holds_no_secret,
    comes_as_itself,
    denies_what_is_not_allowed,
    lets_only_the_flow_reach_the_flow,
    starts_the_flow_as_one,
    gives_settings_that_exist,
    leads_somewhere,
    enforces_pod_security,
    ends_its_jobs,
)


def policies_named() -> dict[str, Policy]:
    return {policy.__name__: policy for policy in POLICIES}
