"""The longest record that Kafka takes has a dead letter that it takes too: else no start of the flow gets past it."""

import pytest

from dataflows.letters import letter_datum
from kappawatt.wire import codec
from kappawatt.wire.records import DeadLetter

BROKER_MOST = 1_048_588
CLIENT_MOST = 1_000_000


@pytest.mark.parametrize("size", [0, 900_000, BROKER_MOST])
def test_letter_of_a_record_of_any_size_fits(size: int) -> None:
    payload = b"x" * size
    letter = DeadLetter(
        source="sample/1", position="9", verdict="dead", reason="undecodable", schema_id=7, payload=payload
    )

    datum = letter_datum(letter)

    assert len(datum) < CLIENT_MOST - 1_000
    assert codec.decode_one(codec.schema("dead_letter"), datum)["payload"] == payload[:900_000]
