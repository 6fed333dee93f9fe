"""`ls`, `show`, `verify`, `config`, `migrate`, and how errors come out of the program."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kappawatt import cli
from kappawatt.stores import open_store
from kappawatt.stores.tables import SCHEMA_VERSION, TABLES

ROOT = Path(__file__).parents[2]
START = round(datetime.now(UTC).timestamp() - 3600) * 1_000_000
TODAY = datetime.fromtimestamp(START / 1e6, UTC).date().isoformat()
LISTED = {"date": TODAY, "started_at": START, "status": "succeeded", "user": "ada", "project": "vision", "model": "mlp"}
ENERGY = {"energy_uj": 3_600_000_000, "cpu_uj": 3_000_000_000, "memory_uj": 600_000_000, "gpu_uj": 0, "other_uj": 0}
PRICED = {
    "emissions_g": 0.5,
    "intensity_g_per_kwh": 500.0,
    "intensity_kind": "static",
    "zone_level": "world",
    "unpriced_uj": 0,
}
TOTAL = {
    **ENERGY,
    **PRICED,
    "estimated_uj": 3_600_000_000,
    "samples": 60,
    "coverage": 0.9996,
    "power_w_max": 75.0,
    "hosts": 1,
    "first_start": START,
    "last_end": START + 60_000_000,
}


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with run `digits-1` and a second one of the same name, an hour old."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KAPPAWATT_")]:
        monkeypatch.delenv(name)
    url = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    monkeypatch.setenv("KAPPAWATT_STORE", url)
    monkeypatch.setenv("KAPPAWATT_LOG", f"file:{tmp_path / 'log'}")
    write("run", run_id="digits-1", name="digits", status="succeeded", user="ada", first_seen=START, last_seen=START)
    write("runs_by_date", run_id="digits-1", name="digits", **LISTED)
    write("runs_by_date", run_id="digits-2", name="letters", **(LISTED | {"started_at": START + 1, "project": "text"}))
    write("run_total", run_id="digits-1", **TOTAL)
    write("phase_total", run_id="digits-1", phase="train\x1b[31m", duration_us=60_000_000, **ENERGY, **PRICED)
    write("run_metric", run_id="digits-1", date=TODAY, at=START, event_id="e", type="epoch", epoch=3, loss=0.25)
    return url


def write(table: str, **columns: Any) -> None:
    store = open_store(os.environ["KAPPAWATT_STORE"])
    store.write(table, [tuple(columns.get(name) for name in TABLES[table].columns)], 1)
    store.flush()
    store.close()


def test_ls_lists_runs_newest_first(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls"]) == 0

    header, newest, other = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "RUN",
        "STATUS",
        "STARTED",
        "LENGTH",
        "KWH",
        "G",
        "CO2E",
        "COVERAGE",
        "PROJECT",
        "MODEL",
        "USER",
    ]
    assert newest.split()[0] == "digits-2"
    assert [other.split()[0], *other.split()[4:]] == [
        "digits-1",
        "1",
        "min",
        "00",
        "s",
        "0.00100",
        "0.500",
        "99.9",
        "%",
        "vision",
        "mlp",
        "ada",
    ]


def test_ls_shows_a_run_without_samples_as_unknown_not_as_zero(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["ls", "--project", "text"])

    assert capsys.readouterr().out.splitlines()[1].split()[4:8] == ["-", "-", "-", "-"]


def test_ls_as_json_gives_the_stores_rows(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["ls", "--json", "--project", "vision", "--limit", "1"])

    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run_id"], row["started_at"], row["total"]["energy_uj"]) == ("digits-1", START, 3_600_000_000)


def test_ls_without_a_run_says_so_on_stderr(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls", "--user", "nobody"]) == 0

    assert capsys.readouterr() == ("", f"kappawatt: no run in the last 30 days in {ledger}\n")


@pytest.mark.parametrize("wanted", ["digits-1", "digits"], ids=["id", "name"])
def test_show_tells_all_about_a_run(ledger: str, capsys: pytest.CaptureFixture[str], wanted: str) -> None:
    assert cli.main(["show", wanted]) == 0

    out = capsys.readouterr().out
    assert "energy     0.00100 kWh (1.00 Wh: cpu 3000 J" in out.replace("3,000", "3000")
    assert "power      mean 60.0 W, peak 75.0 W over 5 s" in out
    assert "emissions  0.500 g CO2e (500 g/kWh, static, level world; PUE 1.0, none given)" in out
    assert "coverage   99.9 % of 1 min 00 s, 60 samples, 1 hosts" in out
    assert "estimated  100 % of the energy" in out
    assert "last metrics: epoch 3, loss 0.25 (1 in all)" in out


def test_show_lets_no_name_steer_the_terminal(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", "digits-1"])

    assert "train?[31m" in capsys.readouterr().out


def test_show_of_an_ambiguous_beginning_names_the_runs(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "digits-"]) == 1

    assert "run 'digits-': 2 runs begin so: digits-2, digits-1; give more of the id" in capsys.readouterr().err


def test_show_of_an_unknown_run_is_an_error(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "nothing"]) == 1

    assert capsys.readouterr().err.startswith("kappawatt: run 'nothing': the store knows none of that id or name")


def test_reading_makes_no_store(ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ls", "--store", "sqlite:other.sqlite"]) == 1

    assert "there is no such file yet; `kappawatt flow` makes it" in capsys.readouterr().err
    assert not (tmp_path / "other.sqlite").exists()


def test_verify_finds_the_equation_that_does_not_hold(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"counted": 5, "duplicate": 1, "rejected": 1, "dead": 1, "lost": 0}
    write("accounting", source_partition="sample/h.0", sent=9, position="h.0-000000.avro:10", **counts)

    assert cli.main(["verify"]) == 1

    out = capsys.readouterr().out.splitlines()
    assert out[0] == "source partition sample/h.0: sent = counted + duplicate + rejected + dead: 9 ≠ 8"
    assert "run digits-1: Σ run_window_5s + late = total: 0 ≠ 3600000000" in out
    assert out[-1] == "6 equations checked, 4 do not hold"


def test_config_prints_value_and_origin_without_passwords(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["config", "--json", "--registry", "http://me:secret@registry:8081"])

    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["registry"]["value"], rows["registry"]["origin"]) == ("http://***@registry:8081", "flag")
    assert (rows["store"]["origin"], rows["idle_s"]["origin"]) == ("environment", "default")


def test_migrate_makes_the_tables_and_says_what_it_did(
    ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    applied = []
    for _ in range(2):
        assert cli.main(["migrate", "--store", "sqlite:new.sqlite", "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        applied.append(answer["applied"])

    assert answer["tables"] == list(TABLES)
    assert applied == [[f"SQLite schema version {SCHEMA_VERSION}"], []]
    assert (tmp_path / "new.sqlite").is_file()


@pytest.mark.stack
def test_migrate_makes_keyspace_and_tables_in_cassandra_when_asked(
    ledger: str, keyspace: str, cassandra_address: str, cassandra_session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cassandra_session.execute(f"DROP KEYSPACE {keyspace}")
    to = ["migrate", "--store", f"cassandra://{cassandra_address}/{keyspace}"]

    assert cli.main(to) == 1
    assert f"there is no keyspace {keyspace}; run `kappawatt migrate --create-keyspace`" in capsys.readouterr().err
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    assert cli.main([*to, "--create-keyspace", "--replication", replication]) == 0
    assert capsys.readouterr().out.startswith("applied 001_create_tables.cql\n")
    assert cli.main(["ls", *to[1:]]) == 0
    assert cli.main(["verify", *to[1:]]) == 0


@pytest.mark.stack
def test_doctor_makes_nothing_in_cassandra(
    ledger: str, keyspace: str, cassandra_address: str, cassandra_session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["doctor", "--json", "--store", f"cassandra://{cassandra_address}/{keyspace}"])

    (store,) = [each for each in json.loads(capsys.readouterr().out)["places"] if each["what"] == "store"]
    made = cassandra_session.execute("SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", [keyspace])
    assert (store["usable"], list(made)) == (False, [])
    assert "run `kappawatt migrate`" in store["found"]


def test_reading_changes_nothing(ledger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (tmp_path / "ledger.sqlite").read_bytes()

    for command in (["ls"], ["show", "digits-1"], ["verify"], ["doctor"]):
        cli.main(command)

    assert (tmp_path / "ledger.sqlite").read_bytes() == before


def test_doctor_names_a_method_for_the_cpu(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json", "--registry", "http://127.0.0.1:1"]) == 0

    found = json.loads(capsys.readouterr().out)
    methods = {device["kind"]: device["method"] for device in found["devices"]}
    usable = {place["what"]: place["usable"] for place in found["places"]}
    assert methods["cpu"] in ("counter", "model")
    assert usable == {"log": True, "registry": False, "store": True}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ls", "--store", "what"], 1, "store 'what': unknown kind 'what'"),
        (["config", "--idle-s", "soon"], 2, "--idle-s soon is not a number (s) above 0; the default is 10"),
        (["schema", "check"], 2, "schema: no registry is set"),
        (["run"], 2, "run: there is no command"),
        (["migrate", "--replication", "{}"], 2, "--replication is for a keyspace that is made"),
        (["migrate", "--create-keyspace", "--replication", "3"], 2, "--replication 3 is no CQL map like {'class'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_error_is_one_line_on_stderr_with_its_exit_code(
    ledger: str, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    assert cli.main(arguments) == code

    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith(f"kappawatt: {said}")


def test_debug_shows_the_traceback(ledger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPPAWATT_DEBUG", "1")

    with pytest.raises(Exception, match="no registry is set"):
        cli.main(["schema", "check"])


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    commands = cli.commands()

    for name in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0
        assert f"kappawatt {name}" in capsys.readouterr().out.split("examples:")[1]


def test_every_command_and_setting_is_in_the_docs() -> None:
    docs = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

    from kappawatt import settings

    assert [name for name in cli.commands() if f"`kappawatt {name}" not in docs] == []
    assert [one.name for one in settings.about() if f"| `{one.name}` | {one.unit} |" not in docs] == []


def test_reader_that_goes_away_ends_the_program_quietly(ledger: str) -> None:
    command = [sys.executable, "-m", "kappawatt.cli", "config", "--json"]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert program.stdout is not None
    program.stdout.close()

    _, told = program.communicate(timeout=30)

    assert (program.returncode, told) == (141, b"")


def test_program_starts_without_numbers_and_clients() -> None:
    code = "import sys, kappawatt.cli; print(*sorted(sys.modules))"
    heavy = {"numpy", "polars", "psutil", "pynvml", "fastavro", "confluent_kafka", "bytewax", "sqlite3", "cassandra"}
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    loaded = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert heavy.isdisjoint(loaded.stdout.split())


RESTATED = {
    "run_id": "digits-1", "date": TODAY, "at": START + 7_200_000_000, "restatement_id": "r1", "zone": "DE-LU\x1b[31m",
    "valid_from": START // 3_600_000_000 * 3_600_000_000, "valid_to": (START // 3_600_000_000 + 1) * 3_600_000_000,
    "old_g_per_kwh": 124.0, "new_g_per_kwh": 104.0, "old_emissions_g": 37.2, "new_emissions_g": 31.2,
    "reason": "revision", "applied": True,
}  # fmt: skip


def test_show_tells_what_was_restated(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("restatement", **RESTATED)
    late = {"restatement_id": "r2", "old_emissions_g": None, "new_emissions_g": None, "applied": False}
    write("restatement", **(RESTATED | late))

    assert cli.main(["show", "digits-1"]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [line for line in lines if "revision" in line]
    assert [line[-6:] for line in shown] == [
        ["→", "104", "37.2", "→", "31.2", "revision"],
        ["124", "→", "104", "not", "applied", "revision"],
    ]


def test_show_says_nothing_of_restatements_where_there_are_none(
    ledger: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["show", "digits-1"])

    assert "RESTATED" not in capsys.readouterr().out


def test_show_gives_restatements_as_json(ledger: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("restatement", **RESTATED)

    cli.main(["show", "digits-1", "--json"])

    (found,) = json.loads(capsys.readouterr().out)["restatements"]
    assert (found["old_g_per_kwh"], found["new_g_per_kwh"], found["applied"]) == (124.0, 104.0, True)
