"""A control pass that was recorded, and the run that replays its memory events for another memory (spec §3.1).

Without data a run's control pass depends on program, geometry, latencies and int SRAM alone. Compute time is counted
in core cycles here, so that one recording also serves every clock.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..kernels import layout
from ..kernels.limits import TIME_LIMIT
from ..machine.core import Machine
from ..program.decode import Program
from ..request import RunRequest
from .pipeline import Chunk
from .simulation import Simulation

_TIMES = (layout.CTL_COMPUTE, layout.CTL_DELTA)


class Recording(NamedTuple):
    """A whole control pass.

    Attributes
    ----------
    events : int64[n, MEV_WIDTH]
        Its memory events; MEV_DELTA counts core cycles.
    slices : tuple of int
        How many events each slice had, in order; they sum to n.
    ctl : int64[CTL_WIDTH]
        Registers at the end; times in core cycles.
    counts : int64[words]
        How often each word was executed.
    """

    events: np.ndarray
    slices: tuple[int, ...]
    ctl: np.ndarray
    counts: np.ndarray

    @property
    def size(self) -> int:
        """Bytes."""
        return self.events.nbytes + self.ctl.nbytes + self.counts.nbytes + 32 * len(self.slices)

    def fits(self, period_ps: int) -> bool:
        """Tell whether no time passes its limit with a core cycle of `period_ps`, memory left out."""
        return int(self.ctl[layout.CTL_COMPUTE]) * period_ps <= TIME_LIMIT


class Recorder:
    """Takes the memory events of a run slice by slice; costs are multiples of the core cycle `period_ps`."""

    def __init__(self, period_ps: int):
        self._period = period_ps
        self._parts: list[np.ndarray] = []

    def take(self, events: np.ndarray) -> None:
        """Copy the memory events of a slice (int64[m, MEV_WIDTH])."""
        self._parts.append(events.copy())

    def recording(self, ctl: np.ndarray, counts: np.ndarray) -> Recording:
        """Make the recording of a run that has ended, from its control registers and counts."""
        width = layout.MEV_WIDTH
        events = np.concatenate(self._parts) if self._parts else np.zeros((0, width), dtype=np.int64)
        events[:, layout.MEV_DELTA] //= self._period
        kept = ctl.copy()
        for time in _TIMES:
            kept[time] //= self._period
        return Recording(events, tuple(len(part) for part in self._parts), kept, counts.copy())


def control_key(request: RunRequest, program: Program, machine: Machine) -> tuple | None:
    """Tell what the control pass of a run depends on, its clock left out; None for one that cannot be replayed.

    Runs with data, and runs whose instructions somebody looks at, are not replayed.

    Returns
    -------
    tuple or None
    """
    watched = request.trace or request.overlap or request.timeline or request.pc_log or request.progress
    if not request.timing_only or watched or request.memory_trace or request.timing != "serial":
        return None
    cycles = (machine.settings.latency, machine.settings.mlen, machine.settings.vlen)
    return ("control", request.opcode, request.isa, cycles, machine.cfg.tobytes(), machine.descriptors.tobytes(),
            request.intsram, request.max_instructions)


class ReplayedSimulation(Simulation):
    """A timing-only simulation whose control pass was recorded.

    Parameters
    ----------
    recording : Recording
        Of the same program, geometry and latencies; it `fits` the core cycle.
    period_ps : int
        A core cycle.
    """

    def __init__(self, program: Program, machine: Machine, memory, recording: Recording, period_ps: int):
        self._recording = recording
        super().__init__(program, machine, memory, data=False, threads=1)
        self._period = period_ps
        self._left = list(reversed(recording.slices))
        self._done = 0

    def _new_chunk(self):
        """Nothing fills a chunk."""
        return Chunk(self._recording.events[:0], np.zeros((0, layout.TR_WIDTH), dtype=np.int64))

    def prepare(self) -> None:
        """Load (or compile) the kernel of the memory; control has none."""
        if not self.memory.is_timed:
            self.memory.warm()

    def step(self, limit: int | None) -> bool:
        """Run the memory events of one recorded slice; False after the last. Raises `EmuError` as a run does."""
        if self._left and not self.memory.is_timed:
            count = self._left.pop()
            events = self._recording.events[self._done : self._done + count].copy()
            events[:, layout.MEV_DELTA] *= self._period
            self._run_timing(events, count)
            self._done += count
            if self._left:
                return True
        self.ctl[:] = self._recording.ctl
        for time in _TIMES:
            self.ctl[time] *= self._period
        self.machine.control.counts[:] = self._recording.counts
        return False
