"""For tests of event-time jobs: a driver without broker, clock or processes (docs/testing.md)."""

from kappawatt.testing.driver import JobDriver
from kappawatt.testing.emissions import EmissionsDriver
from kappawatt.testing.log import MemoryLog
from kappawatt.testing.runtime import ManualRuntime
from kappawatt.testing.store import MemoryStore

__all__ = ["EmissionsDriver", "JobDriver", "ManualRuntime", "MemoryLog", "MemoryStore"]
