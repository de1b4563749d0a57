"""Threads that compute pieces of a chunk's data beside the main thread; whoever is free takes the next piece."""

import collections
import threading
from collections.abc import Callable, Iterable

_Piece = tuple[int, int]


class Task:
    """Pieces that any threads may run at the same time, in any order.

    Parameters
    ----------
    pieces : iterable of (int, int)
        Ranges of events.
    """

    def __init__(self, pieces: Iterable[_Piece]):
        self._left = collections.deque(pieces)
        self._unfinished = len(self._left)
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._error: BaseException | None = None

    def work(self, run: Callable[[int, int], object]) -> None:
        """Run pieces as `run(first, past)` until none is left; those that others took may still be under way."""
        while self._left:
            try:
                piece = self._left.popleft()
            except IndexError:  # another was faster
                return
            try:
                run(*piece)
            except BaseException as error:  # for the thread that waits
                self._error = error
            with self._lock:
                self._unfinished -= 1
                if not self._unfinished:
                    self._done.set()

    def join(self) -> None:
        """Wait until every piece is done; raises what one of them raised."""
        self._done.wait()
        if self._error is not None:
            raise self._error
