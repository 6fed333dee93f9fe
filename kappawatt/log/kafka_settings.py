"""Kafka client settings from the environment: TLS, SASL and network, passed on as they are and never shown."""

import re
from collections.abc import Mapping

from kappawatt.errors import SettingsError

ENVIRON_PREFIX = "KAPPAWATT_KAFKA_"
"""`KAPPAWATT_KAFKA_SASL_PASSWORD` is the client's `sasl.password`, and so on."""
_ALLOWED = ("security.", "sasl.", "ssl.", "enable.ssl.", "client.", "broker.", "socket.", "reconnect.", "https.")
_SECRET = ("password", "secret", "key", "token", "username", "config", "pem", "assertion")


def client_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The client's TLS, SASL and network settings in *environ*.

    >>> client_settings({"KAPPAWATT_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "HOME": "/"})
    {'security.protocol': 'SASL_SSL'}

    Raises:
        SettingsError: A variable names something that is not to be set from outside.
    """
    found = {}
    for variable, value in environ.items():
        if not variable.startswith(ENVIRON_PREFIX) or not value:
            continue
        name = variable.removeprefix(ENVIRON_PREFIX).lower().replace("_", ".")
        if not name.startswith(_ALLOWED):
            raise SettingsError(
                f"environment variable {variable} sets {name!r}, which is not one of {', '.join(_ALLOWED)}…; unset it"
            )
        found[name] = value
    return found


def scrubbed(text: str, client: Mapping[str, str]) -> str:
    """*text* without the secret values among *client*'s settings.

    >>> scrubbed("user me, password pw1", {"sasl.password": "pw1"})
    'user me, password ***'
    """
    for name, value in client.items():
        if any(word in name for word in _SECRET):
            text = text.replace(value, "***")
    return text


def plain(text: str) -> str:
    """The client's words without which of its connections it is about and how often it tried: one trouble, one text.

    >>> plain("k:9092/bootstrap: Connect to ipv4#k:9092 failed: refused (after 0ms in state CONNECT, 561 identical …)")
    'Connect to ipv4#k:9092 failed: refused'
    """
    return re.sub(r" \(after \d+ms in state .*\)$", "", re.sub(r"^(\w+: )?\S+:\d+(/\w+)?: ", "", text))
