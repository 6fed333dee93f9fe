"""The small ints that stand for words in `sample`; frozen, as `avro/sample.avsc` says too."""

from enum import IntEnum


class DeviceKind(IntEnum):
    """Kind of a device; codes that are not listed count as `OTHER`."""

    OTHER = 0
    CPU = 1
    GPU = 2
    MEMORY = 3
    NETWORK = 4
    DISK = 5


class Method(IntEnum):
    """How an energy was obtained; codes that are not listed count as `UNKNOWN`."""

    UNKNOWN = 0
    COUNTER = 1
    POWER = 2
    METER = 3
    MODEL = 4
    CONSTANT = 5
    SIMULATED = 6

    @property
    def measured(self) -> bool:
        """True if a device reported it; false: estimated.

        >>> Method.POWER.measured, Method.MODEL.measured
        (True, False)
        """
        return self in (Method.COUNTER, Method.POWER, Method.METER)
