"""What the three servers of the test stack are: how each is started, and what shows that it works."""

import base64
import http.client
import os
import re
import shutil
import socket
import string
import struct
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".stack"
LIB = HOME / "lib"
JVM = ["-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true"]
QUIET = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]


class StackError(Exception):
    """What is wrong and what to do, in words for a person."""


def find_java() -> str:
    """Path of a Java 17, the only version that Cassandra 5.0 and the registry both run on."""
    home = os.environ.get("JAVA_HOME")
    candidates = [Path(home, "bin/java")] if home else []
    candidates += [Path(found)] if (found := shutil.which("java")) else []
    candidates += sorted(Path("/usr/lib/jvm").glob("*17*/bin/java"))
    for java in (path for path in candidates if path.exists()):
        banner = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
        if re.search(r'version "17[."]', banner):
            return str(java)
    raise StackError("Java 17 is not on this machine: apt-get install openjdk-17-jre-headless")


def mark(name: str) -> str:
    """The argument by which a process is known to be ours."""
    return f"-Dkappawatt.stack={HOME}/{name}"


def fill(name: str, ports: dict[str, int], data: Path) -> Path:
    """Write the template *name* beside *data* with its ports filled in."""
    target = data.parent / name
    target.write_text(
        string.Template((HERE / name).read_text()).substitute({k: str(v) for k, v in ports.items()}, data=data)
    )
    return target


def kafka_command(java: str, ports: dict[str, int], data: Path) -> list[str]:
    config = fill("kafka.properties", ports, data)
    jvm = [java, *JVM, *QUIET, "-cp", f"{LIB}/kafka/*"]
    if not (data / "meta.properties").exists():
        # The letter in front keeps the id from looking like an option.
        cluster = "k" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        tool = [*jvm, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(config)]
        done = subprocess.run(tool, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise StackError(f"kafka: formatting {data} failed:\n{(done.stdout + done.stderr).strip()}")
    return [*jvm, "-Xmx512m", mark("kafka"), "kafka.Kafka", str(config)]


def cassandra_command(java: str, ports: dict[str, int], data: Path) -> list[str]:
    config = fill("cassandra.yaml", ports, data)
    flags = [line for line in (HERE / "cassandra.options").read_text().splitlines() if not line.startswith("#")]
    places = [
        f"-Dcassandra.config={config.as_uri()}",
        f"-Dcassandra.storagedir={data}",
        f"-Dcassandra.jmx.local.port={ports['cassandra_jmx']}",
        f"-Dlogback.configurationFile={(HERE / 'logback.xml').as_uri()}",
    ]
    heap = ["-Xms256m", "-Xmx640m", "-XX:MaxDirectMemorySize=256m"]
    main = "org.apache.cassandra.service.CassandraDaemon"
    return [java, *JVM, *heap, *flags, *places, mark("cassandra"), "-cp", f"{LIB}/cassandra/*", main]


def registry_command(java: str, ports: dict[str, int], data: Path) -> list[str]:
    settings = {
        "apicurio.storage.kind": "kafkasql",
        "apicurio.kafkasql.bootstrap.servers": f"127.0.0.1:{ports['kafka']}",
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": ports["registry"],
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": ports["registry_management"],
        "quarkus.log.level": "WARN",
    }
    (runner,) = (LIB / "registry").glob("*-runner.jar")
    # Rarely asked, often started: the quick compiler alone brings it up in half the time.
    jvm = [*JVM, "-Xmx384m", "-XX:TieredStopAtLevel=1"]
    return [java, *jvm, mark("registry"), *(f"-D{k}={v}" for k, v in settings.items()), "-jar", str(runner)]


def ask(port: int, question: bytes, size: int) -> bytes:
    """The first *size* bytes that the server on *port* answers; b"" if it does not."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(question)
            with connection.makefile("rb") as answer:
                return answer.read(size)
    except OSError:
        return b""


def kafka_answers(port: int) -> bool:
    """A Metadata request (v1, no topics) names at least one broker that takes work."""
    request = struct.pack(">hhihi", 3, 1, 7, -1, 0)
    answer = ask(port, struct.pack(">i", len(request)) + request, 12)
    return len(answer) == 12 and struct.unpack(">iii", answer)[1:] >= (7, 1)


def cassandra_answers(port: int) -> bool:
    """STARTUP in the native protocol v4 is answered by READY."""
    body = struct.pack(">HH11sH5s", 1, 11, b"CQL_VERSION", 5, b"3.0.0")
    return ask(port, struct.pack(">BBhBi", 4, 0, 0, 1, len(body)) + body, 9)[4:5] == b"\x02"


def registry_answers(port: int) -> bool:
    """The Confluent-compatible API lists its subjects, which it has to read from Kafka first."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/apis/ccompat/v7/subjects")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True)
class Server:
    name: str
    ports: tuple[str, ...]  # the first is where clients connect
    command: Callable[[str, dict[str, int], Path], list[str]]
    answers: Callable[[int], bool]
    limit_s: int  # a slow, shared machine needs a third of it
    address: str = "127.0.0.1:{}"


# In the order of starting; the registry keeps its data in Kafka.
SERVERS = {
    server.name: server
    for server in (
        Server("kafka", ("kafka", "kafka_controller"), kafka_command, kafka_answers, 120),
        Server(
            "cassandra", ("cassandra", "cassandra_storage", "cassandra_jmx"), cassandra_command, cassandra_answers, 240
        ),
        Server(
            "registry",
            ("registry", "registry_management"),
            registry_command,
            registry_answers,
            180,
            "http://127.0.0.1:{}/apis/ccompat/v7",
        ),
    )
}
