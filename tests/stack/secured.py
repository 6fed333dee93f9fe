"""Kafka and Cassandra as one should run them: TLS, a log-in for everybody, and nothing allowed that was not granted.

Servers of their own beside those of `make stack`, from the same jars, for as long as a test session.
"""

import base64
import datetime
import ipaddress
import os
import secrets
import socket
import ssl
import string
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import RoundRobinPolicy
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from tests.stack import definitions

HERE = Path(__file__).resolve().parent
UP_S = 120


@dataclass
class Papers:
    """An authority, a certificate of it for 127.0.0.1, and another authority that signed nothing; as files."""

    folder: Path
    password: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        key, authority = _authority("kappawatt test authority")
        self.ca = self._kept("ca.pem", authority.public_bytes(Encoding.PEM))
        _, stranger = _authority("somebody else")
        self.wrong_ca = self._kept("wrong-ca.pem", stranger.public_bytes(Encoding.PEM))
        own = ec.generate_private_key(ec.SECP256R1())
        mine = _signed("127.0.0.1", own.public_key(), key, authority.subject)
        secret = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.pem = self._kept("server.pem", secret + mine.public_bytes(Encoding.PEM))
        packed = serialize_key_and_certificates(
            b"server", own, mine, [authority], BestAvailableEncryption(self.password.encode())
        )
        self.p12 = self._kept("server.p12", packed)

    def _kept(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return key, _signed(name, key.public_key(), key, own, authority=True)


def _signed(name: str, public: Any, key: Any, issuer: x509.Name, *, authority: bool = False) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return made.sign(key, hashes.SHA256())


def free_ports(*names: str) -> dict[str, int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    found = {name: int(each.getsockname()[1]) for name, each in zip(names, sockets, strict=True)}
    for each in sockets:
        each.close()
    return found


@contextmanager
def _process(command: Sequence[str], folder: Path, answers: Callable[[], bool]) -> Iterator[None]:
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
    try:
        until = time.monotonic() + UP_S
        while not answers():
            tail = log.read_text(errors="replace")[-3_000:]
            assert process.poll() is None, f"ended with {process.returncode}:\n{tail}"
            assert time.monotonic() < until, f"no answer after {UP_S} s:\n{tail}"
            time.sleep(0.2)
        yield
    finally:
        process.kill()
        process.wait(30)


def _tls(port: int, authority: Path) -> bool:
    """Whether a TLS server is there that the authority vouches for."""
    trusting = ssl.create_default_context(cafile=str(authority))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
            trusting.wrap_socket(plain, server_hostname="127.0.0.1").close()
    except OSError:
        return False
    return True


# --- Kafka ------------------------------------------------------------------------------------------------------------


@dataclass
class Kafka:
    """A broker whose users and passwords are *users*; `admin` may do all."""

    folder: Path
    papers: Papers
    users: Mapping[str, str]
    address: str = ""

    def login(self, user: str, *, password: str | None = None, ca: Path | None = None) -> dict[str, str]:
        """The environment of a program that comes as *user*."""
        return {
            "KAPPAWATT_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAPPAWATT_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAPPAWATT_KAFKA_SASL_USERNAME": user,
            "KAPPAWATT_KAFKA_SASL_PASSWORD": password or self.users[user],
            "KAPPAWATT_KAFKA_SSL_CA_LOCATION": str(ca or self.papers.ca),
        }

    @contextmanager
    def running(self) -> Iterator["Kafka"]:
        java, ports = definitions.find_java(), free_ports("kafka", "kafka_controller")
        self.address = f"127.0.0.1:{ports['kafka']}"
        config = self.folder / "server.properties"
        config.write_text(
            string.Template((HERE / "secured.kafka.properties").read_text()).substitute(
                **{name: str(port) for name, port in ports.items()},
                data=self.folder / "data",
                admin=self.users["admin"],
                server_pem=self.papers.pem,
                ca=self.papers.ca,
            )
        )
        tool = [*self._jvm(java), "kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", str(config)]
        for user, password in self.users.items():
            tool += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        subprocess.run(tool, capture_output=True, text=True, check=True, timeout=120)
        self._admin_tools(java)
        command = [*self._jvm(java), "-Xmx400m", definitions.mark("secured-kafka"), "kafka.Kafka", str(config)]
        with _process(command, self.folder, lambda: _tls(ports["kafka"], self.papers.ca)):
            yield self

    def grant(self, script: str) -> str:
        """Run a script of `kafka-acls.sh` commands as the operator would; what it printed."""
        environ = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "BOOTSTRAP": self.address,
            "ADMIN": str(self.folder / "admin.properties"),
        }
        done = subprocess.run(
            ["sh", "-eu"], input=script, env=environ, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @staticmethod
    def _jvm(java: str) -> list[str]:
        return [java, *definitions.JVM, *definitions.QUIET, "-cp", f"{definitions.LIB}/kafka/*"]

    def _admin_tools(self, java: str) -> None:
        """`kafka-acls.sh` as Kafka ships it: a class of its jars; and the log-in of who may use it."""
        tool = self.folder / "kafka-acls.sh"
        words = " ".join(f"'{word}'" for word in [*self._jvm(java), "-XX:TieredStopAtLevel=1"])
        tool.write_text(f'#!/bin/sh\nexec {words} org.apache.kafka.tools.AclCommand "$@"\n')
        tool.chmod(0o755)
        (self.folder / "admin.properties").write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="admin" password="{self.users["admin"]}";\n'
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.papers.ca}\n"
        )


def _cluster_id() -> str:
    return "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


# --- Cassandra --------------------------------------------------------------------------------------------------------


@dataclass
class Cassandra:
    """A node with one superuser, `cassandra`, whose password is `cassandra` as everywhere at first."""

    folder: Path
    papers: Papers
    address: str = ""

    def login(self, user: str, password: str, *, ca: Path | None = None) -> dict[str, str]:
        """The environment of a program that comes as *user*."""
        return {
            "KAPPAWATT_CASSANDRA_USERNAME": user,
            "KAPPAWATT_CASSANDRA_PASSWORD": password,
            "KAPPAWATT_CASSANDRA_CA_FILE": str(ca or self.papers.ca),
        }

    @contextmanager
    def running(self) -> Iterator["Cassandra"]:
        ports = free_ports("cassandra", "cassandra_storage", "cassandra_jmx")
        self.address = f"127.0.0.1:{ports['cassandra']}"
        data = self.folder / "data"
        data.mkdir()
        command = definitions.cassandra_command(definitions.find_java(), ports, data)
        config = self.folder / "cassandra.yaml"
        more = string.Template((HERE / "secured.cassandra.yaml").read_text())
        config.write_text(
            config.read_text() + "\n" + more.substitute(server_p12=self.papers.p12, store_password=self.papers.password)
        )
        command.insert(1, "-Dcassandra.superuser_setup_delay_ms=0")
        command = [
            definitions.mark("secured-cassandra") if each == definitions.mark("cassandra") else each for each in command
        ]
        with _process(command, self.folder, lambda: _tls(ports["cassandra"], self.papers.ca)):
            yield self

    @contextmanager
    def superuser(self) -> Iterator[Any]:
        """A session that may do all, as soon as Cassandra has made its first role."""
        host, port = self.address.split(":")
        trusting = ssl.create_default_context(cafile=str(self.papers.ca))
        profile = ExecutionProfile(RoundRobinPolicy(), request_timeout=60)
        until = time.monotonic() + 60
        while True:
            cluster = Cluster(
                [host],
                port=int(port),
                auth_provider=PlainTextAuthProvider("cassandra", "cassandra"),
                ssl_context=trusting,
                protocol_version=5,
                connect_timeout=30,
                execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            )
            try:
                session = cluster.connect()
                break
            except NoHostAvailable:
                cluster.shutdown()
                assert time.monotonic() < until, "Cassandra makes no first role"
                time.sleep(1)
        try:
            yield session
        finally:
            cluster.shutdown()
