"""What the registry's door says when nobody is behind it."""

import socket

import pytest

from kappawatt.errors import LogError
from kappawatt.wire import codec
from kappawatt.wire.registry import Registry, differences


@pytest.fixture
def closed_port():
    """A port that nobody listens on, held so that nobody can."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    "ask", [lambda r: r.register("sample"), lambda r: r.check("sample"), lambda r: r.schema_for(7)]
)
def test_unreachable_registry_is_named_with_a_remedy(closed_port, ask):
    registry = Registry(f"http://127.0.0.1:{closed_port}/api")

    with pytest.raises(LogError, match=rf"http://127.0.0.1:{closed_port}/api cannot be reached.*KAPPAWATT_REGISTRY"):
        ask(registry)


def test_password_is_not_shown(closed_port):
    environ = {"KAPPAWATT_REGISTRY_USERNAME": "reader", "KAPPAWATT_REGISTRY_PASSWORD": "secret"}
    registry = Registry(f"http://127.0.0.1:{closed_port}/api", environ=environ)

    with pytest.raises(LogError) as caught:
        registry.schema_for(7)

    assert "secret" not in str(caught.value) + repr(registry)


def test_user_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(LogError, match="set KAPPAWATT_REGISTRY_USERNAME and") as caught:
        Registry("http://reader:secret@registry/api", environ={})

    assert "secret" not in str(caught.value)


def test_url_that_is_none_is_refused():
    with pytest.raises(LogError, match="nonsense"):
        Registry("nonsense")


def test_equal_schemas_do_not_differ():
    assert differences(codec.schema("run_event"), codec.schema("run_event")) == []


def test_field_that_goes_needs_a_default():
    before = {"fields": [{"name": "x", "type": "long"}, {"name": "y", "type": "long", "default": 0}]}

    assert differences(before, {"fields": []}) == ["field x is gone and had no default"]
