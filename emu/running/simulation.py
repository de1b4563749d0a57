"""The drive loop of a run: control, data and timing over chunks of events.

Control fills a chunk; then data consumes its events on this thread while timing consumes the memory events
of this and earlier chunks on another (both release the GIL). Independent products of a chunk (`products`) go to
whichever threads are free. What runs side by side never meets, so bytes and latency are the same with any number of
threads.
"""

import collections
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from ..errors import EmuError
from ..kernels import layout
from ..kernels import status as st
from ..kernels.compiler.jit import bind
from ..kernels.control.control import control_slice
from ..kernels.data.data import data_slice
from ..kernels.hardware.scoreboard.layout import OBSERVED_SLICE
from ..kernels.limits import TIME_LIMIT
from ..machine.core import Machine, hand_state
from ..program.decode import Program
from .caveats import ScaleLines
from .crew import Task
from .gathered_timing import gather
from .products import ProductFinder
from .run_errors import data_error, run_error
from .work import chunk_length, data_work, pieces, timing_work

CHUNK = 4096  # events a chunk holds, at most
AHEAD = 8  # chunks that timing may be behind by: one that holds little for data may hold much for timing
SLICE = 1 << 18  # most instructions a slice executes
MOST_UNASKED = 4  # threads of a run that was not told how many: products are short


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


def default_threads(timing_only: bool = False) -> int:
    """Choose one for each CPU that this process may use, MOST_UNASKED at most; one without data: control is short.

    Returns
    -------
    int
    """
    return 1 if timing_only else min(MOST_UNASKED, len(os.sched_getaffinity(0)))


class _Job(NamedTuple):
    """A call on a worker; `is_help` where the caller does the same meanwhile."""

    call: Callable[[], object]
    is_help: bool


class _Worker:
    """Runs jobs in order on a thread of its own; `join` hands on what the first that failed raised."""

    def __init__(self):
        self._jobs = queue.SimpleQueue()
        self._done = queue.SimpleQueue()
        self._pending = 0
        self._warnings = np.geterr()  # of the thread that made it, where `execute` has turned some off
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self):
        failed = False
        while (job := self._jobs.get()) is not None:
            error = None
            try:
                if not failed or job.is_help:
                    with np.errstate(**self._warnings):
                        job.call()
            except BaseException as raised:  # handed to the thread that waits
                error, failed = raised, True
            if not job.is_help:
                self._done.put(error)

    def start(self, job):
        """Begin a job once those before are done; none begins after one that failed."""
        self._jobs.put(_Job(job, False))
        self._pending += 1

    def help(self, job):
        """Begin a job that `join` does not wait for, once those before are done; it raises nothing."""
        self._jobs.put(_Job(job, True))

    def join(self, left=0):
        """Wait until at most `left` of the jobs that were started are not done."""
        while self._pending > left:
            error = self._done.get()
            self._pending -= 1
            if error is not None:
                raise error

    def stop(self):
        """End the thread once its jobs are done."""
        self._jobs.put(None)


class _Hand:
    """A worker with accumulators and scratch of its own, which shares the SRAMs with the main thread."""

    def __init__(self, worker, kernel, state):
        self._worker = worker
        self._kernel = kernel
        self._state = state
        self._call: Callable | None = None

    def help(self, task, events):
        """Take pieces of a task once the worker is free."""
        self._worker.help(lambda: task.work(lambda first, past: self._run(events[first:], past - first)))

    def _run(self, events, count):
        if self._call is None:
            self._call = bind(self._kernel, (), (self._state,))
        return self._call(events, count)


class _Inline:
    """A worker that runs every job at once, on the calling thread."""

    def start(self, job):
        job()

    def join(self, left=0):
        pass


def _heard(heavy, call, *arguments):
    """Call a kernel; one that takes long on a thread of its own, because Ctrl-C ends waiting but no kernel."""
    if not heavy or threading.current_thread() is not threading.main_thread():
        return call(*arguments)
    found = []
    try:
        worker = _Worker()
    except RuntimeError:  # no more threads here
        return call(*arguments)
    try:
        worker.start(lambda: found.append(call(*arguments)))
        worker.join()
    finally:
        worker.stop()
    return found[0]


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
    """

    def __init__(
        self, program: Program, machine: Machine, memory, data: bool = True, threads: int = 1, timeline=None,
        watched: bool = False, watch=None, recorder=None,
    ):
        self.program = program
        machine.count_words(len(program))
        self.machine = machine
        self.memory = memory
        self.data = data
        self.watched = watched
        self._passed: collections.deque[tuple[int, int, int]] = collections.deque()
        self._data_work = data_work(machine.cfg, machine.descriptors)
        self._timing_work = timing_work(machine.descriptors)
        self.scale_lines = ScaleLines(machine.descriptors)
        self._chunk_length = chunk_length(machine.descriptors, CHUNK)
        self.events = np.zeros((self._chunk_length, layout.EV_WIDTH), dtype=np.int64)
        self.timeline = timeline
        # Control fills the first; timing may still read the others.
        self._watch = watch
        self._recorder = recorder
        self._chunks = collections.deque(self._new_chunk() for _ in range(AHEAD + 1))
        if timeline is not None:
            self._take_chunk()
        self.lacks_thread = False
        # Nobody asks where such a run is, and all its events may be timed late.
        unwatched = not data and timeline is None and not watched and watch is None
        self._gathered = gather(memory, threads, self._run_timing) if unwatched else None
        self._workers = self._new_workers(threads - 1 if data else min(threads - 1, int(self._gathered is None)))
        self._worker = self._workers[0] if self._workers else _Inline()
        self._crew = [_Hand(worker, data_slice, hand_state(machine.data)) for worker in self._workers if data]
        self._finder = ProductFinder(machine.cfg, self._data_work) if self._crew else None
        self._data_call: Callable | None = None
        self._control_call: tuple[object, Callable] | None = None
        dearest = int(program.table[:, layout.OP_COST].max(initial=1))
        # Time is checked between slices, so that no slice may carry it from the limit past int64.
        self._longest = min(SLICE, (TIME_LIMIT - 1) // dearest)
        self.slice = min(len(machine.control.trace) or SLICE, self._longest)
        self.ctl[layout.CTL_SKIPS] = int(not data)

    def _new_workers(self, wanted):
        """Start the threads that are wanted, as far as the system allows."""
        workers = []
        try:
            while len(workers) < wanted:
                workers.append(_Worker())
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

    def prepare_control(self) -> None:
        """Load (or compile) the control kernel."""
        self._control(0)
        if self.timeline is not None:
            self.timeline.prepare()

    def prepare_data(self) -> None:
        """Load (or compile) the data kernel."""
        self._data_call = bind(data_slice, (), (self.machine.data,))
        self._data_call(self.events, 0)

    def _control(self, budget):
        m = self.machine
        if self._control_call is None or self._control_call[0] is not m.control:
            first = (self.program.table, m.cfg, m.descriptors, m.control)
            self._control_call = m.control, bind(control_slice, first, ())
        return self._control_call[1](self.events, self._chunks[0].mem_events, budget)

    def _run_data(self, count):
        """Run the data pass over the first `count` events of the chunk."""
        events = self.events[:count]
        if self._finder is None:
            self._run_in_order(events)
            return
        for first, past, parts in self._finder.groups(events):
            if parts:
                self._run_together(parts)
            else:
                self._run_in_order(events[first:past])

    def _run_in_order(self, events):
        """Run the data pass over events, one after the other."""
        if self._data_call is None:
            self.prepare_data()
        for first, past, heavy in pieces(events[:, 0], self._data_work):
            done = first + _heard(heavy, self._data_call, events[first:], past - first)
            if done < past:
                self._worker.join()
                raise data_error(int(events[done, 0]))

    def _run_together(self, parts):
        """Run parts of the chunk's events on whichever threads are free."""
        task = Task(parts)
        for hand in self._crew:
            hand.help(task, self.events)
        task.work(lambda first, past: self._data_call(self.events[first:], past - first))
        task.join()

    def _run_timing(self, events, count):
        """Run the timing pass over the first `count` memory events of a chunk."""
        for first, past, heavy in pieces(events[:count, layout.MEV_DESCRIPTOR], self._timing_work):
            _heard(heavy, self.memory.advance, events[first:], past - first)

    def step(self, limit: int | None) -> bool:
        """Run one slice.

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
        budget = self.slice
        if limit is not None:
            budget = min(budget, limit - self.executed)
        self._worker.join(AHEAD)
        before = self.executed
        if self.timeline is not None:
            self._take_chunk()
        status = self._control(budget)
        compute = int(self.ctl[layout.CTL_COMPUTE])
        if status >= st.FIRST_ERROR or compute > TIME_LIMIT:
            self._join()
            self._check_time(compute)
            raise run_error(status, self.ctl, self.program, self.machine.cfg)
        mem_events = self._chunks[0].mem_events
        self._consume(self.executed - before)
        if self.data:
            self._run_data(int(self.ctl[layout.CTL_EVENTS]))
        if self._watch is not None:
            self._join()
            executed = self.machine.control.trace[: self.executed - before]
            self._watch(executed, mem_events[: int(self.ctl[layout.CTL_MEM_EVENTS])])
        self.ctl[layout.CTL_EVENTS] = self.ctl[layout.CTL_MEM_EVENTS] = self.ctl[layout.CTL_TOPK] = 0
        if status == st.LOOPS_FULL:
            self.machine.grow_loops()
        return status != st.DONE and (limit is None or self.executed < limit)

    def _join(self):
        """Wait until timing is done with all events that control gave it; raises what it raised."""
        if self._gathered is not None:
            self._gathered.flush()
        self._worker.join()

    def trace(self, capacity: int, watch) -> None:
        """From the next slice on, record up to `capacity` instructions a slice (0: none) and call `watch` with them.

        With a timeline every instruction is recorded anyway, in its chunks.
        """
        if self.timeline is None:
            trace = np.zeros((capacity, layout.TR_WIDTH), dtype=np.int64)
            self.machine.control = self.machine.control._replace(trace=trace)
            self.slice = min(capacity or SLICE, self._longest)
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

    def _take_chunk(self):
        """Let control record what it executes in the first chunk."""
        self.machine.control = self.machine.control._replace(trace=self._chunks[0].executed)

    def _consume(self, executed):
        """Hand the memory events of the slice to timing, and what was executed to the timeline."""
        chunk, count = self._chunks[0], int(self.ctl[layout.CTL_MEM_EVENTS])
        if self.data:
            self.scale_lines.watch(chunk.mem_events, count)
        if self._recorder is not None and count:
            self._recorder.take(chunk.mem_events[:count])
        if self._gathered is not None and self._watch is None:
            self._gathered.take(chunk.mem_events[:count])
            return
        pc, so_far, delta = int(self.ctl[layout.CTL_PC]), self.executed, int(self.ctl[layout.CTL_DELTA])

        def job():
            self._run_timing(chunk.mem_events, count)
            if self.timeline is not None:
                self.timeline.place(chunk.executed, executed, chunk.mem_events)
            if self.watched:
                self._passed.append((pc, so_far, self.memory.now_ps + delta))

        if count or self.timeline is not None or self.watched:
            self._worker.start(job)
            self._chunks.rotate(-1)

    def finish(self) -> None:
        """Wait for timing; the figures below are final then. Raises what timing raised."""
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
        for worker in self._workers:
            worker.stop()
        if self._gathered is not None:
            self._gathered.close()

    def _check_time(self, picoseconds):
        """Check compute time alone, and the end of the run; `memory` checks the times of its events."""
        if picoseconds > TIME_LIMIT:
            raise EmuError(f"after {self.executed} instructions: simulated time passes {TIME_LIMIT} ps (53 days)")

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
        """Completion of the last instruction; behind by up to AHEAD chunks while the run goes on."""
        return self.memory.now_ps + int(self.ctl[layout.CTL_DELTA])

    @property
    def latency_ps(self) -> int:
        """Last event of all, memory housekeeping included (§3.1)."""
        return max(self.end_ps, self.memory.last_event_ps)
