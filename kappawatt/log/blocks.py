"""Blocks of an Avro container file, found with care: whole ones, torn ones, damaged ones. Pure; bytes in, places out.

A block is `count size payload sync`, count and size as zig-zag varints, sync the file's 16 random bytes (Avro
specification 1.11, "Object Container Files"). A sync marker cannot stand inside a payload by chance (2^-128).
"""

from dataclasses import dataclass, field

SYNC_BYTES = 16
MAX_BLOCK_BYTES = 16 * 1024 * 1024
"""Payloads above this are not read: more than any writer of ours makes, and little enough to hold."""
_LONGEST_HEAD = 20


@dataclass(frozen=True, slots=True)
class Block:
    """A whole block: it starts at `start`, its payload of `count` datums is [begin, end)."""

    start: int
    count: int
    begin: int
    end: int


@dataclass(slots=True)
class Scan:
    """What `scan` found; `used` is where the next scan has to start."""

    blocks: list[Block] = field(default_factory=list)
    bad: list[tuple[int, int, str]] = field(default_factory=list)
    """Damaged stretches [from, to) and the reason."""
    used: int = 0


def scan(data: bytes, sync: bytes, start: int = 0, *, final: bool) -> Scan:
    """The blocks of *data* from *start*, which must be the start of a block.

    A damaged block is skipped up to the next sync marker and listed. What follows the last marker and is no whole
    block is left for later, or listed as damaged when *final*: nothing will ever be added after *data*.
    """
    found = Scan(used=start)
    size = len(data)
    while found.used < size:
        at = found.used
        block = whole_block(data, sync, at)
        if block is not None:
            found.used = block.end + SYNC_BYTES
            if block.count:
                found.blocks.append(block)
            continue
        marker = data.find(sync, at)
        if marker < 0 and not final:
            if size - at > MAX_BLOCK_BYTES + _LONGEST_HEAD + SYNC_BYTES:
                found.used = size - SYNC_BYTES  # no block may be that long; a marker that is cut in two stays whole
                found.bad.append((at, found.used, "too_large"))
            break
        found.used = size if marker < 0 else _after_damage(data, sync, at, marker)
        found.bad.append((at, _without_marker(data, sync, found.used), _reason(data, at)))
    return found


def whole_block(data: bytes, sync: bytes, at: int) -> Block | None:
    """The block that starts at *at*, if all of it is there and in order."""
    head = _head(data, at)
    if head is None:
        return None
    count, size, begin = head
    end = begin + size
    if size > MAX_BLOCK_BYTES or data[end : end + SYNC_BYTES] != sync:
        return None
    return Block(at, count, begin, end)


def is_torn(data: bytes, at: int) -> bool:
    """What stands after the last sync marker is a write that was cut short, not a block that was damaged later."""
    rest = data[at:]
    if not rest.strip(b"\0"):  # a file system may lengthen a file before its bytes arrive
        return True
    head = _head(data, at)
    if head is None:
        return len(rest) < _LONGEST_HEAD
    _, size, begin = head
    return begin + size + SYNC_BYTES > len(data)


def _head(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Count, payload size and payload start; None if cut off or impossible (a datum has at least one byte)."""
    count = _varint(data, at)
    if count is None:
        return None
    size = _varint(data, count[1])
    if size is None or not 0 <= count[0] <= size[0]:
        return None
    if (count[0] == 0) != (size[0] == 0):
        return None
    return count[0], size[0], size[1]


def _varint(data: bytes, at: int) -> tuple[int, int] | None:
    value = shift = 0
    for i, byte in enumerate(data[at : at + 10], at + 1):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), i
        shift += 7
    return None


def _after_damage(data: bytes, sync: bytes, at: int, marker: int) -> int:
    """Where reading goes on after the damage at *at*, the next marker being at *marker*."""
    head = _head(data, at)
    if head is not None:
        behind = head[2] + head[1] + SYNC_BYTES
        if behind <= marker and whole_block(data, sync, behind) is not None:
            return behind  # only the marker was damaged: do not lose the block behind it as well
    return marker + SYNC_BYTES


def _without_marker(data: bytes, sync: bytes, stop: int) -> int:
    return stop - SYNC_BYTES if data[stop - SYNC_BYTES : stop] == sync else stop


def _reason(data: bytes, at: int) -> str:
    head = _head(data, at)
    return "too_large" if head is not None and head[1] > MAX_BLOCK_BYTES else "undecodable"
