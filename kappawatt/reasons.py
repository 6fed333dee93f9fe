"""Why a record was not counted, in words: what each reason means, and what to do (docs/semantics.md §1, §3, §4)."""

from typing import NamedTuple


class Reason(NamedTuple):
    """What a reason says of a record, and what helps."""

    means: str
    remedy: str


_SCHEMA = "see which program writes there; register its schema, or let it write by ours"
_BYTES = "keep the bytes (--raw FILE) and look at what wrote them; a file that was copied badly can be copied again"
_IDS = "correct the names that the collector is given"
_WRITER = "a collector of kappawatt does not write this: find the program that does, by collector_id and host"
_KEEP = "let the topic keep records for longer than the flow may be down (its retention.ms)"
_CLOCK = "set the clock of that host (chrony, NTP)"

REASONS: dict[str, Reason] = {
    "magic": Reason("the message does not begin with 0 and a schema id (Confluent framing)", _SCHEMA),
    "unknown_schema": Reason("its schema is not registered, or none of ours", _SCHEMA),
    "undecodable": Reason("its bytes are no record of its schema, or the file is damaged or compressed", _BYTES),
    "trailing_bytes": Reason("bytes follow where the record must end: it was written by another schema", _SCHEMA),
    "too_large": Reason(
        "it is larger than a record may be: 1 MiB or 1,024 readings, 256 KiB for run events and prices, "
        "16 MiB for a block of a file",
        "write fewer devices or labels into one record",
    ),
    "arrays_differ": Reason("the arrays of its readings are empty or differ in length", _WRITER),
    "reserved_run_id": Reason(
        "its run_id begins with ~, which is for what hosts use for no run, or it has none and its host begins with /",
        _IDS,
    ),
    "empty_id": Reason("a name that a record must have is empty: of collector, host, run, event or zone", _IDS),
    "long_id": Reason("a name has more than 512 bytes", _IDS),
    "too_many_zones": Reason("the samples of its bucket have named 255 other zones", "correct the setting zone"),
    "empty_interval": Reason("it ends before or when it starts", _CLOCK),
    "too_long": Reason("it covers 3,000 s or more", _WRITER),
    "before_epoch": Reason("it starts before 1970", _CLOCK),
    "after_time": Reason("it ends after 2310, where windows have no more numbers", _CLOCK),
    "ahead_of_log": Reason("it lies further ahead of its writing to the log than a clock can be wrong", _CLOCK),
    "negative_energy": Reason("a reading has an energy below 0", _WRITER),
    "implausible_power": Reason(
        "a reading has more power than a device can draw",
        "raise max_device_power_w if there is such a device, else look at its sensor (`kappawatt doctor`)",
    ),
    "expired": Reason(
        "it is older than the horizon", "`kappawatt flow --rebuild` counts it; or raise horizon_days before it is read"
    ),
    "unaligned_period": Reason("the price's period does not begin and end on whole 5 minutes", "align the period"),
    "implausible_intensity": Reason("it is negative, above 10,000 g/kWh or no number", "correct what publishes it"),
    "unknown_word": Reason("its kind, signal or type is none that is known", "correct what writes it"),
    "bad_pue": Reason("its PUE is below 1, above 100 or no number", "correct the setting pue"),
    "bad_wue": Reason("its WUE is negative, above 1,000 L/kWh or no number", "correct the setting wue_l_per_kwh"),
    "retention": Reason("the topic no longer had these records when they were to be read", _KEEP),
    "made_anew": Reason(
        "the topic ended before the place where reading was to go on: it was made anew or cut",
        "nothing, if that was meant: the flow reads it again from its beginning",
    ),
}
"""By the word in the log."""

_OTHER = Reason("this version does not know the reason", "read it with the version of kappawatt that wrote it")


def explain(reason: str) -> Reason:
    """What *reason* means; a later version may list reasons that this one does not know."""
    return REASONS.get(reason, _OTHER)
