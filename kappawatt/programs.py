"""The programs beside the library: `kappawatt.<name>` in a wheel, `<name>` at the root of a checkout."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import kappawatt
from kappawatt.errors import KappawattError

EXTRAS = {
    "bytewax": "flow",
    "numpy": "flow",
    "polars": "flow",
    "confluent_kafka": "kafka",
    "cassandra": "cassandra",
    "dash": "dash",
    "dash_ag_grid": "dash",
    "dash_mantine_components": "dash",
    "fastapi": "dash",
    "uvicorn": "dash",
    "plotly": "dash",
    "prometheus_client": "metrics",
    "sklearn": "demo",
}
"""The extra of this distribution that brings a third-party package."""


def name_of(program: str) -> str:
    """The full import name of *program* (`dataflows.main`), importable from here on, wherever the current folder is.

    Raises:
        KappawattError: It is in neither home.
    """
    package = program.partition(".")[0]
    if importlib.util.find_spec(f"kappawatt.{package}") is not None:
        return f"kappawatt.{program}"
    root = Path(kappawatt.__file__).parents[1]
    if not (root / package / "__init__.py").is_file():
        raise KappawattError(
            f"program {program!r} is neither in the package kappawatt nor in {root}; install kappawatt again"
        )
    # A distribution that happens to be called like one of ours must not win, so our root goes first.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin != str(root / package / "__init__.py"):
        sys.path.insert(0, str(root))
        importlib.invalidate_caches()
    return program


def load(program: str) -> ModuleType:
    """The module *program* (`dataflows.main`), imported.

    Raises:
        KappawattError: A third-party package it needs is missing; the message has the command that installs it.
    """
    try:
        return importlib.import_module(name_of(program))
    except ModuleNotFoundError as error:
        raise missing(program, error) from error


def missing(what: str, error: ModuleNotFoundError) -> KappawattError:
    """*error* as an answer: which package *what* lacks, and the extra that brings it."""
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    remedy = f'pip install "kappawatt[{extra}]"' if extra else "install kappawatt again"
    return KappawattError(f"{what} needs the package {package or error}, which is not installed: {remedy}")


def environ(environ: Mapping[str, str]) -> dict[str, str]:
    """*environ* for a child Python that must be able to `-m` this very kappawatt and its programs, from any folder."""
    root = Path(kappawatt.__file__).parents[1]
    if not (root / "pyproject.toml").is_file():
        return dict(environ)  # installed: the child finds it as we did
    others = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part and part != str(root)]
    return {**environ, "PYTHONPATH": os.pathsep.join([str(root), *others])}
