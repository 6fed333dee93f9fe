"""The lock files: complete, agreeing with each other, and free of places to download from."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock: str) -> dict[str, str]:
    """Version by package name."""
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return {canonical(name): version for name, version in found}


def named(requirements: list[object]) -> set[str]:
    texts = [item for item in requirements if isinstance(item, str)]
    return {canonical(re.split(r"[\[<>=~!; ]", text)[0]) for text in texts} - {"kappawatt"}


def test_runtime_lock_has_all_that_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = named([*project["project"]["dependencies"], *(item for extra in extras for item in extra)])

    assert wanted - pins("requirements.lock").keys() == set()


def test_developers_lock_has_all_that_the_groups_ask_for():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    wanted = named([item for group in groups.values() for item in group])

    assert wanted - pins("requirements-dev.lock").keys() == set()


def test_runtime_lock_is_a_part_of_the_developers_lock():
    developers = pins("requirements-dev.lock")

    assert {name: developers.get(name) for name in pins("requirements.lock")} == pins("requirements.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_hashes_and_no_place(lock):
    entries = re.split(r"\n(?=[a-z])", (ROOT / lock).read_text())[1:]

    assert [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?://|--index-url|--find-links|file:", (ROOT / lock).read_text()) == []


def test_bill_of_materials_names_what_is_locked_and_is_the_same_each_time(tmp_path):
    def bill(name):
        command = ["-W", "ignore::UserWarning", "-m", "cyclonedx_py", "requirements", "requirements.lock"]
        options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--output-file", str(tmp_path / name)]
        subprocess.run([sys.executable, *command, *options], cwd=ROOT, check=True, capture_output=True, timeout=120)
        return (tmp_path / name).read_bytes()

    found = json.loads(bill("one"))
    hashed = [each for each in found["components"] if any(r.get("hashes") for r in each["externalReferences"])]

    assert {canonical(each["name"]): each["version"] for each in hashed} == pins("requirements.lock")
    assert found["metadata"]["component"]["name"] == "kappawatt"
    assert bill("two") == (tmp_path / "one").read_bytes()
