"""The histories are worth something: each fault that is planted is caught by one of them."""

import pytest

from tests.simulation.mutants import FAULTS, caught


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_caught(name: str) -> None:
    assert caught(name).startswith("history ")
