"""Probes answer by the state of the work, not of the process."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from kappawatt.errors import SettingsError
from kappawatt.probes import serve


class Patient:
    """Something whose health the test decides."""

    wrong: str | None = None


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def url(patient: Patient) -> Iterator[str]:
    server = serve("127.0.0.1:0", {"/livez": lambda: patient.wrong})
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def ask(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_probe_says_what_is_wrong_while_it_is(url: str, patient: Patient) -> None:
    healthy = ask(f"{url}/livez")
    patient.wrong = "no turn for 31 s"
    ill = ask(f"{url}/livez")
    patient.wrong = None

    assert healthy == ask(f"{url}/livez") == (200, "ok\n")
    assert ill == (503, "no turn for 31 s\n")


def test_path_that_nobody_answers_is_not_found(url: str) -> None:
    assert ask(f"{url}/metrics") == (404, "there is only /livez\n")


@pytest.mark.parametrize("address", ["8081", "127.0.0.1:", "nowhere.invalid:8081"])
def test_address_that_cannot_be_used_is_an_error(address: str) -> None:
    with pytest.raises(SettingsError, match="probes="):
        serve(address, {})
