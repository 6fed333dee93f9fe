"""Zones, countries and what stands in for what."""

import csv

import pytest

from kappawatt import grid


@pytest.mark.parametrize(
    ("zone", "country"),
    [
        ("DEU", "DEU"),
        ("XYZ", "XYZ"),
        ("DE", "DEU"),
        ("DE-LU", "DEU"),
        ("US-CAL-CISO", "USA"),
        ("NA", "NAM"),
        ("XK", "XKX"),
        ("WORLD", None),
        ("de", None),
        ("Q-1", None),
        ("QZ", None),
        ("DEUT", None),
        ("", None),
    ],
)
def test_country_of_a_zone(zone, country):
    assert grid.country_of(zone) == country


@pytest.mark.parametrize(
    ("zone", "chain"),
    [
        ("DE-LU", ("DE-LU", "DEU", "WORLD")),
        ("DE", ("DE", "DEU", "WORLD")),
        ("DEU", ("DEU", "WORLD")),
        ("site-7", ("site-7", "WORLD")),
        ("WORLD", ("WORLD",)),
    ],
)
def test_fallbacks_go_from_the_zone_to_the_world(zone, chain):
    assert grid.fallbacks(zone) == chain


@pytest.mark.parametrize(
    ("zone", "level"), [("WORLD", "world"), ("DEU", "country"), ("DE", "zone"), ("DE-LU", "zone"), ("XYZ", "zone")]
)
def test_level_of_a_record(zone, level):
    assert grid.zone_level(zone) == level


def test_codes_are_one_to_one():
    assert len(grid.alpha_3()) == len(grid.countries()) == 250


def test_every_country_with_an_intensity_is_known():
    with (grid.DATA / "intensity_yearly.csv").open(encoding="utf-8", newline="") as file:
        zones = {row["zone"] for row in csv.DictReader(file)}

    assert zones - grid.countries() == {"WORLD"}
