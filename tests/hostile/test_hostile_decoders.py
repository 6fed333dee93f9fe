"""The three ways of decoding agree on samples that were mutated field by field."""

import pytest

from tests.hostile.fuzz import BY_BLOCK, try_batches

BATCHES = 60


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("schema_id", BY_BLOCK)
def test_decoders_agree_on_mutated_fields(schema_id: int, seed: int, record_property) -> None:
    tried = try_batches(schema_id, seed, BATCHES)

    record_property("datums", tried.datums)
    record_property("readable", tried.readable)
    assert tried.readable > tried.datums // 10
    assert tried.readable < tried.datums
