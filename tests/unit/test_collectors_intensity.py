"""The bundled yearly intensity of every country."""

import pytest

from collectors import intensity
from kappawatt import grid, static_intensity
from kappawatt.errors import SettingsError
from kappawatt.log.files import FilePartition, partitions
from kappawatt.settings import Settings
from kappawatt.wire import codec
from kappawatt.wire.records import Intensity


def by_zone() -> dict[str, Intensity]:
    return {record.zone: record for record in intensity.records()}


@pytest.mark.parametrize(
    ("zone", "g_per_kwh"), [("DEU", 342.06), ("FRA", 44.18), ("USA", 383.55), ("POL", 614.98), ("WORLD", 472.94)]
)
def test_value_is_embers_of_2024(zone, g_per_kwh):
    record = by_zone()[zone]

    assert (record.intensity_g_per_kwh, record.dataset, record.revision) == (g_per_kwh, "ember-yearly-2024", 2024)


def test_records_pass_every_rule_of_the_ledger():
    found = intensity.records()

    assert len(found) > 200
    assert len({record.zone for record in found}) == len(found)
    assert all(record.intensity_g_per_kwh > 0 for record in found)
    assert {(r.kind, r.signal, r.provider, r.factor) for r in found} == {("static", "average", "ember", "lifecycle")}
    assert all(r.valid_from % 300_000_000 == 0 and r.valid_to % 300_000_000 == 0 for r in found)


def test_country_without_data_has_no_record_instead_of_zero():
    assert "CAF" in grid.countries()
    assert "CAF" not in by_zone()


def test_all_zones_have_what_each_has_alone():
    alone = {record.zone: record for zone in grid.countries() for record in static_intensity.records(zone)}

    assert static_intensity.records(None) == [alone[zone] for zone in sorted(alone)]


def test_water_is_known_for_some_and_never_zero():
    water = {zone: record.water_l_per_kwh for zone, record in by_zone().items()}

    assert water["NOR"] == 6.6633
    assert water["AUT"] is None
    assert 0 not in water.values()


def test_zones_bring_what_they_fall_back_to():
    assert [record.zone for record in intensity.records(["US-CAL-CISO", "FRA"])] == ["FRA", "USA", "WORLD"]


def test_records_in_the_log_are_the_records(tmp_path):
    intensity.publish(Settings(log=f"file:{tmp_path}"))

    chunk = FilePartition(tmp_path, "intensity", partitions(tmp_path, "intensity")[0]).read(None, 1 << 24)
    datums = [chunk.buffer[a:b] for a, b in zip(chunk.start, chunk.end, strict=True)]
    read = [Intensity.from_avro(codec.decode_one(codec.schema("intensity"), datum)) for datum in datums]
    assert read == intensity.records()


def test_publishing_again_writes_nothing(tmp_path):
    first = intensity.publish(Settings(log=f"file:{tmp_path}"))

    assert (first, intensity.publish(Settings(log=f"file:{tmp_path}"))) == (len(intensity.records()), 0)


def test_program_prints_values(capsys):
    assert intensity.main(["--zone", "DE-LU", "--print"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "DEU\t342.06 g/kWh\t2024\tember-yearly-2024",
        "WORLD\t472.94 g/kWh\t2024\tember-yearly-2024",
    ]


def test_zone_that_names_no_country_is_refused():
    with pytest.raises(SettingsError, match="--zone site-7 names no country"):
        intensity.main(["--zone", "site-7"])


def test_attribution_ships_with_the_data():
    text = (grid.DATA / "ATTRIBUTION.md").read_text(encoding="utf-8")

    assert "Ember" in text
    assert "CC BY 4.0" in text
