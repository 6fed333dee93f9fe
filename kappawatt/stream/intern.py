"""Dense integer codes for hashable names, so that columns can hold them."""

import heapq
import pickle
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


class Interner(Generic[Name]):
    """Codes 0, 1, 2 … in the order of first sight; a code is never reused.

    >>> names = Interner()
    >>> names.code("a"), names.code("b"), names.code("a"), names[1]
    (0, 1, 0, 'b')
    """

    def __init__(self, names: Iterable[Name] = ()) -> None:
        self.names: list[Name] = list(names)
        self._codes: dict[Name, int] = {name: code for code, name in enumerate(self.names)}

    def load(self, names: Iterable[Name]) -> None:
        """Take over the names of another, in their order, into an empty one."""
        for name in names:
            self.code(name)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, code: int) -> Name:
        return self.names[code]

    def __contains__(self, name: Name) -> bool:
        return name in self._codes

    def find(self, names: Iterable[Name]) -> list[int | None]:
        """The code of each that has one."""
        return list(map(self._codes.get, names))

    def code(self, name: Name) -> int:
        """The code of *name*, a new one if it was never seen."""
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = len(self.names)
            self.names.append(name)
        return found


class Register(Interner[Name]):
    """An interner whose codes can be given back: the lowest free one is used next, so what is in use stays dense.

    Args:
        blank: Stands where no name is; it is never a name itself.

    >>> names = Register("")
    >>> names.code("a"), names.code("b"), names.release(0), names.code("c"), names.names
    (0, 1, None, 0, ['c', 'b'])
    """

    def __init__(self, blank: Name) -> None:
        super().__init__()
        self._blank = blank
        self._free: list[int] = []
        self._dumped: bytes | None = None

    @property
    def used(self) -> int:
        """How many names there are; `len` is one more than the greatest code ever used."""
        return len(self._codes)

    def code(self, name: Name) -> int:
        """The code of *name*, a free one if it has none."""
        if name in self._codes:
            return self._codes[name]
        self._dumped = None
        if not self._free:
            return super().code(name)
        found = self._codes[name] = heapq.heappop(self._free)
        self.names[found] = name
        return found

    def release(self, code: int) -> None:
        """Forget the name of *code*, which nobody may use any more."""
        self._dumped = None
        del self._codes[self.names[code]]
        self.names[code] = self._blank
        heapq.heappush(self._free, code)

    def codes(self) -> list[int]:
        """The codes in use."""
        return list(self._codes.values())

    def dump(self) -> bytes:
        """The names, free codes included, pickled: the same object as long as nothing changes."""
        if self._dumped is None:
            plain = [tuple(name) if isinstance(name, tuple) else name for name in self.names]
            self._dumped = pickle.dumps(plain, pickle.HIGHEST_PROTOCOL)
        return self._dumped

    def undump(self, state: bytes, make: Callable[[Any], Name]) -> None:
        """Take over what `dump` gave; *make* makes a name from its plain value."""
        self.load(map(make, pickle.loads(state)))  # noqa: S301 our own bytes
        self._dumped = state

    def load(self, names: Iterable[Name]) -> None:
        """Take over the names of another, free codes included."""
        self._dumped = None
        self.names = list(names)
        self._codes = {name: code for code, name in enumerate(self.names) if name != self._blank}
        self._free = [code for code, name in enumerate(self.names) if name == self._blank]
