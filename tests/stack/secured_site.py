"""The secured servers together, and programs that come to them as one role each."""

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kappawatt import rights
from kappawatt.log.kafka import KafkaLog
from kappawatt.stores.cassandra import CassandraStore
from tests.stack.gate import Gate
from tests.stack.secured import Cassandra, Kafka

ROOT = Path(__file__).resolve().parents[2]
KEYSPACE = "secured"
USERS = "kw_"
ROLES = {role.name: role for role in rights.ROLES}


@dataclass
class Site:
    """The three servers, and a password a role."""

    folder: Path
    kafka: Kafka
    cassandra: Cassandra
    gate: Gate
    passwords: dict[str, str]
    prefix: str
    said: list[str] = field(default_factory=list)

    @property
    def store(self) -> str:
        return f"cassandra://{self.cassandra.address}/{KEYSPACE}"

    def environ(self, role: str) -> dict[str, str]:
        """What a program of *role* is started with: its own log-ins, and none where it has no rights."""
        has, password = ROLES[role], self.passwords[role]
        found = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "PYTHONPATH": str(ROOT)}
        found |= {"KAPPAWATT_TOPIC_PREFIX": self.prefix, "KAPPAWATT_SPOOL": str(self.folder / f"spool-{role}")}
        if has.writes or has.reads or has.makes_topics:
            found |= self.kafka.login(USERS + role) | {"KAPPAWATT_LOG": f"kafka://{self.kafka.address}"}
        if has.registry is not rights.Place.NOTHING:
            found |= self.gate.login(USERS + role, password) | {"KAPPAWATT_REGISTRY": self.gate.url}
        if has.store is not rights.Place.NOTHING:
            found |= self.cassandra.login(USERS + role, password) | {"KAPPAWATT_STORE": self.store}
        return found

    def run(self, role: str, *command: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """One command as *role*."""
        done = subprocess.run(
            [sys.executable, "-m", "kappawatt", *command],
            env=self.environ(role) | more,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        self.said.append(done.stdout + done.stderr)
        return done

    def ran(self, role: str, *command: str) -> str:
        """Its stdout, if it did well."""
        done = self.run(role, *command)
        assert done.returncode == 0, f"{role}: {command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def wrong(self, login: dict[str, Any]) -> dict[str, Any]:
        """*login* with an authority that signed nothing where it says so."""
        return {name: self.kafka.papers.wrong_ca if value == "wrong" else value for name, value in login.items()}

    def flow(self) -> None:
        """The flow, to the end of what is there."""
        self.ran("flow", "flow", "--until-end", "--state", str(self.folder / "state"))

    def counted(self) -> int:
        """Samples that the flow has counted, asked as the page asks."""
        with closing(self.opened("dash")) as store:
            return sum(row["counted"] for row in store.scan("accounting"))

    def log(self, role: str, **login: Any) -> KafkaLog:
        return KafkaLog(self.kafka.address, self.gate.url, self.prefix, environ=self.kafka.login(USERS + role, **login))

    def opened(self, role: str, **login: Any) -> CassandraStore:
        environ = self.cassandra.login(USERS + role, login.pop("password", self.passwords[role]), **login)
        return CassandraStore.from_url(self.store, environ, retry_s=5)
