"""The schema registry, any that speaks Confluent's API: the one door to it."""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from kappawatt import access
from kappawatt.errors import LogAway, LogError

from .schemas import canonical, plain_type, schema

LEVEL = "FULL_TRANSITIVE"
"""Compatibility of every subject: each version can read, and be read by, every other one."""

_UNKNOWN_FOR_S = 30.0
_MAX_UNKNOWN = 4096
_TOO_MANY, _OWN_FAULT = 429, 500  # HTTP: too many requests; from here on the server's own fault
_REMEDIES = {
    401: "correct KAPPAWATT_REGISTRY_USERNAME and KAPPAWATT_REGISTRY_PASSWORD",
    403: "this user may not do that; one who may write has to run `kappawatt schema register`",
}
_UNTRUSTED = (
    "KAPPAWATT_REGISTRY_CA_FILE has to name the certificate of who signed the registry's, "
    "and KAPPAWATT_REGISTRY an address that it is for"
)
_UNREACHED = "is it running, and is KAPPAWATT_REGISTRY its address with the path of its API?"
_CLIENT = {"timeout": 10, "max.retries": 2, "retries.wait.ms": 200, "retries.max.wait.ms": 1000}


class Registry:
    """Schemas by topic and by id.

    Args:
        url: Of the API, with its path.
        topic_prefix: Stands before each topic's name, and so before its subject's.
        environ: Where user, password and authority come from (see `access`); default: this process's.
        now: Seconds of a clock that only goes forward.

    Raises:
        LogError: *url* is none, or holds a user.
        SettingsError: A variable cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        topic_prefix: str = "",
        environ: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = _public(url)
        self._prefix = topic_prefix
        self._now = now
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, dict[str, Any]] = {}
        self._unknown: dict[int, float] = {}
        if self.url != url:
            raise LogError(
                f"the URL of schema registry {self.url} holds a user, and URLs end up in logs and process lists; "
                "set KAPPAWATT_REGISTRY_USERNAME and KAPPAWATT_REGISTRY_PASSWORD"
            )
        login = access.read(os.environ if environ is None else environ, access.REGISTRY)
        self._settings = {**_CLIENT, "url": url, **_access_options(login)}
        self._client().close()

    def __repr__(self) -> str:
        return f"<Registry {self.url}, {len(self._schemas)} schemas known>"

    def subject(self, topic: str) -> str:
        """Name of the topic's subject."""
        return f"{self._prefix}{topic}-value"

    def register(self, topic: str, *, written: Mapping[str, Any] | None = None) -> int:
        """Id of the topic's bundled schema, or of *written*; registered if it is new, nothing is written otherwise.

        Raises:
            LogError: The registry cannot be reached, or refuses the schema; it says why.
        """
        if written is None and topic in self._ids:
            return self._ids[topic]
        subject, wanted = self.subject(topic), _wrap(written or schema(topic))
        # before the first version, so that the second one is already held to it
        if self._ask("get_compatibility", subject) != LEVEL:
            self._ask("set_compatibility", subject, LEVEL)
        found = self._ask("lookup_schema", subject, wanted)
        schema_id = int(found.schema_id if found else self._ask("register_schema", subject, wanted))
        if written is None:
            self._ids[topic] = schema_id
        return schema_id

    def check(self, topic: str, *, written: Mapping[str, Any] | None = None) -> str | None:
        """Why the registry would refuse the topic's bundled schema, or *written*; None: it would not.

        Raises:
            LogError: The registry cannot be reached.
        """
        subject, wanted = self.subject(topic), written or schema(topic)
        fits = self._ask("test_compatibility_all_versions", subject, _wrap(wanted))
        if fits is not False:
            return None
        latest = self._ask("get_latest_version", subject)
        found = differences(json.loads(latest.schema.schema_str), wanted) if latest else []
        said = "; ".join(found) or "an older version of it differs"
        return f"subject {subject} must stay {LEVEL} compatible: {said}"

    def schema_for(self, schema_id: int) -> dict[str, Any] | None:
        """The schema of that id; None if the registry knows none, which is remembered for half a minute.

        Raises:
            LogAway: The registry cannot be reached.
        """
        known = self._schemas.get(schema_id)
        if known is not None or self._now() < self._unknown.get(schema_id, float("-inf")):
            return known
        found = self._ask("get_schema", schema_id)
        parsed = _parse(found)
        if parsed is not None:
            self._schemas[schema_id] = parsed
            return parsed
        if len(self._unknown) >= _MAX_UNKNOWN:
            self._unknown.clear()
        self._unknown[schema_id] = self._now() + _UNKNOWN_FOR_S
        return None

    def _client(self) -> Any:
        from confluent_kafka.schema_registry import SchemaRegistryClient

        try:
            return SchemaRegistryClient(self._settings)
        except (ValueError, TypeError) as error:
            raise LogError(f"schema registry {self.url} cannot be used: {error}; see KAPPAWATT_REGISTRY") from None

    def _ask(self, question: str, *arguments: Any) -> Any:
        """The client's answer, None for 404; questions are rare, so no connection is kept."""
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        client = self._client()
        try:
            return getattr(client, question)(*arguments)
        except SchemaRegistryError as error:
            if error.http_status_code == 404:
                return None
            if error.http_status_code in (409, 422):
                raise LogError(
                    f"schema registry {self.url} refuses subject {arguments[0]}: {error.error_message}; "
                    f"a new field needs a default, no field may change its name or type ({LEVEL})"
                ) from error
            busy = error.http_status_code == _TOO_MANY or error.http_status_code >= _OWN_FAULT
            raise (LogAway if busy else LogError)(
                f"schema registry {self.url} answers {error.http_status_code}: {error.error_message}; "
                + _REMEDIES.get(error.http_status_code, "check its health, and the address in KAPPAWATT_REGISTRY")
            ) from error
        except Exception as error:
            # which HTTP library the client uses, and so what it raises, is the client's own affair
            raise LogAway(
                f"schema registry {self.url} cannot be reached: {error or type(error).__name__}; "
                + (_UNTRUSTED if "CERTIFICATE_VERIFY_FAILED" in str(error) else _UNREACHED)
            ) from error
        finally:
            client.close()


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What keeps two record schemas from reading each other, a line each.

    >>> field = {"name": "x", "type": "long"}
    >>> differences({"fields": []}, {"fields": [field]})
    ['field x is new and has no default']
    """
    old = {each["name"]: each for each in before.get("fields", ())}
    new = {each["name"]: each for each in after.get("fields", ())}
    added = [name for name, each in new.items() if name not in old and "default" not in each]
    gone = [name for name, each in old.items() if name not in new and "default" not in each]
    both = [name for name in new if name in old]
    changed = [name for name in both if _line(old[name]["type"]) != _line(new[name]["type"])]
    return [
        *(f"field {name} is new and has no default" for name in added),
        *(f"field {name} is gone and had no default" for name in gone),
        *(f"field {name} was {_line(old[name]['type'])} and is {_line(new[name]['type'])}" for name in changed),
    ]


def _line(kind: Any) -> str:
    plain = plain_type(kind)
    return plain if isinstance(plain, str) else canonical(plain)


def _wrap(written: Mapping[str, Any]) -> Any:
    from confluent_kafka.schema_registry import Schema

    return Schema(json.dumps(written, ensure_ascii=False), "AVRO")


def _parse(found: Any) -> dict[str, Any] | None:
    """The registry's schema as parsed; None if it is not Avro or refers to other subjects."""
    if found is None or (found.schema_type or "AVRO") != "AVRO" or found.references:
        return None
    try:
        parsed = json.loads(found.schema_str)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _access_options(login: Mapping[str, str]) -> dict[str, str]:
    """The client's settings for a log-in."""
    found = {}
    if "username" in login:
        found["basic.auth.user.info"] = f"{login['username']}:{login['password']}"
    if "ca_file" in login:
        found["ssl.ca.location"] = login["ca_file"]
    return found


def _public(url: str) -> str:
    """The URL without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
