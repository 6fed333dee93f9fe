"""A real registry keeps every version of a schema readable by every other one."""

import copy
import uuid
from contextlib import closing

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient

from kappawatt.errors import LogError
from kappawatt.wire import codec
from kappawatt.wire.registry import LEVEL, Registry

pytestmark = pytest.mark.stack


@pytest.fixture
def prefix() -> str:
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture
def registry(registry_url: str, prefix: str) -> Registry:
    return Registry(registry_url, topic_prefix=prefix)


def with_field(**field: object) -> dict[str, object]:
    changed = copy.deepcopy(codec.schema("sample"))
    changed["fields"].append({"name": "rack", "doc": "Where it stands.", **field})
    return changed


def retyped(name: str, kind: str) -> dict[str, object]:
    changed = copy.deepcopy(codec.schema("sample"))
    next(each for each in changed["fields"] if each["name"] == name)["type"] = kind
    return changed


@pytest.mark.parametrize("topic", codec.TOPICS)
def test_every_topic_is_registered_once(registry_url, prefix, topic):
    first = Registry(registry_url, topic_prefix=prefix).register(topic)

    again = Registry(registry_url, topic_prefix=prefix).register(topic)

    assert again == first


def test_subject_is_held_to_full_transitive_compatibility(registry, registry_url, prefix):
    registry.register("sample")

    with closing(SchemaRegistryClient({"url": registry_url})) as client:
        assert client.get_compatibility(f"{prefix}sample-value") == LEVEL


def test_schema_comes_back_by_its_id(registry, registry_url):
    schema_id = registry.register("run_event")

    found = Registry(registry_url).schema_for(schema_id)

    assert codec.canonical(found) == codec.canonical(codec.schema("run_event"))


def test_new_field_with_a_default_is_accepted(registry):
    first = registry.register("sample")
    newer = with_field(type="string", default="")

    assert registry.check("sample", written=newer) is None
    second = registry.register("sample", written=newer)

    assert second != first
    assert registry.schema_for(second)["fields"][-1]["name"] == "rack"


def test_bundled_schema_is_accepted_after_a_newer_one(registry, registry_url, prefix):
    registry.register("sample")
    registry.register("sample", written=with_field(type=["null", "long"], default=None))
    later = Registry(registry_url, topic_prefix=prefix)

    assert later.check("sample") is None
    assert later.register("sample") == registry.register("sample")


@pytest.mark.parametrize(
    ("changed", "reason", "own_reason"),
    [
        (with_field(type="string"), "rack", "field rack is new and has no default"),
        (retyped("seq", "string"), "STRING", "field seq was long and is string"),
    ],
    ids=["no default", "another type"],
)
def test_incompatible_schema_is_refused_with_the_reason(registry, changed, reason, own_reason):
    registry.register("sample")

    assert own_reason in registry.check("sample", written=changed)
    with pytest.raises(LogError, match=f"refuses subject .*{reason}.*a new field needs a default"):
        registry.register("sample", written=changed)


def test_unknown_subject_has_nothing_against_a_schema(registry):
    assert registry.check("alert") is None


def test_unknown_id_is_asked_for_again_after_a_while(registry_url, registry):
    clock = [0.0]
    reader = Registry(registry_url, now=lambda: clock[0])
    unused = registry.register("alert") + 1_000_000

    answers = [reader.schema_for(unused)]
    clock[0] = 31.0
    answers.append(reader.schema_for(unused))

    assert answers == [None, None]
