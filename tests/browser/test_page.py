"""The page in a real browser, over a store that is written while it is open."""

import re
import signal
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

S = 1_000_000

pytestmark = pytest.mark.browser

FIGURE = "document.querySelector('#run-graph .js-plotly-plot')"


def edge() -> int:
    """Now, on the edge of a 5-s window."""
    return int(time.time()) // 5 * 5 * S


def drawn(page: Page) -> Page:
    """Waits until the curves are there."""
    page.wait_for_function(f"() => {FIGURE}?.data?.length > 1")
    return page


def points(page: Page, name: str = "energy") -> int:
    return int(page.evaluate(f"() => {FIGURE}.data.find((one) => one.name === '{name}').x.length"))


def ground(page: Page, selector: str) -> float:
    """Brightness of an element's ground, 0 to 255; of what lies behind it if it has none."""
    return float(
        page.evaluate(
            """(selector) => {
                for (let at = document.querySelector(selector); at; at = at.parentElement) {
                    const parts = getComputedStyle(at).backgroundColor.match(/[\\d.]+/g).map(Number);
                    if (parts.length < 4 || parts[3] > 0.5) return (parts[0] + parts[1] + parts[2]) / 3;
                }
                return 255;
            }""",
            selector,
        )
    )


def test_new_points_appear_within_two_seconds(book: Any, serve: Any, look: Any):
    now = edge()
    book.sample_run("live", end_us=now, windows=20, name="live run")
    page = drawn(look(serve(f"sqlite:{book.path}") + "run/live"))
    before = points(page)

    book.window("live", now, 5 * 400 * S)
    book.store.flush()

    page.wait_for_function(
        f"(before) => {FIGURE}.data.find((one) => one.name === 'energy').x.length > before", arg=before, timeout=2_000
    )
    expect(page.locator("#kpi-duration")).to_contain_text("1 min 45 s", timeout=2_000)


def test_zoom_and_hidden_curves_survive_updates(book: Any, serve: Any, look: Any):
    now = edge()
    book.sample_run("live", end_us=now, windows=40)
    page = drawn(look(serve(f"sqlite:{book.path}") + "run/live"))
    box = page.locator("#run-graph .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50, steps=5)
    page.mouse.up()
    page.locator("#run-graph .legendtoggle").first.click()
    page.wait_for_function(f"() => {FIGURE}.data.some((one) => one.visible === 'legendonly')")
    zoomed = page.evaluate(f"() => {FIGURE}.layout.xaxis.range")

    for number in range(5):
        before = points(page)
        book.window("live", now + number * 5 * S, 5 * 300 * S)
        book.store.flush()
        page.wait_for_function(
            f"(before) => {FIGURE}.data.find((one) => one.name === 'energy').x.length > before", arg=before
        )

    assert page.evaluate(f"() => {FIGURE}.layout.xaxis.range") == zoomed
    assert page.evaluate(f"() => {FIGURE}.data.some((one) => one.visible === 'legendonly')")


def test_empty_store_says_how_to_begin_and_shows_the_first_run(book: Any, serve: Any, look: Any):
    page = look(serve(f"sqlite:{book.path}"))
    expect(page.locator("#runs-none")).to_contain_text("No runs yet")
    expect(page.locator("#runs-none")).to_contain_text("kappawatt run -- python train.py")

    book.sample_run("first", end_us=edge(), windows=3, name="my first run")

    expect(page.get_by_role("link", name="my first run")).to_be_visible()
    expect(page.locator("#runs-none")).to_have_count(0)


def test_silent_run_is_marked_and_recovers_by_itself(book: Any, serve: Any, look: Any):
    now = edge()
    book.sample_run("quiet", end_us=now - 120 * S, windows=10)
    page = drawn(look(serve(f"sqlite:{book.path}") + "run/quiet"))
    expect(page.locator("#run-stale")).to_contain_text(re.compile(r"Flow down or stalled – last data \d\d:\d\d:\d\d"))

    book.run("quiet", started_us=now - 170 * S, last_seen=now)
    book.window("quiet", edge(), 5 * 300 * S)
    book.store.flush()

    expect(page.locator("#run-stale")).to_have_count(0, timeout=2_000)


def test_store_that_goes_is_said_within_two_seconds_and_recovers(book: Any, serve: Any, look: Any):
    book.sample_run("r", end_us=edge(), windows=10)
    page = drawn(look(serve(f"sqlite:{book.path}") + "run/r"))
    energy = page.locator("#kpi-energy").inner_text()
    away = book.path.with_name("away.sqlite")

    book.path.rename(away)
    expect(page.locator("#run-gone")).to_contain_text("no store yet", timeout=3_000)
    assert page.locator("#kpi-energy").inner_text() == energy
    away.rename(book.path)

    expect(page.locator("#run-gone")).to_have_count(0, timeout=3_000)


def test_server_that_dies_is_said_and_the_page_goes_on_when_it_is_back(book: Any, serve: Any, look: Any):
    book.sample_run("r", end_us=edge(), windows=10)
    address = serve(f"sqlite:{book.path}")
    page = drawn(look(address + "run/r"))
    serve.processes[0].send_signal(signal.SIGKILL)
    serve.processes[0].wait()
    expect(page.locator("#run-offline")).to_contain_text(
        "No answer from the page's server", timeout=4_000, use_inner_text=True
    )

    serve(f"sqlite:{book.path}", port=int(address.split(":")[2].strip("/")))
    book.window("r", edge() + 5 * S, 5 * 300 * S)
    book.store.flush()

    expect(page.locator("#run-offline")).not_to_contain_text("No answer", timeout=6_000, use_inner_text=True)
    page.wait_for_function(f"() => {FIGURE}.data.find((one) => one.name === 'energy').x.length > 11")


def test_missing_store_says_what_to_do(serve: Any, look: Any, tmp_path: Any):
    page = look(serve(f"sqlite:{tmp_path}/none.sqlite"))

    expect(page.locator("#runs-notice")).to_contain_text("kappawatt flow")
    expect(page.locator("#runs-none")).to_contain_text("kappawatt run -- python train.py")
    expect(page.locator(".skeleton")).to_have_count(0)


def test_unknown_run_is_said_and_shown_once_it_exists(book: Any, serve: Any, look: Any):
    page = look(serve(f"sqlite:{book.path}") + "run/soon")
    expect(page.locator("#run-unknown")).to_contain_text("The store has no run soon")
    expect(page.locator("#run-charts")).to_be_hidden()
    expect(page.locator("h1")).to_have_count(1)

    book.sample_run("soon", end_us=edge(), windows=5, name="here now")

    expect(page.locator("h1")).to_have_text("here now")
    drawn(page)
    expect(page.locator("#run-charts")).to_be_visible()


@pytest.mark.parametrize("place", ["", "run/live", "run/nope", "nowhere"])
def test_phone_needs_no_sideways_scroll(book: Any, serve: Any, look: Any, place: str):
    book.sample_run("live", end_us=edge(), windows=20, name="a-name-without-any-place-to-break-" * 3)
    book.put(
        "phase_total", run_id="live", phase="train", duration_us=S, energy_uj=S, cpu_uj=S, gpu_uj=0,
        memory_uj=0, other_uj=0, estimated_uj=0, unpriced_uj=0,
    )  # fmt: skip
    book.store.flush()

    page = look(serve(f"sqlite:{book.path}") + place, width=390)
    expect(page.locator("h1")).to_have_count(1)
    page.wait_for_function("() => !document.querySelector('.skeleton')")

    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_dark_page_has_dark_curves_and_was_never_white(book: Any, serve: Any, look: Any):
    book.sample_run("live", end_us=edge(), windows=20)

    page = drawn(look(serve(f"sqlite:{book.path}") + "run/live", scheme="dark"))

    assert page.evaluate(f"() => {FIGURE}.layout.font.color") == "#a9b1ba"
    assert ground(page, "#run-graph .main-svg") < 60
    page.reload(wait_until="commit")
    page.wait_for_selector("body")
    assert ground(page, "body") < 60


def test_estimated_area_is_really_hatched(book: Any, serve: Any, look: Any):
    now = edge()
    book.run("est", started_us=now - 50 * S, last_seen=now)
    for number in range(10):
        book.window("est", now - (10 - number) * 5 * S, 5 * 100 * S, estimated_uj=5 * 100 * S)
    book.store.flush()

    page = drawn(look(serve(f"sqlite:{book.path}") + "run/est"))

    fills = "[...document.querySelectorAll('#run-graph .fills path')].map((one) => getComputedStyle(one).fill)"
    (hatch,) = [fill for fill in page.evaluate(fills) if fill.startswith("url")]
    identity = hatch.split("#")[1].split('"')[0]
    assert page.evaluate("(id) => document.getElementById(id)?.tagName", identity) == "pattern"


def test_switch_turns_page_grid_and_curves_dark(book: Any, serve: Any, look: Any):
    book.sample_run("live", end_us=edge(), windows=20, name="live run")
    page = look(serve(f"sqlite:{book.path}"))
    page.wait_for_selector(".ag-row")
    assert ground(page, ".ag-row") > 200

    page.locator("#toggle").click()
    page.wait_for_function("() => document.documentElement.dataset.agThemeMode === 'dark'")
    assert ground(page, ".ag-row") < 60
    page.get_by_role("link", name="live run").click()

    drawn(page)
    page.wait_for_function(f"() => {FIGURE}.layout.font.color === '#a9b1ba'")


def test_nothing_is_asked_of_other_hosts_and_the_console_is_silent(book: Any, serve: Any, look: Any):
    book.sample_run("live", end_us=edge(), windows=20, name="live run")
    address = serve(f"sqlite:{book.path}")
    page = look(address)
    page.get_by_role("link", name="live run").click()
    drawn(page)
    page.locator("#run-graph .nsewdrag").first.hover()

    assert {url.split("/")[2] for url in page.requested if not url.startswith(("data:", "blob:"))} == {
        address.split("/")[2]
    }
    assert page.said == []
    assert "Share" not in page.locator("#run-graph .modebar").inner_html()
    assert (
        page.locator("#run-graph .modebar [data-title*='loud' i], #run-graph .modebar [data-title*='share' i]").count()
        == 0
    )


def test_names_stay_text(book: Any, serve: Any, look: Any):
    evil = '<img src=x onerror="window.pwned=1"><b>bold</b><script>window.pwned=1</script>'
    book.sample_run(
        "<b>evil</b>", end_us=edge(), windows=5, name=evil, user="=cmd|'/c calc'!A1", project="[a](http://evil.example)"
    )
    book.put(
        "phase_total", run_id="<b>evil</b>", phase=evil, duration_us=S, energy_uj=S, cpu_uj=S, gpu_uj=0,
        memory_uj=0, other_uj=0, estimated_uj=0, unpriced_uj=0,
    )  # fmt: skip
    book.store.flush()
    page = look(serve(f"sqlite:{book.path}"))

    page.locator(".run-cell a").click()
    drawn(page)

    expect(page.locator("h1")).to_have_text(evil)
    expect(page.locator("#run-phases tbody th")).to_have_text(evil)
    assert page.evaluate("() => window.pwned") is None
    assert page.locator("main b, main img, main a[href*='evil']").count() == 0


def test_totals_are_those_of_the_runs_shown(book: Any, serve: Any, look: Any):
    now = edge()
    book.sample_run("a", end_us=now, windows=5, name="alpha", user="ada")
    book.sample_run("b", end_us=now, windows=7, name="beta", user="grace", labels='{"simulated":"true"}')
    address = serve(f"sqlite:{book.path}")
    page = look(address)
    expect(page.locator("#sum-runs")).to_contain_text("1 simulated")

    page.locator("#runs-text").fill("beta")
    expect(page.locator("#sum-runs .card-value")).to_have_text("1")
    one = page.request.get(address + "api/runs?q=beta").json()["totals"]["energy_uj"]
    expect(page.locator("#sum-energy")).to_have_attribute("title", f"exactly {one:,} µJ")
    assert page.url.endswith("?q=beta")
    expect(page.locator(".ag-row .tag")).to_have_text("simulated")

    page.locator("#runs-text").fill("")
    page.get_by_role("switch", name="Simulated runs").click()
    expect(page.get_by_role("link", name="alpha")).to_be_visible()
    expect(page.get_by_role("link", name="beta")).to_have_count(0)


def test_address_restores_the_filter(book: Any, serve: Any, look: Any):
    book.sample_run("a", end_us=edge(), windows=5, name="alpha")
    book.sample_run("b", end_us=edge(), windows=7, name="beta")

    page = look(serve(f"sqlite:{book.path}") + "?q=alpha&days=7")

    expect(page.locator("#runs-text")).to_have_value("alpha")
    expect(page.locator("#sum-runs .card-value")).to_have_text("1")
    expect(page.locator("input[value='7']")).to_be_checked()


def test_times_are_those_of_the_browser(book: Any, serve: Any, look: Any):
    start = 1_795_262_400 * S
    book.run("noon", started_us=start, status="succeeded", last_seen=start + 10 * S, name="noon run")
    book.window("noon", start, 5 * 300 * S)
    book.window("noon", start + 5 * S, 5 * 300 * S)
    book.store.flush()

    page = drawn(look(serve(f"sqlite:{book.path}") + "run/noon", zone="Asia/Tokyo"))

    expect(page.locator("#kpi-duration")).to_contain_text("2026-11-21 21:00:00")
    assert page.evaluate(f"() => {FIGURE}.layout.xaxis.title.text") == "time (Asia/Tokyo, UTC+09:00)"
    assert page.evaluate(f"() => {FIGURE}.layout.xaxis.range[0]").startswith("2026-11-21 2")


def test_page_has_a_language_one_heading_and_readable_text(book: Any, serve: Any, look: Any):
    book.sample_run("live", end_us=edge(), windows=20, labels='{"simulated":"true"}', user="ada")
    address = serve(f"sqlite:{book.path}")
    for scheme in ("light", "dark"):
        for place in ("", "run/live", "run/nope"):
            page = look(address + place, scheme=scheme)
            page.wait_for_function("() => !document.querySelector('.skeleton') && document.querySelector('h1')")

            assert page.locator("html").get_attribute("lang") == "en"
            assert page.locator("h1").count() == 1
            assert page.evaluate(CONTRAST) == []


CONTRAST = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const part = (v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const behind = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!colour.startsWith('rgb')) continue;
            const parts = numbers(colour);
            if (parts.length < 4 || parts[3] > 0.99) return parts;
        }
        return [255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(document.querySelector('#react-entry-point'), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || node.closest('svg, noscript') || !node.getClientRects().length) continue;
        const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) found.push(`${walker.currentNode.data.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
    }
    return found;
}"""
