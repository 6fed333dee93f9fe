"""Settings: what can be set, in which unit, and where a value came from. Standard library only.

Order: flag, environment `KAPPAWATT_*`, TOML file (`KAPPAWATT_CONFIG`, else ./kappawatt.toml), default.
Unknown names are errors that name the nearest known one.
"""

import dataclasses
import difflib
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kappawatt import access
from kappawatt.errors import SettingsError

T = TypeVar("T")

PREFIX = "KAPPAWATT_"
CONTROL = ("KAPPAWATT_CONFIG", "KAPPAWATT_DEBUG", "KAPPAWATT_DASH_INSECURE", "KAPPAWATT_RUN_ID", "KAPPAWATT_JOIN")
"""Names that are read but are no settings: the TOML file, tracebacks on, a page for everybody, the run of a child
process and the host where it is measured."""
CONFIG_FILE = "kappawatt.toml"


def _setting(default: T, *, unit: str, help: str, least: float | None = None, above: float | None = None) -> T:
    metadata = {"unit": unit, "help": help, "least": least, "above": above}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. One name: flag `--epoch-s`, environment `KAPPAWATT_EPOCH_S`, TOML `epoch_s`."""

    log: str = _setting("file:.kappawatt/log", unit="URL", help="where records are kept: file:DIR or kafka://HOST:PORT")
    registry: str | None = _setting(None, unit="URL", help="schema registry (Confluent API), needed with kafka://")
    store: str = _setting(
        "sqlite:.kappawatt/ledger.sqlite",
        unit="URL",
        help="where answers are kept: sqlite:PATH or cassandra://HOST:PORT/KEYSPACE",
    )
    state: str | None = _setting(
        None, unit="folder", help="recovery state of the flow; default PATH.state beside sqlite:PATH"
    )
    spool: str = _setting(".kappawatt/spool", unit="folder", help="where collectors keep records until Kafka has them")
    topic_prefix: str = _setting("", unit="text", help="put before every topic name and registry subject")
    zone: str = _setting(
        "WORLD", unit="zone", help="electricity zone (DE-LU) or ISO-3 country (DEU) that the power comes from"
    )
    pue: float | None = _setting(
        None, unit="ratio", help="power usage effectiveness of the site; unset counts as 1.0", least=1
    )
    wue_l_per_kwh: float | None = _setting(None, unit="L/kWh", help="water usage effectiveness of the site", least=0)
    user: str | None = _setting(None, unit="text", help="whose runs these are; default the login name")
    team: str | None = _setting(None, unit="text", help="team that a run is booked to")
    project: str | None = _setting(None, unit="text", help="project that a run is booked to")
    environment: str | None = _setting(None, unit="text", help="where it runs: laptop, ci, cluster …")
    period_s: float = _setting(1.0, unit="s", help="time between two samples", above=0)
    cpu_tdp_w: float | None = _setting(
        None, unit="W", help="power of the processor at full load, for the model", above=0
    )
    host: str | None = _setting(None, unit="text", help="name of this host; default the kernel's")
    powercap: str = _setting(
        "/sys/class/powercap", unit="folder", help="the kernel's tree of RAPL counters; in a container, the host's"
    )
    spool_max_mb: int = _setting(1024, unit="MB", help="most that a spool may hold on disk", least=1)
    spool_max_days: float = _setting(
        7.0, unit="days", help="longest that a spool keeps a record; below horizon_days", above=0
    )
    lateness_s: float = _setting(900.0, unit="s", help="how long after its end a window still takes samples", least=0)
    lease_s: float = _setting(
        900.0, unit="s", help="silence after which a run that said no stop is lost, and a stopped one closed", above=0
    )
    close_s: float = _setting(
        172_800.0, unit="s", help="silence after which a run is closed, whatever of it is still missing", above=0
    )
    horizon_days: float = _setting(
        14.0, unit="days", help="event time after which a sample is rejected as expired", above=0
    )
    max_device_power_w: float = _setting(
        1e6, unit="W", help="more than one device can draw: such samples are rejected", above=0
    )
    epoch_s: float = _setting(
        0.5, unit="s", help="time between two reads of the log; rows are shown right after each", above=0
    )
    idle_s: float = _setting(
        10.0, unit="s", help="silence after which a source no longer holds the watermark back", above=0
    )
    processes: int = _setting(1, unit="count", help="processes of the flow on this machine", least=1)
    members: int = _setting(
        1, unit="count", help="machines or pods that run one flow together, a process each", least=1
    )
    member: int = _setting(0, unit="number", help="which of the members this one is; 0 keeps the state", least=0)
    meeting: str | None = _setting(None, unit="address", help="HOST:PORT of member 0, where the members of a flow meet")
    probes: str | None = _setting(
        None, unit="address", help="HOST:PORT that answers /livez and /readyz of flow and collectors; unset: none"
    )
    metrics: str | None = _setting(
        None, unit="address", help="HOST:PORT that serves /metrics for Prometheus, of flow and host agent; unset: none"
    )
    log_format: str = _setting(
        "text", unit="text", help="what flow, collectors and page say on stderr: text, or json, an object a line"
    )
    dash_host: str = _setting("127.0.0.1", unit="address", help="address that the page listens on")
    dash_port: int = _setting(8050, unit="port", help="port that the page listens on", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """What the emissions flow is started with; all values resolved, times in seconds."""

    log: str
    registry: str | None = None
    store: str
    state: str
    """Folder of the recovery state."""
    topic_prefix: str = ""
    processes: int = 1
    members: int = 1
    member: int = 0
    meeting: str | None = None
    """HOST:PORT of member 0."""
    probes: str | None = None
    """HOST:PORT that answers probes."""
    metrics: str | None = None
    """HOST:PORT that serves metrics; further processes take the ports above."""
    until_end: bool = False
    """Read a bounded log to its end, write final rows, exit."""
    rebuild: bool = False
    """Forget the state and read the whole log again."""
    epoch_s: float = 0.5
    lateness_s: float = 900.0
    lease_s: float = 900.0
    close_s: float = 172_800.0
    horizon_s: float = 14 * 86_400.0
    idle_s: float = 10.0
    max_device_power_w: float = 1e6
    recovery_parts: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DashSettings:
    """What the page is started with."""

    store: str
    log: str
    host: str = "127.0.0.1"
    port: int = 8050
    """0: any free port."""
    open_browser: bool = True


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and, per name, where the value came from (`flag`, `environment`, a TOML path, `default`)."""

    settings: Settings
    origins: Mapping[str, str]


def load(flags: Mapping[str, object] | None = None, *, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force. *flags* that are None or absent were not given.

    Raises:
        SettingsError: A name is unknown (the nearest known one is named) or a value cannot be used.
    """
    return load_with_origins(flags, environ=environ).settings


def load_with_origins(flags: Mapping[str, object] | None = None, *, environ: Mapping[str, str] | None = None) -> Loaded:
    """`load`, and where each value came from."""
    environ = os.environ if environ is None else environ
    values: dict[str, object] = {}
    origins = dict.fromkeys(_FIELDS, "default")
    path = _config_path(environ)
    for name, raw in _from_file(path).items():
        values[name] = _value(name, raw, f"{name} = {raw!r} in {path}")
        origins[name] = str(path)
    for name, text in _from_environ(environ).items():
        values[name] = _value(name, text, f"{PREFIX}{name.upper()}={text!r}")
        origins[name] = "environment"
    for name, given in (flags or {}).items():
        if name not in _FIELDS:
            raise SettingsError(f"setting {name!r} is unknown{_nearest(name, tuple(_FIELDS))}")
        if given is None:
            continue
        values[name] = _value(name, given, f"--{name.replace('_', '-')} {given}")
        origins[name] = "flag"
    return Loaded(Settings(**typing.cast(dict[str, Any], values)), types.MappingProxyType(origins))


def flow_settings(settings: Settings, *, until_end: bool = False, rebuild: bool = False) -> FlowSettings:
    """The flow's part of *settings*, with what depends on others filled in."""
    return FlowSettings(
        log=settings.log,
        registry=settings.registry,
        store=settings.store,
        state=settings.state or _state_beside(settings.store),
        topic_prefix=settings.topic_prefix,
        processes=settings.processes,
        members=settings.members,
        member=settings.member,
        meeting=settings.meeting,
        probes=settings.probes,
        metrics=settings.metrics,
        until_end=until_end,
        rebuild=rebuild,
        epoch_s=settings.epoch_s,
        lateness_s=settings.lateness_s,
        lease_s=settings.lease_s,
        close_s=settings.close_s,
        horizon_s=settings.horizon_days * 86_400,
        idle_s=settings.idle_s,
        max_device_power_w=settings.max_device_power_w,
    )


def dash_settings(settings: Settings, *, open_browser: bool) -> DashSettings:
    """The page's part of *settings*."""
    return DashSettings(
        store=settings.store,
        log=settings.log,
        host=settings.dash_host,
        port=settings.dash_port,
        open_browser=open_browser,
    )


@dataclass(frozen=True, slots=True)
class About:
    """One setting as help and docs show it."""

    name: str
    unit: str
    help: str
    default: object


def about() -> list[About]:
    """Every setting in the order of `Settings`."""
    return [About(f.name, f.metadata["unit"], f.metadata["help"], f.default) for f in _FIELDS.values()]


def masked(value: object) -> str:
    """*value* as it may be printed: no user and password of a URL.

    >>> masked("cassandra://me:pw@db:9042/kw")
    'cassandra://***@db:9042/kw'
    """
    if value is None:
        return "-"
    return re.sub(r"(?<=://)[^/@]*@", "***@", str(value))


def environ_for(settings: Settings) -> dict[str, str]:
    """*settings* as environment, for a child process that must see the same."""
    pairs = ((name, getattr(settings, name)) for name in _FIELDS)
    return {PREFIX + name.upper(): str(value) for name, value in pairs if value is not None}


_FIELDS: Mapping[str, "dataclasses.Field[Any]"] = types.MappingProxyType(
    {f.name: f for f in dataclasses.fields(Settings)}
)
_TYPES = typing.get_type_hints(Settings)


def _state_beside(store: str) -> str:
    kind, _, rest = store.partition(":")
    return f"{rest}.state" if kind == "sqlite" else ".kappawatt/state"


def _config_path(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("KAPPAWATT_CONFIG")
    if not named:
        return Path(CONFIG_FILE) if Path(CONFIG_FILE).is_file() else None
    if not Path(named).is_file():
        raise SettingsError(f"KAPPAWATT_CONFIG={named!r}: no such file; create it or unset the variable")
    return Path(named)


def _from_file(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}; mend or remove it") from error
    for name in values:
        if name not in _FIELDS:
            raise SettingsError(f"{path}: setting {name!r} is unknown{_nearest(name, tuple(_FIELDS))}")
    return values


def _from_environ(environ: Mapping[str, str]) -> dict[str, str]:
    known = {PREFIX + name.upper(): name for name in _FIELDS}
    found = {}
    for variable, text in environ.items():
        if variable in known:
            if text:  # an empty variable is how a shell or a manifest says "not set"
                found[known[variable]] = text
        elif variable.startswith(PREFIX) and variable not in CONTROL and not access.check_name(variable):
            raise SettingsError(f"environment variable {variable} is unknown{_nearest(variable, (*known, *CONTROL))}")
    return found


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else "; `kappawatt config` lists all"


def _value(name: str, raw: object, given: str) -> object:
    """*raw* as the type of setting *name*; *given* says where it stood, for the message."""
    about = _FIELDS[name]
    types_ = typing.get_args(_TYPES[name]) or (_TYPES[name],)
    if str in types_:
        if isinstance(raw, str):
            return raw
        raise SettingsError(f"{masked(given)} is not text; the default is {masked(about.default)}")
    number = _number(raw, whole=int in types_)
    least, above = about.metadata["least"], about.metadata["above"]
    if number is not None and (least is None or number >= least) and (above is None or number > above):
        return number
    bound = f" of at least {least:g}" if least is not None else f" above {above:g}" if above is not None else ""
    kind = "a whole number" if int in types_ else "a number"
    default = "not set" if about.default is None else f"{about.default:g}"
    raise SettingsError(f"{given} is not {kind} ({about.metadata['unit']}){bound}; the default is {default}")


def _number(raw: object, *, whole: bool) -> float | int | None:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        return None
    try:
        value = int(raw) if whole and not isinstance(raw, float) else float(raw)
    except ValueError:
        return None
    if whole and isinstance(value, float):
        return None
    return value if math.isfinite(value) else None
