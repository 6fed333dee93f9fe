"""Log-ins: from the environment or a file it names, complete, known by name, never shown."""

from pathlib import Path

import pytest

from kappawatt import access, cli, settings
from kappawatt.errors import SettingsError
from kappawatt.log.kafka_settings import client_settings

DOCS = (Path(__file__).resolve().parents[2] / "docs/cli.md").read_text()
LOGIN = {"KAPPAWATT_CASSANDRA_USERNAME": "flow"}


def test_password_comes_from_the_file_that_is_named_without_its_line_end(tmp_path: Path) -> None:
    kept = tmp_path / "password"
    kept.write_text("p w \n")
    environ = {**LOGIN, "KAPPAWATT_CASSANDRA_PASSWORD_FILE": str(kept)}
    kafka = {"KAPPAWATT_KAFKA_SASL_USERNAME": "flow", "KAPPAWATT_KAFKA_SASL_PASSWORD_FILE": str(kept)}

    assert access.read(environ, access.CASSANDRA) == {"username": "flow", "password": "p w "}
    assert client_settings(kafka) == {"sasl.username": "flow", "sasl.password": "p w "}


def test_other_secret_of_the_kafka_client_may_stand_in_a_file(tmp_path: Path) -> None:
    kept = tmp_path / "secret"
    kept.write_text("s")
    environ = {"KAPPAWATT_KAFKA_SSL_KEY_PASSWORD_FILE": str(kept)}

    assert client_settings(environ) == {"ssl.key.password": "s"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({**LOGIN}, "KAPPAWATT_CASSANDRA_USERNAME is set and KAPPAWATT_CASSANDRA_PASSWORD is not"),
        ({"KAPPAWATT_REGISTRY_PASSWORD": "x"}, "PASSWORD is set and KAPPAWATT_REGISTRY_USERNAME is not"),
        (
            {**LOGIN, "KAPPAWATT_CASSANDRA_PASSWORD": "x", "KAPPAWATT_CASSANDRA_PASSWORD_FILE": "/y"},
            "are both set; unset one",
        ),
        ({**LOGIN, "KAPPAWATT_CASSANDRA_PASSWORD_FILE": "/nowhere"}, "_FILE=/nowhere cannot be read: No such file"),
        ({**LOGIN, "KAPPAWATT_CASSANDRA_PASSWORD_FILE": "/dev/null"}, "_FILE=/dev/null is empty"),
    ],
    ids=["no password", "no user", "twice", "no file", "an empty file"],
)  # fmt: skip
def test_log_in_that_is_not_whole_is_refused(environ: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        access.given(environ)


@pytest.mark.parametrize("name", ["KAPPAWATT_CASSANDRA_PASWORD", "KAPPAWATT_REGISTRY_CA"])
def test_misspelt_name_is_an_error_of_every_command(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is unknown; did you mean KAPPAWATT_"):
        settings.load(environ={name: "x"})


def test_config_lists_log_ins_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAPPAWATT_REGISTRY_USERNAME", "reader")
    monkeypatch.setenv("KAPPAWATT_REGISTRY_PASSWORD", "hunter2")

    assert cli.main(["config"]) == 0

    said = capsys.readouterr().out
    assert "hunter2" not in said + repr(access.given({**LOGIN, "KAPPAWATT_CASSANDRA_PASSWORD": "hunter2"}))
    lines = {line.split()[0]: line.split()[1] for line in said.splitlines() if line.startswith("KAPPAWATT_REGISTRY")}
    assert lines == {
        "KAPPAWATT_REGISTRY_USERNAME": "reader",
        "KAPPAWATT_REGISTRY_PASSWORD": "***",
        "KAPPAWATT_REGISTRY_CA_FILE": "-",
    }


@pytest.mark.parametrize("variable", access.VARIABLES, ids=lambda each: each.name)
def test_variable_is_documented(variable: access.Variable) -> None:
    assert f"`{variable.name}`" in DOCS
