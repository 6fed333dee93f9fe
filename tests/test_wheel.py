"""What a person gets from `pip install kappawatt`: built here, and used from another folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def python(*arguments, path, cwd):
    """Stdout of this interpreter, with the wheel's contents before everything else it could import."""
    command = [sys.executable, *arguments]
    environment = {"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    """The folder into which pip would put it."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_wheel_has_no_name_at_the_top_but_ours(names):
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"kappawatt"}


@pytest.mark.parametrize("folder", ["kappawatt", "collectors", "dataflows", "dash_app"])
def test_wheel_has_every_module(names, folder):
    home = "" if folder == "kappawatt" else "kappawatt/"
    modules = {home + path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}

    assert modules - names == set()


@pytest.mark.parametrize("folder", ["avro", "cassandra", "kappawatt/data", "dash_app/assets"])
def test_wheel_has_every_data_file(names, folder):
    home = "" if folder.startswith("kappawatt") else "kappawatt/"
    files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {home + path.relative_to(ROOT).as_posix() for path in files}

    assert wanted
    assert wanted - names == set()


def test_wheel_has_the_licence_and_no_waste(names):
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "kappawatt/py.typed" in names
    assert [name for name in names if name.endswith(".pyc") or "/tests/" in name] == []


def test_data_is_found_from_the_wheel(unpacked, tmp_path):
    script = "from kappawatt.resources import data_dir; print(data_dir('avro'), data_dir('cassandra'))"
    avro, cassandra = map(Path, python("-c", script, path=unpacked, cwd=tmp_path).split())

    assert (avro / "sample.avsc").is_relative_to(unpacked)
    assert (avro / "sample.avsc").exists()
    assert list(cassandra.glob("*.cql"))


@pytest.mark.parametrize("program", ["collectors.agent", "dataflows.main", "dash_app.main"])
def test_program_is_found_from_the_wheel(unpacked, tmp_path, program):
    script = f"from kappawatt.programs import load; print(load({program!r}).__name__)"

    assert python("-c", script, path=unpacked, cwd=tmp_path) == f"kappawatt.{program}"


def test_command_runs_from_the_wheel(unpacked, tmp_path):
    script = "import sys; from kappawatt.cli import main; sys.exit(main(['--version']))"

    assert python("-c", script, path=unpacked, cwd=tmp_path).startswith("kappawatt ")
