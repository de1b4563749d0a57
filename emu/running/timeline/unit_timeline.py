"""The timeline file of a run on a hardware timeline: a track a unit, in its simulated time (spec §7.9, §7.11).

A unit's slices are the union of its instructions' intervals, so that they do not overlap and sum to its utilization: a
pipeline that takes in an instruction while the one before is under way shows what the new one adds. The track of stages
has the cycles of the front end, stalls included, as `profile --timing` parts the makespan.

Example: V_ADD_VV in cycles [0, 12) and the next one in [1, 13) make one slice of 13 cycles if both are of one stage.
"""

import numpy as np

from ... import isa
from ...kernels import layout
from ...kernels.hardware.scoreboard import layout as sl
from ...program.decode import Program
from ..attribution.labels import Labels
from ..attribution.timeline_file import (
    BUSY,
    BYTES,
    INSTRUCTIONS,
    MEMORY,
    STAGE,
    STAGES,
    START,
    TRACK,
    WIDTH,
    Timeline,
    joined_runs,
)
from .rules import resource_of


class UnitTimeline(Timeline):
    """Slices of a hardware timeline, taken in as the run goes on.

    Parameters
    ----------
    program : Program
    labels : Labels
    most : int
        Most slices to keep.
    period_ps : int
        Picoseconds of a core cycle.
    """

    tracks = ("stages", *sl.RESOURCES)
    part_name = "stall_ps"
    linked_track = None

    def __init__(self, program: Program, labels: Labels, most: int, period_ps: int):
        super().__init__(program, labels, most)
        ids = program.table[:, layout.OP_ID]
        resources = [0 if op is None else sl.RESOURCES.index(resource_of(op)) for op in isa.BY_ID]
        self._resource = np.array(resources)[ids]
        self._unit = 1 + self._resource  # its track
        self._period = period_ps
        self._covered = [0] * len(sl.RESOURCES)  # end of the union of each, cycles

    def place(self, pcs: np.ndarray, placed: np.ndarray, events: np.ndarray) -> None:
        """Take in the instructions of a slice.

        Parameters
        ----------
        pcs : int64[n]
            Their words.
        placed : int64[n, PLACED_WIDTH]
        events : int64[m, MEV_WIDTH]
            Memory events among them come first.
        """
        if not len(pcs):
            return
        resource, stage = self._resource[pcs], self._labels.of_word[pcs].astype(np.int64)
        rows = np.zeros((len(pcs), WIDTH), dtype=np.int64)
        rows[:, STAGE], rows[:, INSTRUCTIONS] = stage, 1
        memory = np.flatnonzero(resource < sl.MATRIX_COMPUTE)
        events = events[: len(memory)].copy()
        rows[memory, BYTES] = events[:, layout.MEV_BYTES]
        self._now = max(self._now, int(placed[:, sl.PLACED_COMPLETION].max()) * self._period)
        self._add(self._issued(rows, placed, stage))
        for number in np.unique(resource).tolist():
            at = np.flatnonzero(resource == number)
            self._add(self._worked(rows[at], placed[at], number))
        ends = placed[memory, sl.PLACED_COMPLETION] * self._period
        events[:, layout.MEV_DONE] = np.maximum.accumulate(np.maximum(ends, self._moved[-1][-1, 0]))
        self._count(events)

    def _issued(self, rows, placed, stage):
        """Slices of the track of stages."""
        rows = rows.copy()
        issue, accepted = placed[:, sl.PLACED_ISSUE], placed[:, sl.PLACED_ACCEPTED]
        rows[:, TRACK], rows[:, START] = STAGES, issue * self._period
        rows[:, BUSY] = (accepted + 1 - issue) * self._period
        rows[:, MEMORY] = (accepted - issue) * self._period
        return joined_runs(rows, stage)

    def _worked(self, rows, placed, number):
        """Slices of the track of a resource."""
        start, end = placed[:, sl.PLACED_START], np.maximum.accumulate(placed[:, sl.PLACED_COMPLETION])
        end = np.maximum(end, self._covered[number])
        before = np.concatenate(([self._covered[number]], end[:-1]))
        start = np.maximum(start, before)
        self._covered[number] = int(end[-1])
        rows[:, TRACK], rows[:, START] = 1 + number, start * self._period
        rows[:, BUSY] = np.maximum(end - start, 0) * self._period
        # A slice is one stage's without a gap; one that adds nothing goes with the slice before it.
        apart = np.diff(rows[:, STAGE], prepend=-1).astype(bool) | (start > before)
        return joined_runs(rows, np.cumsum(apart))

    def end(self, sb: sl.Scoreboard) -> None:
        """Add the cycles from the last issue to the last completion, which belong to who completes last."""
        drain = int(sb.reg[sl.SB_MAKESPAN] - sb.reg[sl.SB_NEXT_ISSUE])
        if drain > 0:
            row = np.zeros((1, WIDTH), dtype=np.int64)
            row[0, STAGE] = self._labels.of_word[sb.reg[sl.SB_LAST_PC]]
            row[0, START], row[0, BUSY] = int(sb.reg[sl.SB_NEXT_ISSUE]) * self._period, drain * self._period
            self._add(row)
