"""What is said to SQLite: statements made from the tables."""

from collections.abc import Collection, Sequence

from kappawatt.stores.tables import Kind, Table

_TYPES = {
    Kind.TEXT: "TEXT",
    Kind.BIGINT: "INTEGER",
    Kind.VARINT: "INTEGER",
    Kind.DOUBLE: "REAL",
    Kind.INSTANT: "INTEGER",
    Kind.DATE: "TEXT",
    Kind.BOOLEAN: "INTEGER",
}

WHOLE = frozenset({Kind.BIGINT, Kind.VARINT, Kind.INSTANT})
"""Kinds that SQLite keeps in 64 bits."""

OWN_TABLES = (
    "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID",
    # A deleted key stays deleted against older versions, as in Cassandra.
    "CREATE TABLE IF NOT EXISTS tombstone (table_name TEXT, key TEXT, version INTEGER NOT NULL, "
    "PRIMARY KEY (table_name, key)) STRICT, WITHOUT ROWID",
)


def create(table: Table) -> str:
    """The table, with `version` behind its columns."""
    columns = [f'"{name}" {_TYPES[kind]}' for name, kind in table.columns.items()]
    columns.append("version INTEGER NOT NULL")
    columns.append(f"PRIMARY KEY ({_names(table.key)})")
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(columns)}) STRICT, WITHOUT ROWID"


def add_column(table: Table, name: str) -> str:
    """A column that an older store lacks."""
    return f'ALTER TABLE {table.name} ADD COLUMN "{name}" {_TYPES[table.columns[name]]}'


def upsert(table: Table) -> str:
    """Upsert of a row unless it has this version or a greater; values: the columns, the version."""
    marks = ", ".join("?" * (len(table.columns) + 1))
    values = [name for name in table.columns if name not in table.key] + ["version"]
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in values)
    return (
        f"INSERT INTO {table.name} ({_names((*table.columns, 'version'))}) VALUES ({marks}) "  # noqa: S608 our own names
        f"ON CONFLICT DO UPDATE SET {updates} WHERE excluded.version > {table.name}.version"
    )


def delete(table: Table) -> str:
    """Deletion of a row unless it has a greater version; values: the key, the version."""
    where = " AND ".join(f'"{column}" = ?' for column in table.key)
    return f"DELETE FROM {table.name} WHERE {where} AND version <= ?"  # noqa: S608 our own names


def select(table: Table, bounds: Collection[str], *, newest_first: bool) -> str:
    """The rows of a partition; values by name: the partition key, `since_`, `until_`, `limit_`; *bounds* says which."""
    terms = [f'"{name}" = :{name}' for name in table.partition]
    for name, operator in (("since_", ">="), ("until_", "<=")):
        if name in bounds:
            terms.append(f'"{table.clustering[0]}" {operator} :{name}')
    text = f"{select_all(table)} WHERE {' AND '.join(terms)}"
    if table.clustering:
        text += " ORDER BY " + ", ".join(f'"{name}"{" DESC" if newest_first else ""}' for name in table.clustering)
    return text + (" LIMIT :limit_" if "limit_" in bounds else "")


def select_all(table: Table) -> str:
    """Every row of a table."""
    return f"SELECT {_names((*table.columns, 'version'))} FROM {table.name}"  # noqa: S608 our own names


def _names(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
