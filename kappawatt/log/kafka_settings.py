"""Kafka client settings from the environment: TLS, SASL and network, passed on as they are and never shown."""

import re
from collections.abc import Mapping

from kappawatt import access
from kappawatt.errors import SettingsError

ENVIRON_PREFIX = access.KAFKA
"""`KAPPAWATT_KAFKA_SASL_PASSWORD` is the client's `sasl.password`, and so on."""
_ALLOWED = ("security.", "sasl.", "ssl.", "enable.ssl.", "client.", "broker.", "socket.", "reconnect.", "https.")
_SECRET = ("password", "secret", "key", "token", "username", "config", "pem", "assertion")
_IN_A_FILE = ".file"


def client_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The client's TLS, SASL and network settings in *environ*.

    >>> client_settings({"KAPPAWATT_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "HOME": "/"})
    {'security.protocol': 'SASL_SSL'}

    A secret may stand in a file: `KAPPAWATT_KAFKA_SASL_PASSWORD_FILE` names it.

    Raises:
        SettingsError: A variable names something that is not to be set from outside, or a file that cannot be read.
    """
    access.given(environ)
    found = {}
    for variable, value in environ.items():
        if not variable.startswith(ENVIRON_PREFIX) or not value:
            continue
        name = variable.removeprefix(ENVIRON_PREFIX).lower().replace("_", ".")
        if not name.startswith(_ALLOWED):
            raise SettingsError(
                f"environment variable {variable} sets {name!r}, which is not one of {', '.join(_ALLOWED)}…; unset it"
            )
        secret_in_file = name.endswith(_IN_A_FILE) and _is_secret(name)
        found[name.removesuffix(_IN_A_FILE) if secret_in_file else name] = (
            access.from_file(variable, value) if secret_in_file else value
        )
    return found


def _is_secret(name: str) -> bool:
    return any(word in name for word in _SECRET)


def scrubbed(text: str, client: Mapping[str, str]) -> str:
    """*text* without the secret values among *client*'s settings.

    >>> scrubbed("user me, password pw1", {"sasl.password": "pw1"})
    'user me, password ***'
    """
    for name, value in client.items():
        if _is_secret(name):
            text = text.replace(value, "***")
    return text


def plain(text: str) -> str:
    """The client's words without which of its connections it is about and how often it tried: one trouble, one text.

    >>> plain("k:9092/bootstrap: Connect to ipv4#k:9092 failed: refused (after 0ms in state CONNECT, 561 identical …)")
    'Connect to ipv4#k:9092 failed: refused'
    """
    return re.sub(r" \(after \d+ms in state .*\)$", "", re.sub(r"^(\w+: )?\S+:\d+(/\w+)?: ", "", text))
