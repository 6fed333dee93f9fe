"""`kappawatt rights` prints what the table says, for the names that are given."""

import json

import pytest

from kappawatt import cli, rights


def printed(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    assert cli.main(["rights", *flags]) == 0
    return capsys.readouterr().out


def test_collector_may_write_its_topics_and_read_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "kafka", "--users", "u_", "--topic-prefix", "p-").splitlines()

    assert [line for line in lines if "User:u_collector" in line] == [
        "$ACLS --add --allow-principal User:u_collector --operation Write --topic p-sample --topic p-run_event "
        "--topic p-dead_letter"
    ]
    assert not [line for line in lines if "User:u_dash" in line or "User:u_migrate" in line]


def test_page_may_only_select(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "cassandra", "--keyspace", "k1").splitlines()

    assert [line for line in lines if "kappawatt_dash" in line] == [
        "CREATE ROLE IF NOT EXISTS kappawatt_dash WITH LOGIN = true;",
        "GRANT SELECT ON KEYSPACE k1 TO kappawatt_dash;",
    ]


def test_table_and_json_tell_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    table, rows = printed(capsys), json.loads(printed(capsys, "--json"))

    assert [row["role"] for row in rows] == [f"kappawatt_{role.name}" for role in rights.ROLES]
    assert all(row["role"] in table and row["does"] in table for row in rows)


@pytest.mark.parametrize("flags", [("--users", "x'; DROP"), ("--keyspace", "K")])
def test_name_that_would_steer_the_script_is_refused(flags: tuple[str, str]) -> None:
    assert cli.main(["rights", "cassandra", *flags]) == 2
