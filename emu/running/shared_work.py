"""What runs of one process can have in common, so that it is done once: parsed inputs, control passes, memory passes.

A memory event of a timing-only run does not depend on the memory, so one control pass serves every memory; and two
runs whose events and memories are alike take the same time in them. `execute` shares nothing unless it is given a
`SharedWork`; with one its results are the same, to the byte.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

SMALL = 1 << 14  # bytes that a parsed file is counted as
MOST_BYTES = 256 << 20  # of everything that is kept


class SharedWork:
    """Keeps results of runs for later ones, the least used go first.

    The files that runs name must not change while it lives: a file is read once.

    Parameters
    ----------
    most_bytes : int
        About the memory that is kept.
    """

    is_shared = True

    def __init__(self, most_bytes: int = MOST_BYTES):
        self._most = most_bytes
        self._bytes = 0
        self._kept: collections.OrderedDict[Hashable, tuple[Any, int]] = collections.OrderedDict()

    def once(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int] | int = SMALL) -> T:
        """Look a value up by its key, or make it and keep it; what `make` raises is not kept.

        Parameters
        ----------
        key : hashable
            Everything that the value depends on.
        size : int or callable
            Bytes of the value, or what tells them.

        Returns
        -------
        T
        """
        found = self.find(key)
        if found is None:
            found = make()
            self.keep(key, found, size(found) if callable(size) else size)
        return found

    def find(self, key: Hashable) -> Any:
        """Look a value up; None where it is not there, or not any more."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        self._kept.move_to_end(key)
        return entry[0]

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Keep a value of `size` bytes; one that is larger than half of everything is not kept."""
        if 2 * size > self._most or key in self._kept:
            return
        self._kept[key] = value, size
        self._bytes += size
        while self._bytes > self._most:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._bytes -= dropped


class Alone:
    """Stands in for a `SharedWork` where a run has nothing in common with another."""

    is_shared = False

    def once(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int] | int = SMALL) -> T:
        """Make the value."""
        return make()

    def find(self, key: Hashable) -> Any:
        """Find nothing."""
        return

    def keep(self, key: Hashable, value: Any, size: int) -> None:
        """Keep nothing."""


ALONE = Alone()
Shared = SharedWork | Alone
