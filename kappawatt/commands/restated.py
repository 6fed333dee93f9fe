"""What `show` says of restatements: which prices of a run changed after their rows had been shown."""

from typing import Any

from kappawatt import text
from kappawatt.commands import base

_MOST = 20


def change(old: Any, new: Any) -> str:
    """`old → new`, a value that is not known as the text's sign for it."""
    return f"{text.digits(old)} → {text.digits(new)}"


def print_restatements(rows: list[dict[str, Any]]) -> None:
    """The newest of them as a table; nothing if there are none."""
    if not rows:
        return
    print()
    newest = sorted(rows, key=lambda row: (row["at"], row["valid_from"]))[-_MOST:]
    shown = [
        (
            text.instant(row["at"]),
            row["zone"],
            text.instant(row["valid_from"]),
            text.duration(row["valid_to"] - row["valid_from"]),
            change(row["old_g_per_kwh"], row["new_g_per_kwh"]),
            change(row["old_emissions_g"], row["new_emissions_g"]) if row["applied"] else "not applied",
            row["reason"],
        )
        for row in newest
    ]
    base.print_table(("RESTATED", "ZONE", "FROM", "LENGTH", "G/KWH", "G CO2E", "REASON"), shown, right=(3,))
    if len(rows) > _MOST:
        print(f"and {len(rows) - _MOST} older ones: --json shows all")
