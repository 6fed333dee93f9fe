"""The identity check: a figure counts only if the engine wrote what the oracle expects."""

import math
from collections.abc import Mapping
from typing import Any

FLUSH = "~flush|"
TOLERANCE = 1e-9
COLUMNS = ("energy_uj", "cpu_uj", "gpu_uj", "memory_uj", "other_uj", "estimated_uj")


def differences(
    expected: Mapping[str, Mapping[str, Any]],
    counts: Mapping[str, int],
    rows: Mapping[str, Mapping[str, Any]],
    counted: Mapping[str, int],
    *,
    most: int = 20,
) -> list[str]:
    """What an engine's answer has wrong, in words; the first *most* of each kind, and how many there are."""
    ours = {key: row for key, row in rows.items() if not key.startswith(FLUSH)}
    missing = sorted(expected.keys() - ours.keys())
    extra = sorted(ours.keys() - expected.keys())
    wrong = [
        f"{key} {name}: {row.get(name)!r}, expected {value!r}"
        for key, wanted in sorted(expected.items())
        if (row := ours.get(key)) is not None
        for name, value in wanted.items()
        if not equal(name, value, row.get(name))
    ]
    found = _some("is missing", missing, most) + _some("is no row of the oracle", extra, most)
    found += _some("", wrong, most)
    found += [
        f"{name}: counted {counted.get(name, 0)}, expected {number}"
        for name, number in counts.items()
        if counted.get(name, 0) != number
    ]
    return found


def equal(name: str, wanted: Any, got: Any) -> bool:
    """Integers are equal or not; grams are equal within 1e-9 relative.

    >>> equal("energy_uj", 5, 5.0), equal("emissions_g", 1.0, 1.0 + 1e-12), equal("emissions_g", 1.0, None)
    (False, True, False)
    """
    if name in COLUMNS:
        return type(got) is int and got == wanted
    return type(got) in (int, float) and math.isclose(got, wanted, rel_tol=TOLERANCE, abs_tol=1e-15)


def _some(what: str, found: list[str], most: int) -> list[str]:
    lines = [f"{each} {what}".rstrip() for each in found[:most]]
    return lines + ([f"… and {len(found) - most} more that {what or 'are wrong'}"] if len(found) > most else [])
