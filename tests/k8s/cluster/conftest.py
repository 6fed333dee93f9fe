"""A real cluster, by KUBECONFIG: `overlays/local` comes up from nothing, and goes at the end unless KEEP is set."""

import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
OVERLAY = ROOT / "k8s/overlays/local"
NAMESPACES = ("kappawatt", "kappawatt-collectors")


@dataclass
class Cluster:
    """What `kubectl` says, in the namespace of all but the collectors."""

    command: list[str]

    def kubectl(self, *arguments: str, given: str | None = None, check: bool = True, limit_s: float = 300) -> str:
        """Its stdout."""
        done = subprocess.run(
            [*self.command, *arguments], input=given, capture_output=True, text=True, check=False, timeout=limit_s
        )
        if check:
            assert done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("-n", NAMESPACES[0], "get", *arguments, "-o", "json"))

    def in_flow(self, *arguments: str, limit_s: float = 300) -> str:
        """What a command says in pod 0 of the flow."""
        return self.kubectl("-n", NAMESPACES[0], "exec", "flow-0", "--", *arguments, limit_s=limit_s)

    def pods(self) -> str:
        return "".join(self.kubectl("-n", name, "get", "pods", "-o", "wide") for name in NAMESPACES)

    def ready(self, members: int) -> bool:
        """Whether so many members are there and epochs pass in all of them."""
        pods = self.get("pods", "-l", "app.kubernetes.io/name=flow")["items"]
        good = [
            all(each.get("ready") for each in pod["status"].get("containerStatuses", [{}]))
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
        ]
        return len(pods) == members and len(good) == members and all(good)

    def wait_for(self, condition: Callable[[], bool], what: str, limit_s: float = 600) -> None:
        until = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < until, f"waited {limit_s:.0f} s for {what}:\n{self.pods()}{self.words()}"
            time.sleep(2)

    def words(self) -> str:
        """The last words of the flow."""
        logs = ("logs", "--prefix", "--tail", "15", "-l", "app.kubernetes.io/name=flow")
        return self.kubectl("-n", NAMESPACES[0], *logs, check=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster with everything applied to it. KUBECTL may name the command, if it is not plain `kubectl`."""
    if "KUBECONFIG" not in os.environ and "KUBECTL" not in os.environ:
        pytest.fail("no cluster: set KUBECONFIG, and IMPORT for the images (make test-k8s)")
    found = Cluster(shlex.split(os.environ.get("KUBECTL", "kubectl")))
    rendered = found.kubectl("kustomize", str(OVERLAY))
    found.kubectl("apply", "--server-side", "-f", "-", given=rendered)
    yield found
    if not os.environ.get("KEEP"):
        found.kubectl("delete", "--ignore-not-found", "-f", "-", given=rendered, check=False)
