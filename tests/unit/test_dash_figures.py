"""Rows to figures and words."""

import datetime as dt
import importlib
from typing import Any

import pytest

from dash_app import figures, look, restated, run_view, text
from dash_app.queries import Curve, Run
from kappawatt.stores.tables import TABLES

S = 1_000_000
NOON = 1_795_262_400 * S


def window(number: int, watts: float = 100.0, **more: Any) -> dict[str, Any]:
    energy_uj = int(watts * 5 * S)
    row = dict.fromkeys(TABLES["run_window_5s"].columns)
    known = {"window_start": NOON + number * 5 * S, "energy_uj": energy_uj, "estimated_uj": 0, "unpriced_uj": 0}
    priced = {"emissions_g": energy_uj / 3.6e12 * 360, "intensity_kind": "actual", "power_w_max": watts}
    return {**row, **known, **priced, **more}


def run(rows: list[dict[str, Any]], *, last_s: float | None = None, **more: Any) -> tuple[Run, Curve]:
    first = rows[0]["window_start"] if rows else NOON
    last = rows[-1]["window_start"] + 5 * S if last_s is None and rows else NOON + int((last_s or 0) * S)
    total = {"first_start": first, "last_end": last, "energy_uj": sum(row["energy_uj"] for row in rows)}
    total |= {"estimated_uj": sum(row["estimated_uj"] for row in rows), "unpriced_uj": 0}
    found = Run(run_id="r", run={"status": "running"}, total=total, phases=(), metrics=more.pop("metrics", ()))
    return found, Curve(rows=rows, window_us=5 * S, cut=False)


def trace(figure: dict[str, Any], name: str, *, hover: bool = True) -> dict[str, Any]:
    (found,) = [one for one in figure["data"] if one["name"] == name and ("hoverinfo" not in one) is hover]
    return found


def live(rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    scheme = more.pop("scheme", "light")
    zone = more.pop("zone", dt.UTC)
    return figures.live(*run(rows, **more), scheme=scheme, zone=zone)


def test_power_is_energy_over_time():
    assert trace(live([window(0, 100), window(1, 250)]), "measured")["y"] == [100, 250, 250]


def test_unfinished_window_shows_the_power_of_the_time_it_covers():
    rows = [window(0, 100), window(1, 40)]

    assert trace(live(rows, last_s=7), "measured")["y"] == [100, 100, 100]


def test_missing_windows_are_a_gap_not_zero():
    found = trace(live([window(0), window(3)]), "measured")

    assert found["y"] == [100, 100, None, 100, 100]
    assert found["x"][1] == "2026-11-21T12:00:05"


def test_area_under_a_gap_is_empty():
    found = trace(live([window(0), window(3)]), "measured", hover=False)

    assert found["y"] == [100, 100, 0, 0, 100, 100]


def test_estimated_windows_are_hatched_and_the_others_are_not():
    figure = live([window(0), window(1, 100, estimated_uj=500 * S)])

    assert trace(figure, "estimated", hover=False)["fillpattern"]["shape"] == "/"
    assert "fillpattern" not in trace(figure, "measured", hover=False)
    assert trace(figure, "estimated")["x"][0] == "2026-11-21T12:00:05"


def test_wholly_measured_run_has_no_estimated_curve():
    assert not [one for one in live([window(0)])["data"] if one["name"] == "estimated"]


def test_emission_rate_is_grams_per_hour():
    assert trace(live([window(0, 1_000)]), "emission rate")["y"] == pytest.approx([360, 360])


def test_unpriced_windows_have_no_emission_rate():
    assert trace(live([window(0, emissions_g=None), window(1)]), "emission rate")["x"][0] == "2026-11-21T12:00:05"


def test_spike_of_a_long_window_is_drawn():
    found, curve = run([window(0, power_w_max=900.0)])

    figure = figures.live(found, Curve(rows=curve.rows, window_us=300 * S, cut=False), scheme="light", zone=dt.UTC)

    assert max(trace(figure, "highest 5 s")["y"]) == 900.0


def test_totals_so_far_end_at_the_sum():
    assert trace(live([window(0, 3_600), window(1, 3_600)]), "energy")["y"][-1] == pytest.approx(10.0)


def test_loss_gets_a_panel_of_its_own():
    metrics = [{"at": NOON, "loss": 2.0, "accuracy": None}, {"at": NOON + S, "loss": float("nan"), "accuracy": 0.5}]

    figure = live([window(0)], metrics=metrics)

    assert trace(figure, "loss")["y"] == [2.0]
    assert figure["layout"]["height"] == figures.height_px(4)


def test_times_are_those_of_the_zone_and_the_axis_says_so():
    figure = live([window(0)], zone=text.zone_of("Asia/Kolkata"))

    assert trace(figure, "measured")["x"][0] == "2026-11-21T17:30:00"
    assert "Asia/Kolkata, UTC+05:30" in figure["layout"]["xaxis"]["title"]["text"]


def test_zoom_is_bound_to_the_run_only():
    assert (
        live([window(0)])["layout"]["uirevision"] == live([window(0), window(1)], scheme="dark")["layout"]["uirevision"]
    )


def test_dark_figures_have_dark_ink_and_no_white_ground():
    light, dark = (live([window(0)], scheme=scheme)["layout"] for scheme in ("light", "dark"))

    assert light["font"]["color"] != dark["font"]["color"]
    assert {dark["paper_bgcolor"], dark["plot_bgcolor"], look.blank(1)["layout"]["paper_bgcolor"]} == {"rgba(0,0,0,0)"}


def test_no_chart_is_offered_to_foreign_servers():
    assert look.GRAPH_CONFIG["showSendToCloud"] is False
    assert look.GRAPH_CONFIG["displaylogo"] is False


def test_thinning_keeps_the_extremes_and_the_order():
    points = [(at, 0.0) for at in range(10_000)]
    points[5_000] = (5_000, 99.0)

    kept = figures.thin(points)

    assert len(kept) <= 2_000
    assert (5_000, 99.0) in kept
    assert kept == sorted(kept)


def test_names_never_reach_a_figure():
    found, curve = run([window(0)])
    named = Run(
        run_id="r", run={**found.run, "name": "<b>x</b>", "user": "<b>x</b>"}, total=found.total, phases=(), metrics=()
    )

    assert "<b>x" not in str(figures.live(named, curve, scheme="light", zone=dt.UTC))


def words(component: Any) -> str:
    if isinstance(component, list | tuple):
        return " ".join(words(part) for part in component)
    return words(component.children) if hasattr(component, "children") else str(component)


def test_missing_numbers_are_dashes():
    cards = run_view.cards(Run(run_id="r", run={}, total={}, phases=(), metrics=()), dt.UTC)

    assert words(cards).count(text.MISSING) >= 7
    assert " 0 " not in words(cards)


def test_unpriced_energy_is_warned_about():
    total = {"energy_uj": 36 * 10**9, "unpriced_uj": 9 * 10**9}
    found = Run(run_id="r", run={"status": "succeeded", "zone": "FR"}, total=total, phases=(), metrics=())

    (notice,) = run_view.notices(found, now_us=NOON, zone=dt.UTC, log_us=None)

    assert "2.50 Wh (25.0 %) of the energy has no carbon intensity" in words(notice)


@pytest.mark.parametrize(
    ("log_us", "cause"),
    [(NOON + 50 * S, "The log is ahead of the store"), (NOON, "nothing newer either"), (None, "Either the flow")],
    ids=["flow down", "run over", "log unknown"],
)
def test_silence_is_traced_to_its_cause(log_us: int | None, cause: str):
    found = Run(run_id="r", run={"status": "running"}, total={"last_end": NOON, "energy_uj": 1}, phases=(), metrics=())

    (notice,) = run_view.notices(found, now_us=NOON + 60 * S, zone=dt.UTC, log_us=log_us)

    assert "Flow down or stalled – last data 12:00:00" in words(notice)
    assert cause in words(notice)


def test_lost_run_says_when_it_was_last_heard_of():
    run = {"status": "lost", "last_seen": NOON}
    found = Run(run_id="r", run=run, total={"last_end": NOON - 9 * S, "energy_uj": 1}, phases=(), metrics=())

    (notice,) = run_view.notices(found, now_us=NOON + 3_600 * S, zone=dt.UTC, log_us=None)

    assert "Lost – last heard of 12:00:00" in words(notice)


def test_lost_state_has_a_colour_of_its_own():
    assert "state-lost" in str(run_view.head(Run(run_id="r", run={"status": "lost"}, total={}, phases=(), metrics=())))


def test_what_came_after_a_run_was_forgotten_is_no_idle_energy():
    assert run_view.title(Run(run_id="~/r7", run={}, total={}, phases=(), metrics=())) == "~/r7"


def test_idle_energy_has_a_name():
    assert run_view.title(Run(run_id="~h7", run={}, total={}, phases=(), metrics=())) == "Idle and unattributed on h7"


def test_clock_change_does_not_fold_the_axis():
    berlin = text.zone_of("Europe/Berlin")
    hour = 3_600 * S
    back = 1_792_889_999 * S  # 2026-10-25, one second before 03:00 becomes 02:00

    offset = text.fixed_zone(back, berlin)

    assert text.wall_clock(back, offset) < text.wall_clock(back + hour, offset)


@pytest.mark.parametrize("us", [-(10**30), 10**30])
def test_impossible_instants_do_not_break_the_page(us: int):
    assert text.moment(us, text.zone_of("Asia/Tokyo"))


@pytest.mark.parametrize("module", ["text", "pieces", "security", "reader", "logs", "api"])
def test_examples_in_the_page_are_true(module: str):
    import doctest

    assert doctest.testmod(importlib.import_module(f"dash_app.{module}")).failed == 0


def test_restatements_are_a_table_and_nothing_where_there_are_none():
    row = {"at": NOON, "restatement_id": "r", "zone": "DE-LU", "valid_from": NOON, "valid_to": NOON + 3600 * S}
    row |= {"old_g_per_kwh": 124.0, "new_g_per_kwh": 104.0, "old_emissions_g": 37.2, "new_emissions_g": 31.2}
    row |= {"reason": "revision", "applied": True}
    late = row | {"old_emissions_g": None, "new_emissions_g": None, "applied": False, "at": NOON + S}

    shown = str(restated.restatements([row, late], dt.UTC))

    assert restated.restatements([], dt.UTC) == []
    assert shown.index("not applied: too old") < shown.index("37.2 g → 31.2 g")
    assert "124 → 104" in shown
    assert "−6 g" in shown.replace("6.00", "6")
