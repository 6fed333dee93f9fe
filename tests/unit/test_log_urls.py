"""Log URLs name a folder or a Kafka cluster, and nothing else."""

from pathlib import Path

import pytest

from kappawatt.errors import SettingsError
from kappawatt.log.urls import FileUrl, KafkaUrl, parse


@pytest.mark.parametrize(
    ("url", "log"),
    [
        ("file:log", FileUrl(Path("log"))),
        ("file:/var/lib/kw", FileUrl(Path("/var/lib/kw"))),
        ("file:///var/lib/kw", FileUrl(Path("/var/lib/kw"))),
        ("kafka://k:9092", KafkaUrl("k:9092")),
        ("kafka://k-0.k:9092,10.0.0.1:9093/", KafkaUrl("k-0.k:9092,10.0.0.1:9093")),
        ("kafka://[::1]:9092", KafkaUrl("[::1]:9092")),
    ],
)
def test_a_url_names_its_log(url: str, log: FileUrl | KafkaUrl) -> None:
    assert parse(url) == log


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:",
        "file://",
        "log",
        "kafka:k:9092",
        "kafka://",
        "kafka://k",
        "kafka://k:0",
        "kafka://k:99999",
        "s3://b",
    ],
)
def test_another_url_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(SettingsError, match="file:DIR or kafka://HOST:PORT"):
        parse(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError, match="SASL_PASSWORD") as caught:
        parse("kafka://me:secret@k:9092")

    assert "secret" not in str(caught.value)
