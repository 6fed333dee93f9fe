"""What can go wrong with Kafka, in our words; knows no client."""

from dataclasses import dataclass
from enum import Enum

from kappawatt.access import KAFKA


class Trouble(Enum):
    """What an error means for who meets it."""

    END = "end of the partition"
    OFFSET = "the wanted offset is not there"
    RETRY = "try again"
    REFUSED = "not allowed"
    LOG_IN = "user or password is wrong"
    UNTRUSTED = "the broker's certificate is not one to be trusted"
    MISSING = "no such topic"
    TOO_LARGE = "too large"
    FATAL = "this client is of no more use"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of the client, in words."""

    trouble: Trouble
    text: str


def remedy(trouble: Trouble) -> str:
    """What a person can do about it."""
    return _REMEDIES.get(trouble, f"start it, or correct KAPPAWATT_LOG (--log) and {KAFKA}SECURITY_PROTOCOL")


_REMEDIES = {
    Trouble.LOG_IN: f"correct {KAFKA}SASL_USERNAME, {KAFKA}SASL_PASSWORD and {KAFKA}SASL_MECHANISM",
    Trouble.UNTRUSTED: f"{KAFKA}SSL_CA_LOCATION has to name the certificate of who signed the brokers', "
    "and KAPPAWATT_LOG an address that it is for",
    Trouble.REFUSED: "this user lacks the right to: `kappawatt rights kafka` tells who may what",
    Trouble.MISSING: "`kappawatt schema register` makes the topics; "
    "or this user may not see it: `kappawatt rights kafka` tells who may what",
    Trouble.TOO_LARGE: "raise max.message.bytes of the topic",
}
