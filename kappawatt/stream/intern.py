"""Dense integer codes for hashable names, so that columns can hold them."""

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

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

    def code(self, name: Name) -> int:
        """The code of *name*, a new one if it was never seen."""
        found = self._codes.get(name)
        if found is None:
            found = self._codes[name] = len(self.names)
            self.names.append(name)
        return found
