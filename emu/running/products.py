"""Which tile products of a chunk may run side by side: independent work between two writes of an accumulator.

A *product* is the events that fill the M_MM accumulator and the M_MM_WO that writes it out and clears it:

    M_MM  M_MM  M_MM_WO     M_MM  M_MM  M_MM_WO     V_ADD_VV   M_MM ...
    one product             the next                others     a product that is not complete in this chunk

Adjacent products read tiles and rows and write rows. They are independent if none reads a row that another writes and
none writes what another does. Each is computed by one thread on an accumulator of its own in the order of its
instructions, so the bits are those of one thread (§2.5).
"""

from collections.abc import Iterator

import numpy as np

from .. import isa
from ..kernels.layout import CFG_BLEN

LEAST_WORK = 1 << 23  # multiply-adds of a group: handing it out takes as long as a hundredth of that
_PIECE = 1 << 21  # of a piece of a group, at least
_FILLS = (isa.M_MM, isa.M_TMM)


class ProductFinder:
    """Finds groups of independent products, chunk by chunk.

    Parameters
    ----------
    cfg : int64[CFG_WIDTH]
    work : int64[NUM_OPS]
        Work of an event by its operation (`work.data_work`).
    """

    def __init__(self, cfg: np.ndarray, work: np.ndarray):
        self._blen = int(cfg[CFG_BLEN])
        self._work = work
        self._is_clear = True  # whether the accumulator is as M_MM_WO leaves it

    def groups(self, events: np.ndarray) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """Cut the events of a chunk; the chunks of a run come in order, each once.

        Yields
        ------
        (first, past, pieces)
            Events [first, past), in order. `pieces` are ranges of them that any threads may execute at the same time;
            without any, the events belong on one thread.
        """
        ops = events[:, 0]
        ends = ops == isa.M_MM_WO
        ours = ends | np.isin(ops, _FILLS)
        sums = np.concatenate(([0], np.cumsum(np.where(ours, self._work[ops], 0))))
        edges = np.flatnonzero(np.diff(np.concatenate(([False], ours, [False])).astype(np.int8)))
        done = 0
        for first, past in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            stops = first + 1 + np.flatnonzero(ends[first:past])  # behind every M_MM_WO
            is_clear, self._is_clear = self._is_clear, bool(ends[past - 1])
            if sums[past] - sums[first] < LEAST_WORK:
                continue
            starts = np.concatenate(([first], stops))[:-1] if is_clear else stops[:-1]
            stops = stops if is_clear else stops[1:]
            if len(stops) > 1 and self._is_independent(events[starts[0] : stops[-1]]):
                if done < starts[0]:
                    yield done, int(starts[0]), []
                done = int(stops[-1])
                yield int(starts[0]), done, self._pieces(starts, stops, sums)
        if done < len(events):
            yield done, len(events), []

    def _is_independent(self, events):
        """Whether no row that is read is written, and no place of a row is written twice."""
        blen = self._blen
        write = events[events[:, 0] == isa.M_MM_WO]
        rows, offsets = write[:, 1], write[:, 2]
        read = events[events[:, 0] != isa.M_MM_WO, 3]
        if (write[:, 3] != 1).any() or ((rows - rows[0]) % blen).any() or ((offsets - offsets[0]) % blen).any():
            return False  # blocks that may overlap: leave them in order
        if len({*zip(rows.tolist(), offsets.tolist(), strict=True)}) < len(rows):
            return False
        return not len(read) or rows.max() + blen <= read.min() or read.max() + blen <= rows.min()

    def _pieces(self, starts, stops, sums):
        """Join products to pieces of enough work."""
        pieces = []
        first = int(starts[0])
        for stop in stops.tolist():
            if sums[stop] - sums[first] >= _PIECE or stop == stops[-1]:
                pieces.append((first, stop))
                first = stop
        return pieces
