"""What the tests of decoding share: writers' schemas, batches of datums, and each way's result as plain facts."""

import copy
import io

import fastavro
import numpy as np

from kappawatt.wire import codec
from kappawatt.wire.columns import LONGS, READINGS, Names, RawBatch, join
from kappawatt.wire.decode_block import BlockWay
from kappawatt.wire.decode_numpy import NumpyWay
from kappawatt.wire.decode_record import RecordWay
from kappawatt.wire.plan import plan
from kappawatt.wire.words import Words

V1 = codec.schema("sample")


def evolved(*extra, drop=()):
    """The sample schema with fields (position, name, type, default) put in and others left out."""
    schema = copy.deepcopy(V1)
    schema["fields"] = [each for each in schema["fields"] if each["name"] not in drop]
    for position, name, kind, default in extra:
        schema["fields"].insert(position, {"name": name, "type": kind, "default": default})
    return schema


APPENDED = evolved((99, "rack", "string", ""), (99, "fan_rpm", ["null", "long"], None))
SPREAD = evolved(
    (0, "a", "int", 0),
    (2, "b", ["null", "string"], None),
    (5, "c", "double", 0.0),
    (9, "d", "boolean", False),
    (11, "e", ["string", "null"], ""),
    (13, "f", "bytes", ""),
    (16, "g", ["null", "boolean"], None),
    (18, "h", "float", 0.0),
    (19, "i", ["null", "double"], None),
    (99, "j", ["null", "int"], None),
    drop=("disk_read_bytes", "water_ul"),
)
ARRAY = evolved((3, "tags", {"type": "array", "items": "string"}, []), drop=("run_id",))
TURNED = evolved() | {"fields": [*V1["fields"][4:], *V1["fields"][:4]]}
NARROW = copy.deepcopy(V1)
NARROW["fields"][1]["type"] = "int"
NARROW["fields"][9]["type"] = {"type": "array", "items": "int"}
MAP = evolved((99, "labels", {"type": "map", "values": "string"}, {}))
SCHEMAS = {0: V1, 1: APPENDED, 2: SPREAD, 3: ARRAY, 4: TURNED, 5: NARROW, 6: MAP}


def write(schema, record):
    out = io.BytesIO()
    known = {each["name"]: record[each["name"]] for each in schema["fields"]}
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), known)
    return out.getvalue()


def batch(datums, schema_id=0):
    sizes = np.array([len(each) for each in datums], np.int64)
    end = np.cumsum(sizes)
    return RawBatch(b"".join(datums), end - sizes, end, np.full(len(datums), schema_id, np.int32))


def facts(samples, names):
    """What a Decoded says, free of codes and of NaN being unequal to itself."""
    rows = []
    for row, position in enumerate(samples.index.tolist()):
        readings = slice(samples.offset[row], samples.offset[row + 1])
        scalars = ("seq", "start_us", "end_us", *LONGS, "uneven")
        rows.append(
            (
                position,
                names.series[samples.series[row]],
                names.layouts[samples.layout[row]],
                [getattr(samples, name)[row].item() for name in scalars],
                [[repr(x) for x in getattr(samples, name)[readings].tolist()] for name in READINGS],
            )
        )
    return rows, samples.bad


def exactly(schema, given_batch):
    names = Names()
    index = np.arange(len(given_batch.start))
    found = RecordWay(names, schema).decode(given_batch.buffer, given_batch.start, given_batch.end, index)
    return facts(found, names)


def with_rest(piece, left, names, schema, given_batch):
    """The piece of a fast way, and what it left over by the exact way."""
    rows = np.flatnonzero(left)
    rest = RecordWay(names, schema).decode(given_batch.buffer, given_batch.start[rows], given_batch.end[rows], rows)
    return facts(join([piece, rest]), names)


def by_numpy(schema, given_batch):
    names = Names()
    way = NumpyWay(names, plan(schema), few=0)
    index = np.arange(len(given_batch.start))
    found = way.decode(Words(given_batch.buffer, len(given_batch.buffer)), given_batch.start, given_batch.end, index)
    return (*with_rest(*found, names, schema, given_batch), np.flatnonzero(found[1]).tolist())


def by_block(schema, given_batch):
    names = Names()
    index = np.arange(len(given_batch.start))
    found = BlockWay.of(names, schema).decode(given_batch.buffer, given_batch.start, given_batch.end, index)
    return (*with_rest(*found, names, schema, given_batch), np.flatnonzero(found[1]).tolist())
