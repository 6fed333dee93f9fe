"""What can go wrong with Kafka, in our words; knows no client."""

from dataclasses import dataclass
from enum import Enum


class Trouble(Enum):
    """What an error means for who meets it."""

    END = "end of the partition"
    OFFSET = "the wanted offset is not there"
    RETRY = "try again"
    REFUSED = "not allowed"
    MISSING = "no such topic"
    TOO_LARGE = "too large"
    FATAL = "this client is of no more use"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of the client, in words."""

    trouble: Trouble
    text: str
