"""Small logs for property tests: a few runs, hosts and zones within hours, with prices and events."""

from dataclasses import dataclass
from typing import Any

from hypothesis import Phase
from hypothesis import strategies as st

from tests.oracle.model import Log, Parameters, Tables
from tests.oracle.records import MIDNIGHT, event, price, sample
from tests.oracle.truth import expected_tables

Record = dict[str, Any]

SECOND = 1_000_000
W5S = 5 * SECOND
W5M = 300 * SECOND
W1H = 3_600 * SECOND
UNEXPLAINED = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
"""A story that fails is shrunk and shown; why it fails would take minutes to find out."""

HOSTS = ("h1", "h2", "h3")
ZONES = {"h1": ("DE", "FR"), "h2": ("DE",), "h3": ("US-CAL-CISO",)}


@dataclass(frozen=True, slots=True)
class Story:
    """What happened, in no order; samples of a host are in the partition of its name."""

    samples: list[Record]
    prices: list[Record]
    events: list[Record]

    def expected(self, *, lateness_us: int, told_us: int | None = None) -> Tables:
        """The oracle's tables, without those that are not the shards' own."""
        in_order = sorted(self.samples, key=lambda each: each["start"])
        log = Log(run_events=self.events, intensity=self.prices)
        for host in HOSTS:
            log.samples[host] = [each for each in in_order if each["host"] == host]
        tables = expected_tables(log, Parameters(lateness_us=lateness_us, told_us=told_us))
        return {name: table for name, table in tables.items() if name not in ("accounting", "intensity", "restatement")}


def instants(span_us: int) -> st.SearchStrategy[int]:
    """Instants within a span, often on an edge or beside one."""
    anywhere = st.integers(0, span_us)
    near_edge = st.builds(
        lambda at, width, step: max(0, at // width * width + step),
        anywhere,
        st.sampled_from((W5S, W5M, W1H)),
        st.integers(-1, 1),
    )
    return (anywhere | near_edge).map(lambda at: MIDNIGHT + at)


@st.composite
def samples(draw: st.DrawFn, *, span_us: int = 2 * W1H, most: int = 8) -> list[Record]:
    """Samples of three hosts for two runs and for none."""
    found = []
    for number in range(draw(st.integers(1, most))):
        host = draw(st.sampled_from(HOSTS))
        start = draw(instants(span_us))
        kinds = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
        found.append(
            sample(
                collector_id=f"c-{host}",
                seq=number,
                host=host,
                run_id=draw(st.sampled_from(("r1", "r1", "r2", None))),
                zone=draw(st.sampled_from(ZONES[host])),
                start=start,
                end=start + draw(st.sampled_from((1, SECOND, W5S, W5S + 1, 61 * SECOND)) | st.integers(1, 20 * SECOND)),
                energy_uj=draw(st.lists(st.integers(0, 10**6), min_size=len(kinds), max_size=len(kinds))),
                kind=kinds,
                method=draw(st.lists(st.integers(0, 5), min_size=len(kinds), max_size=len(kinds))),
                water_ul=draw(st.sampled_from((0, 0, 5))),
                cpu_time_us=draw(st.sampled_from((-1, 7))),
            )
        )
        # 1 µs at 1 MW is 1 J: no reading is implausible
    return found


@st.composite
def prices(draw: st.DrawFn, *, span_us: int = 2 * W1H, most: int = 5) -> list[Record]:
    """Price records of zones, countries and the world, overlapping."""
    found = []
    for number in range(draw(st.integers(0, most))):
        start = MIDNIGHT + draw(st.integers(-2, span_us // W5M)) * W5M
        found.append(
            price(
                zone=draw(st.sampled_from(("DE", "DEU", "FR", "USA", "WORLD"))),
                valid_from=start,
                valid_to=start + draw(st.sampled_from((1, 2, 12, 30))) * W5M,
                intensity_g_per_kwh=100.0 + number,
                kind=draw(st.sampled_from(("actual", "forecast", "static"))),
                revision=draw(st.integers(0, 1)),
                water_l_per_kwh=draw(st.sampled_from((None, 1.7))),
                price_per_kwh=draw(st.sampled_from((None, 0.31))),
                currency=draw(st.sampled_from(("EUR", "USD"))),
            )
        )
    return found


@st.composite
def events(draw: st.DrawFn, *, span_us: int = 2 * W1H, most: int = 6) -> list[Record]:
    """Events of the two runs: phases, PUE, starts and stops."""
    kinds = st.sampled_from(("start", "stop", "phase_start", "phase_end", "epoch"))
    return [
        event(
            event_id=f"e{number}",
            run_id=draw(st.sampled_from(("r1", "r2"))),
            type=draw(kinds),
            at=draw(instants(span_us)),
            phase=draw(st.sampled_from(("a", "b"))),
            pue=draw(st.sampled_from((None, None, 1.1, 1.5))),
            wue_l_per_kwh=draw(st.sampled_from((None, None, 0.2))),
        )
        for number in range(draw(st.integers(0, most)))
    ]


stories = st.builds(Story, samples(), prices(), events())
