"""Messages to columns and client settings, without a broker."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kappawatt.errors import SettingsError
from kappawatt.log.bucket_consumer import columns
from kappawatt.log.kafka_settings import client_settings, scrubbed
from kappawatt.wire import codec


@given(st.lists(st.none() | st.binary(max_size=8) | st.builds(lambda d: codec.frame(7, d), st.binary(max_size=9))))
def test_every_message_is_a_datum_or_bad(values: list[bytes | None]) -> None:
    n = len(values)

    batch = columns(values, [i % 3 for i in range(n)], list(range(n)), [i * 10 for i in range(n)])

    framed = [i for i, value in enumerate(values) if value is not None and len(value) >= 5 and value[0] == 0]
    assert batch.offset.tolist() == framed
    assert batch.partition.tolist() == [i % 3 for i in framed]
    assert batch.timestamp_us.tolist() == [i * 10_000 for i in framed]
    found = [
        (int(schema_id), batch.buffer[a:b])
        for schema_id, a, b in zip(batch.schema_id, batch.start, batch.end, strict=True)
    ]
    wanted = [codec.unframe(value) for i in framed if (value := values[i]) is not None]
    assert [(schema_id % 2**32, datum) for schema_id, datum in found] == wanted
    assert [each[1:3] for each in batch.bad] == [(i, values[i]) for i in range(n) if i not in framed]


def test_a_message_without_a_time_is_never_ahead_of_the_log() -> None:
    batch = columns([codec.frame(1, b"x")], [0], [0], [-1])

    assert batch.timestamp_us[0] > np.int64(1) << 61


def test_an_unknown_client_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"KAPPAWATT_KAFKA_ENABLE_AUTO_COMMIT.*unset it"):
        client_settings({"KAPPAWATT_KAFKA_ENABLE_AUTO_COMMIT": "true"})


def test_secrets_are_cut_out_of_the_clients_words() -> None:
    client = {"sasl.password": "pw1", "security.protocol": "SSL"}

    assert scrubbed('Invalid "pw1" with SSL', client) == 'Invalid "***" with SSL'
