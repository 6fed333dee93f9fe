"""Which log a URL names: `file:DIR`, or `kafka://HOST:PORT[,HOST:PORT…]`."""

import re
from dataclasses import dataclass
from pathlib import Path

from kappawatt.errors import SettingsError

_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/@,?#\[\]]+):(\d{1,5})")
_FORMS = "a log is file:DIR or kafka://HOST:PORT[,HOST:PORT]"


@dataclass(frozen=True, slots=True)
class FileUrl:
    """A file log in folder `directory`."""

    directory: Path


@dataclass(frozen=True, slots=True)
class KafkaUrl:
    """A Kafka cluster; `bootstrap` is `HOST:PORT[,HOST:PORT…]`."""

    bootstrap: str


def parse(url: str) -> FileUrl | KafkaUrl:
    """The log that *url* names; nothing is opened.

    >>> parse("file:.kappawatt/log"), parse("kafka://a:9092,b:9092")
    (FileUrl(directory=PosixPath('.kappawatt/log')), KafkaUrl(bootstrap='a:9092,b:9092'))

    Raises:
        SettingsError: It names none. A user and password have no place in it and are not repeated.
    """
    kind, colon, rest = url.partition(":")
    if kind == "file" and colon and rest not in ("", "//"):
        return FileUrl(Path(rest.removeprefix("//")))
    if kind == "kafka" and rest.startswith("//"):
        return KafkaUrl(_bootstrap(rest[2:].removesuffix("/")))
    raise SettingsError(f"log URL {_masked(url)!r} is of no known kind; {_FORMS}")


def _bootstrap(servers: str) -> str:
    if "@" in servers:
        raise SettingsError(
            "log URL kafka://***@… holds a user; set KAPPAWATT_KAFKA_SASL_USERNAME and KAPPAWATT_KAFKA_SASL_PASSWORD"
        )
    for server in servers.split(","):
        match = _SERVER.fullmatch(server)
        if match is None or not 0 < int(match[2]) < 65_536:
            raise SettingsError(f"log URL kafka://{servers}: {server!r} is not HOST:PORT; {_FORMS}")
    return servers


def _masked(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)
