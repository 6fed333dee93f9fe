"""Log-ins and TLS of Kafka, the registry and Cassandra: from the environment, or from files that it names, only.

Never from flags, which every user of a machine can read, nor from the TOML file, which gets into repositories.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kappawatt.errors import SettingsError

KAFKA, REGISTRY, CASSANDRA = "KAPPAWATT_KAFKA_", "KAPPAWATT_REGISTRY_", "KAPPAWATT_CASSANDRA_"
_IN_A_FILE = "_FILE"
_TESTS = "KAPPAWATT_TEST_"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment; a secret may stand in a file instead, which the name + `_FILE` names."""

    name: str
    help: str
    secret: bool = False


VARIABLES = (
    Variable("KAPPAWATT_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT (default), SSL, SASL_SSL or SASL_PLAINTEXT"),
    Variable("KAPPAWATT_KAFKA_SASL_MECHANISM", "how to log in: SCRAM-SHA-512, SCRAM-SHA-256, PLAIN …"),
    Variable("KAPPAWATT_KAFKA_SASL_USERNAME", "user at Kafka"),
    Variable("KAPPAWATT_KAFKA_SASL_PASSWORD", "that user's password", secret=True),
    Variable("KAPPAWATT_KAFKA_SSL_CA_LOCATION", "file with the certificate of who signed the brokers'"),
    Variable("KAPPAWATT_REGISTRY_USERNAME", "user at the registry"),
    Variable("KAPPAWATT_REGISTRY_PASSWORD", "that user's password", secret=True),
    Variable("KAPPAWATT_REGISTRY_CA_FILE", "file with the certificate of who signed the registry's, for https://"),
    Variable("KAPPAWATT_CASSANDRA_USERNAME", "role at Cassandra"),
    Variable("KAPPAWATT_CASSANDRA_PASSWORD", "that role's password", secret=True),
    Variable("KAPPAWATT_CASSANDRA_CA_FILE", "file with the certificate of who signed the nodes'; turns TLS on"),
)
"""What is known by name; of Kafka's client every other option of TLS, SASL and network may be set as well."""


@dataclass(frozen=True, slots=True)
class Given:
    """What one variable says; its repr keeps a secret."""

    variable: Variable
    value: str | None
    origin: str

    def __repr__(self) -> str:
        return f"<Given {self.variable.name} from {self.origin}>"

    @property
    def shown(self) -> str:
        """The value as it may be printed."""
        return "-" if self.value is None else "***" if self.variable.secret else self.value


def given(environ: Mapping[str, str]) -> list[Given]:
    """All known variables, set or not, in the order of `VARIABLES`.

    Raises:
        SettingsError: A file cannot be read, a value is given twice, or a user has no password.
    """
    found = [_given(each, environ) for each in VARIABLES]
    values = {each.variable.name: each.value for each in found}
    for name, value in values.items():
        password = name.replace("_USERNAME", "_PASSWORD")
        if name.endswith("_USERNAME") and (value is None) != (values[password] is None):
            lacking, has = (password, name) if value is not None else (name, password)
            raise SettingsError(f"{has} is set and {lacking} is not; set both, a password also by {password}_FILE")
    return found


def read(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """What is set under *prefix*, by the rest of the name in lower case, secrets included.

    >>> read({"KAPPAWATT_CASSANDRA_CA_FILE": "/ca.crt"}, CASSANDRA)
    {'ca_file': '/ca.crt'}
    """
    return {
        each.variable.name.removeprefix(prefix).lower(): each.value
        for each in given(environ)
        if each.variable.name.startswith(prefix) and each.value is not None
    }


def check_name(variable: str) -> bool:
    """Whether *variable* is about access, or for the tests.

    Raises:
        SettingsError: It looks so, and is unknown; the nearest known one is named.
    """
    if not variable.startswith((REGISTRY, CASSANDRA)):
        return variable.startswith(
            (KAFKA, _TESTS)
        )  # the client knows more options than we; it refuses what it does not know
    known = [name for each in VARIABLES for name in _names(each)]
    if variable not in known:
        close = difflib.get_close_matches(variable, known, n=1, cutoff=0)
        raise SettingsError(f"environment variable {variable} is unknown; did you mean {close[0]}?")
    return True


def from_file(variable: str, path: str) -> str:
    """The secret in the file that *variable* names, without the line's end.

    Raises:
        SettingsError: It cannot be read, or is empty.
    """
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"{variable}={path} cannot be read: {said}; name a file with the secret alone") from error
    if not text:
        raise SettingsError(f"{variable}={path} is empty; it should hold the secret alone")
    return text


def _names(variable: Variable) -> tuple[str, ...]:
    return (variable.name, variable.name + _IN_A_FILE) if variable.secret else (variable.name,)


def _given(variable: Variable, environ: Mapping[str, str]) -> Given:
    value, path = environ.get(variable.name) or None, environ.get(variable.name + _IN_A_FILE) or None
    if not variable.secret or path is None:
        return Given(variable, value, "default" if value is None else "environment")
    if value is not None:
        raise SettingsError(f"{variable.name} and {variable.name}_FILE are both set; unset one of them")
    return Given(variable, from_file(variable.name + _IN_A_FILE, path), path)
