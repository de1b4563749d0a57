"""Control a few slices ahead of data: each slice of control is run by whichever thread comes to it first.

Where an address never depends on data, control can go on while data works on what it left. The thread that is done
with timing runs the next slice; if it is late, the main thread does so itself, when it needs it.
"""

import collections
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..kernels import status as st
from ..kernels.limits import TIME_LIMIT
from .crew import DataChunk
from .workers import Claim, Worker

DEPTH = 2  # slices that control is ahead by


class Chunk(NamedTuple):
    """What control hands to timing and to the timeline.

    Attributes
    ----------
    mem_events : int64[CHUNK, MEV_WIDTH]
    executed : int64[OBSERVED_SLICE, TR_WIDTH]
        Each executed instruction; empty without a timeline.
    """

    mem_events: np.ndarray
    executed: np.ndarray


class Slice(NamedTuple):
    """What control left behind a slice of instructions.

    Attributes
    ----------
    status : int
        Of `kernels.status`.
    chunk : Chunk
        Its memory events and executed instructions, `mem_events` and `executed` of them.
    data : DataChunk
        Its data events.
    pc, so_far, delta, compute : int
        Word index behind it, instructions so far, compute picoseconds since the last memory event and in all.
    """

    status: int
    chunk: Chunk
    data: DataChunk
    mem_events: int
    executed: int
    pc: int
    so_far: int
    delta: int
    compute: int

    @property
    def has_failed(self) -> bool:
        """Whether an instruction was illegal, or simulated time passes its limit."""
        return self.status >= st.FIRST_ERROR or self.compute > TIME_LIMIT

    def goes_on(self, limit: int | None) -> bool:
        """Tell whether another slice follows where `limit` instructions are executed."""
        return not self.has_failed and self.status != st.DONE and (limit is None or self.so_far < limit)


class Lookahead:
    """Slices of control, in order.

    Parameters
    ----------
    run : callable
        Runs the next slice, up to as many instructions of the whole run.
    worker : Worker or None
        Whose thread runs slices ahead; without one each is run when it is asked for.
    """

    def __init__(self, run: Callable[[int | None], Slice], worker: Worker | None):
        self._run = run
        self._worker = worker
        self._claims: collections.deque[Claim[Slice]] = collections.deque()

    def next(self, limit: int | None) -> Slice:
        """Take the next slice of a run of at most `limit` instructions, the same in every call if there is a worker.

        Returns
        -------
        Slice
        """
        return self._claims.popleft().take() if self._claims else self._run(limit)

    def look_ahead(self, found: Slice, limit: int | None) -> None:
        """Have the worker run the slices that follow `found`, the last one taken."""
        while self._worker is not None and len(self._claims) < DEPTH and found.goes_on(limit):
            claim = self._claim_behind(self._claims[-1] if self._claims else None, limit)
            self._claims.append(claim)
            self._worker.help(claim.offer)

    def _claim_behind(self, before, limit):
        """Claim the slice behind that of another claim; there is none behind the last, which is told again."""

        def run():
            last = before.take() if before is not None else None
            return self._run(limit) if last is None or last.goes_on(limit) else last

        return Claim(run)
