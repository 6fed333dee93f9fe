"""Settings: order of the places, unknown names, bad values, masking."""

from pathlib import Path

import pytest

from kappawatt import settings
from kappawatt.errors import SettingsError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_default_is_used_when_nothing_is_given(folder: Path) -> None:
    loaded = settings.load_with_origins(environ={})

    assert loaded.settings == settings.Settings()
    assert set(loaded.origins.values()) == {"default"}


def test_flag_beats_environment_beats_file_beats_default(folder: Path) -> None:
    (folder / "kappawatt.toml").write_text('zone = "FRA"\nidle_s = 3\nlog = "file:c"\n')
    environ = {"KAPPAWATT_ZONE": "DEU", "KAPPAWATT_LOG": "file:b"}

    loaded = settings.load_with_origins({"log": "file:a", "zone": None}, environ=environ)

    assert (loaded.settings.log, loaded.settings.zone, loaded.settings.idle_s) == ("file:a", "DEU", 3.0)
    assert [loaded.origins[name] for name in ("log", "zone", "idle_s", "pue")] == [
        "flag",
        "environment",
        "kappawatt.toml",
        "default",
    ]


def test_named_config_file_is_read_from_anywhere(folder: Path) -> None:
    other = folder / "site.toml"
    other.write_text("processes = 32\n")

    assert settings.load(environ={"KAPPAWATT_CONFIG": str(other)}).processes == 32


def test_named_config_file_that_is_missing_is_an_error(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        settings.load(environ={"KAPPAWATT_CONFIG": "nowhere.toml"})


def test_config_file_that_is_no_toml_is_an_error(folder: Path) -> None:
    (folder / "kappawatt.toml").write_text("zone = \n")

    with pytest.raises(SettingsError, match=r"kappawatt\.toml cannot be read as TOML"):
        settings.load(environ={})


@pytest.mark.parametrize(
    ("environ", "nearest"),
    [
        ({"KAPPAWATT_LATENES_S": "9"}, "KAPPAWATT_LATENESS_S"),
        ({"KAPPAWATT_STORES": "x"}, "KAPPAWATT_STORE"),
        ({"KAPPAWATT_DEBUGS": "1"}, "KAPPAWATT_DEBUG"),
    ],
)
def test_unknown_variable_names_the_nearest_known_one(folder: Path, environ: dict[str, str], nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"did you mean {nearest}\\?"):
        settings.load(environ=environ)


def test_unknown_key_of_the_file_names_the_nearest_known_one(folder: Path) -> None:
    (folder / "kappawatt.toml").write_text("zon = 'DEU'\n")

    with pytest.raises(SettingsError, match="did you mean zone"):
        settings.load(environ={})


def test_variables_of_doors_and_of_others_are_left_alone(folder: Path) -> None:
    environ = {
        "KAPPAWATT_KAFKA_SASL_PASSWORD": "s",
        "KAPPAWATT_TEST_KAFKA": "h:1",
        "PATH": "/bin",
        "KAPPAWATT_ZONE": "",
    }

    assert settings.load(environ=environ) == settings.Settings()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("lateness_s", "soon", "is not a number (s) of at least 0; the default is 900"),
        ("lateness_s", "-1", "of at least 0"),
        ("lateness_s", "nan", "is not a number"),
        ("period_s", "0", "above 0; the default is 1"),
        ("processes", "2.5", "is not a whole number (count) of at least 1; the default is 1"),
        ("pue", "0.9", "of at least 1; the default is not set"),
    ],
)
def test_bad_number_says_what_was_given_and_what_is_right(folder: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(environ={f"KAPPAWATT_{name.upper()}": text})

    assert said in str(caught.value)
    assert str(caught.value).startswith(f"KAPPAWATT_{name.upper()}='{text}'")


@pytest.mark.parametrize("line", ["zone = 3", "idle_s = true", "idle_s = []", "processes = 1.0"])
def test_wrong_type_in_the_file_is_an_error(folder: Path, line: str) -> None:
    (folder / "kappawatt.toml").write_text(line + "\n")

    with pytest.raises(SettingsError):
        settings.load(environ={})


def test_every_setting_has_unit_and_help() -> None:
    assert all(one.unit and one.help for one in settings.about())


def test_environment_for_a_child_gives_the_same_settings(folder: Path) -> None:
    given = settings.load({"zone": "DEU", "pue": 1.25, "processes": 8}, environ={})

    assert settings.load(environ=settings.environ_for(given)) == given


def test_flow_state_lies_beside_the_sqlite_file() -> None:
    given = settings.Settings(store="sqlite:/data/l.sqlite")

    assert settings.flow_settings(given).state == "/data/l.sqlite.state"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("http://u:p@h/x", "http://***@h/x"), ("sqlite:a@b", "sqlite:a@b"), (None, "-"), (3, "3")],
)
def test_printed_values_hold_no_password(value: object, shown: str) -> None:
    assert settings.masked(value) == shown
