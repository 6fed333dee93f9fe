"""Addresses of Cassandra stores, with the rules for credentials."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kappawatt import access
from kappawatt.errors import StoreError


@dataclass(frozen=True, slots=True)
class Address:
    """Where a keyspace is, and who asks; prints without the password."""

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str, environ: Mapping[str, str] | None = None) -> "Address":
        """The address in `cassandra://HOST:PORT[,HOST:PORT]/KEYSPACE`.

        KAPPAWATT_CASSANDRA_USERNAME, _PASSWORD (or _PASSWORD_FILE) and _CA_FILE (the authority's certificate: TLS)
        come from *environ*.

        Raises:
            StoreError: *url* does not look like this.
            SettingsError: A variable cannot be used.

        >>> Address.parse("cassandra://db1:9042,db2/kappawatt", {}).hosts
        (('db1', 9042), ('db2', 9042))
        """
        login = access.read(os.environ if environ is None else environ, access.CASSANDRA)
        rest = url.removeprefix("cassandra://")
        if "@" in rest:
            raise StoreError(
                "a cassandra:// URL holds no user and password, since URLs end up in logs and process lists; "
                "set KAPPAWATT_CASSANDRA_USERNAME and KAPPAWATT_CASSANDRA_PASSWORD"
            )
        hosts, _, keyspace = rest.partition("/")
        found = [re.fullmatch(r"(\[[^\]]+\]|[^\[\]:]+)(?::(\d{1,5}))?", host) for host in hosts.split(",")]
        if not re.fullmatch("[a-z][a-z0-9_]{0,47}", keyspace) or not all(found) or rest == url:
            raise StoreError(
                f"store {url!r} is not cassandra://HOST:PORT[,HOST:PORT]/KEYSPACE with a keyspace of a-z, 0-9 and _"
            )
        return cls(
            hosts=tuple((one[1].strip("[]"), int(one[2] or 9042)) for one in found if one),
            keyspace=keyspace,
            username=login.get("username"),
            password=login.get("password"),
            ca_file=login.get("ca_file"),
        )

    def __str__(self) -> str:
        return f"cassandra://{','.join(f'{host}:{port}' for host, port in self.hosts)}/{self.keyspace}"
