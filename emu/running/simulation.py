"""The drive loop of a run: control, data and timing over chunks of events.

On one thread control fills a chunk, timing consumes its memory events and data the others. Runs with data that have
several threads do these side by side (`pipeline`); what runs so never meets, so bytes and latency are the same with any
number of threads.
"""

import collections
import time
from collections.abc import Callable, Iterator

import numpy as np

from .. import isa
from ..errors import EmuError
from ..kernels import layout
from ..kernels import status as st
from ..kernels.compiler.jit import bind, entry_of
from ..kernels.compiler.placement import most_threads
from ..kernels.hardware.scoreboard.layout import OBSERVED_SLICE
from ..kernels.limits import TIME_LIMIT
from ..machine.core import Machine
from ..program.decode import Program
from .caveats import ScaleLines
from .crew import Crew, Solo, can_work_together, prepare_plan
from .gathered_timing import gather
from .pipeline import BEHIND, Chunk, Pipeline, Slice
from .run_errors import run_error
from .work import chunk_length, pieces, timing_work
from .workers import Inline, Worker, heard

control_slice = entry_of("control.control", "control_slice")

CHUNK = 4096  # events a chunk holds, at most
STEP_WORK = 1 << 30  # of data in a step, in the units of `work`: products, which are most of such a one, are faster
WATCHED_WORK = 1 << 25  # of a run that somebody watches
SLICE = 1 << 18  # most instructions a slice executes
MOST_UNASKED = 4  # threads of a run that was not told how many: products are short


def default_threads(timing_only: bool = False) -> int:
    """Choose one for each CPU that this process may use, MOST_UNASKED at most; one without data: control is short.

    Returns
    -------
    int
    """
    return 1 if timing_only else min(MOST_UNASKED, most_threads())


class Simulation:
    """A machine with its program and its memory model.

    Parameters
    ----------
    program : Program
    machine : Machine
    memory : RegimeModel
    data : bool
        Whether the data pass runs.
    threads : int
        From 2 on timing runs beside data, and all of them compute products. `lacks_thread` is true where not so many
        can be started.
    timeline : ScoreboardPass or SerialPass, optional
        Takes what control executed, after timing; it runs on the thread of timing.
    watched : bool
        Whether `passed` will be asked.
    watch : callable, optional
        Called after each slice with its executed instructions (int64[n, TR_WIDTH], of a machine that traces) and its
        memory events (int64[m, MEV_WIDTH]), which are done: timing runs beside data, but never behind it then.
    recorder : Recorder, optional
        Takes the memory events of each slice.
    looks_ahead : bool
        Whether a step may be several slices. False for somebody who looks at the machine between two.
    """

    def __init__(
        self, program: Program, machine: Machine, memory, data: bool = True, threads: int = 1, timeline=None,
        watched: bool = False, watch=None, recorder=None, looks_ahead: bool = True,
    ):
        self.program = program
        machine.count_words(len(program))
        self.machine = machine
        self.memory = memory
        self.data = data
        self.watched = watched
        self.pass_s = {"control": 0.0, "timing": 0.0}  # seconds in the kernels of these passes
        self._passed: collections.deque[tuple[int, int, int]] = collections.deque()
        self._timing_work = timing_work(machine.descriptors)
        self.scale_lines = ScaleLines(machine.descriptors)
        self._chunk_length = chunk_length(machine.descriptors, CHUNK)
        self.timeline = timeline
        self._watch = watch
        self._recorder = recorder
        # Control fills the first; timing may still read the others.
        self._chunks = collections.deque(self._new_chunk() for _ in range(BEHIND + 1))
        self.lacks_thread = False
        # Nobody asks where such a run is, and all its events may be timed late.
        unwatched = not data and timeline is None and not watched and watch is None
        self._gathered = gather(memory, threads, self._run_timing) if unwatched else None
        self._workers = self._new_workers(threads - 1 if data else min(threads - 1, int(self._gathered is None)))
        self._worker = self._workers[0] if self._workers else Inline()
        self._solo = Solo(machine, self._chunk_length)
        self._crew: Crew | None = None
        self._pipeline: Pipeline | None = None
        if data and self._workers and looks_ahead and watch is None and can_work_together(machine):
            self._crew = Crew(machine, self._chunk_length, self._workers)
            self._pipeline = Pipeline(self._run_control, self._follow_control, self._crew, self._workers[0],
                                      machine.touch_rows, not _writes_integers(program))
        self._control_call: tuple[object, Callable] | None = None
        dearest = int(program.table[:, layout.OP_COST].max(initial=1))
        # Time is checked between slices, so that no slice may carry it from the limit past int64.
        self._longest = min(SLICE, (TIME_LIMIT - 1) // dearest)
        recorded = OBSERVED_SLICE if timeline is not None else len(machine.control.trace)
        gathered = self._gathered.slice if self._gathered is not None else SLICE
        self.slice = min(recorded or gathered, self._longest)
        self.ctl[layout.CTL_SKIPS] = int(not data)

    def _new_workers(self, wanted):
        """Start the threads that are wanted, as far as the system allows."""
        workers = []
        try:
            while len(workers) < wanted:
                workers.append(Worker())
        except RuntimeError:
            self.lacks_thread = True
        return workers

    @property
    def ctl(self):
        """Control registers."""
        return self.machine.control.ctl

    @property
    def executed(self) -> int:
        """Instructions executed so far."""
        return int(self.ctl[layout.CTL_EXECUTED])

    def prepare(self) -> None:
        """Load (or compile) the kernels."""
        self.prepare_control()
        if self.data:
            self.prepare_data()
        self.memory.warm()
        if self._gathered is not None:
            self._gathered.prepare()

    def prepare_control(self) -> None:
        """Load (or compile) the control kernel."""
        self._control(np.zeros((0, layout.EV_WIDTH), dtype=np.int64), 0)
        if self.timeline is not None:
            self.timeline.prepare()

    def prepare_data(self) -> None:
        """Load (or compile) the kernels of data."""
        (self._crew or self._solo).prepare()

    def prepare_plan(self) -> None:
        """Load (or compile) the kernel that finds what several threads may do of a chunk."""
        prepare_plan(self.machine)

    def _control(self, events, budget):
        m = self.machine
        if self._control_call is None or self._control_call[0] is not m.control:
            first = (self.program.table, m.cfg, m.descriptors, m.control)
            self._control_call = m.control, bind(control_slice, first, ())
        return self._control_call[1](events, self._chunks[0].mem_events, budget)

    def _run_timing(self, events, count):
        """Run the timing pass over the first `count` memory events of a chunk."""
        began = time.perf_counter()
        for first, past, heavy in pieces(events[:count, layout.MEV_DESCRIPTOR], self._timing_work):
            heard(heavy, self.memory.advance, events[first:], past - first)
        self.pass_s["timing"] += time.perf_counter() - began

    def step(self, limit: int | None) -> bool:
        """Run one slice, or several where nobody looks at the machine between them.

        Returns
        -------
        bool
            False when the program has ended or `limit` instructions are executed.

        Raises
        ------
        EmuError
            The program did something illegal, or simulated time overflowed; what comes first in the
            program is what is raised.
        """
        if self._pipeline is not None:
            last = self._pipeline.step(limit, WATCHED_WORK if self.watched else STEP_WORK)
            if last is not None:
                self._check(last)
            return last is None
        self._worker.join(BEHIND - 1)
        found = self._run_control(self._solo.events, None, limit)
        self._check(found)
        self._consume(found)
        if self.data:
            self._solo.run(found.events)
        if self._watch is not None:
            self._join()
            self._watch(self.machine.control.trace[: found.executed], found.chunk.mem_events[: found.mem_events])
        return found.goes_on(limit)

    def _check(self, found):
        """Raise what control found; errors of timing come before it."""
        if found.has_failed:
            self._join()
            self._check_time(found.compute)
            raise run_error(found.status, self.ctl, self.program, self.machine.cfg)

    def _join(self):
        """Wait until timing is done with all events that control gave it; raises what it raised."""
        if self._gathered is not None:
            self._gathered.flush()
        self._worker.join()

    def _run_control(self, events, most, limit):
        """Run control for one slice of at most `most` instructions, if that is a number, up to `limit` of the run."""
        ctl, chunk = self.ctl, self._chunks[0]
        ctl[layout.CTL_EVENTS] = ctl[layout.CTL_MEM_EVENTS] = ctl[layout.CTL_TOPK] = 0
        if self.timeline is not None:
            self.machine.control = self.machine.control._replace(trace=chunk.executed)
        before = self.executed
        budget = self.slice if most is None else min(most, self.slice)
        began = time.perf_counter()
        status = self._control(events, budget if limit is None else min(budget, limit - before))
        self.pass_s["control"] += time.perf_counter() - began
        if status == st.LOOPS_FULL:
            self.machine.grow_loops()
        mem_events = int(ctl[layout.CTL_MEM_EVENTS])
        if self._has_job(mem_events):
            self._chunks.rotate(-1)
        return Slice(status, chunk, int(ctl[layout.CTL_EVENTS]), mem_events, self.executed - before,
                     int(ctl[layout.CTL_PC]), self.executed, int(ctl[layout.CTL_DELTA]), int(ctl[layout.CTL_COMPUTE]))

    def trace(self, capacity: int, watch) -> None:
        """From the next slice on, record up to `capacity` instructions a slice (0: none) and call `watch` with them.

        With a timeline every instruction is recorded anyway, in its chunks.
        """
        if self.timeline is None:
            trace = np.zeros((capacity, layout.TR_WIDTH), dtype=np.int64)
            self.machine.control = self.machine.control._replace(trace=trace)
            self.slice = min(capacity or SLICE, self._longest)
        if watch is not None and self._gathered is not None:
            self._gathered.rest()  # events that somebody looks at are timed by this thread
        self._watch = watch

    def synchronise(self) -> int:
        """Wait for timing, without ending the run; returns the completion of the last memory event, ps."""
        self._join()
        return self.memory.now_ps

    def _new_chunk(self):
        room = OBSERVED_SLICE if self.timeline is not None else 0
        return Chunk(
            mem_events=np.zeros((self._chunk_length, layout.MEV_WIDTH), dtype=np.int64),
            executed=np.zeros((room, layout.TR_WIDTH), dtype=np.int64),
        )

    def _has_job(self, mem_events):
        """Whether timing, or what runs behind it, has something to do after a slice; its chunk is kept until then."""
        return mem_events > 0 or self.timeline is not None or self.watched

    def _consume(self, found):
        """Hand the memory events of a slice to timing, and what was executed to the timeline."""
        chunk, count = found.chunk, found.mem_events
        if self._recorder is not None and count:
            self._recorder.take(chunk.mem_events[:count])
        if self._gathered is not None and self._watch is None:
            self._gathered.take(chunk.mem_events[:count])
            if len(self.machine.control.trace) == 0:
                self.slice = min(self._gathered.slice, self._longest)
            return

        if self._has_job(count):
            self._worker.start(lambda: self._follow_control(found))

    def _follow_control(self, found):
        """Run timing of a slice, and what comes behind it."""
        chunk, count = found.chunk, found.mem_events
        if not self._has_job(count):
            return
        if self.data:
            self.scale_lines.watch(chunk.mem_events, count)
        self._run_timing(chunk.mem_events, count)
        if self.timeline is not None:
            self.timeline.place(chunk.executed, found.executed, chunk.mem_events)
        if self.watched:
            self._passed.append((found.pc, found.so_far, self.memory.now_ps + found.delta))

    def finish(self) -> None:
        """Wait for timing; the figures below are final then. Raises what timing raised."""
        self._dismiss()
        self._join()
        if self.timeline is not None:
            self.timeline.finish()
        self._check_time(self.end_ps)

    def passed(self) -> Iterator[tuple[int, int, int]]:
        """Take the slices that all passes are through with: (pc, instructions executed, simulated picoseconds) each.

        Timing may be behind, so a slice may come later than its `step`; the figures and their order are those of a
        run on one thread. The last slice has come once `finish` is over.
        """
        while self._passed:
            yield self._passed.popleft()

    def close(self) -> None:
        """End the threads; also of a run that stopped half way."""
        self._dismiss()
        for worker in self._workers:
            worker.stop()
        if self._gathered is not None:
            self._gathered.close()
        # They know this object, and the SRAMs of a machine shall not wait for the garbage collector.
        self._gathered = self._pipeline = self._crew = None

    def _dismiss(self):
        """Let no thread wait for data any more."""
        if self._crew is not None:
            self._crew.dismiss()

    def _check_time(self, picoseconds):
        """Check compute time alone, and the end of the run; `memory` checks the times of its events."""
        if picoseconds > TIME_LIMIT:
            raise EmuError(f"program: simulated time passes {TIME_LIMIT} ps (53 days) before its end")

    @property
    def pc(self) -> int:
        """Word index of the next instruction."""
        return int(self.ctl[layout.CTL_PC])

    @property
    def ended(self) -> bool:
        """Whether the pc has passed the last word."""
        return self.pc >= len(self.program)

    @property
    def end_ps(self) -> int:
        """Completion of the last instruction; behind by up to BEHIND slices while the run goes on."""
        return self.memory.now_ps + int(self.ctl[layout.CTL_DELTA])

    @property
    def latency_ps(self) -> int:
        """Last event of all, memory housekeeping included (§3.1)."""
        return max(self.end_ps, self.memory.last_event_ps)


def _writes_integers(program):
    """Whether data writes the int SRAM: control then waits for it (§1.8)."""
    return bool((program.table[:, layout.OP_ID] == isa.V_TOPK).any())
