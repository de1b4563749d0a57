"""Replay a trace on a DRAM that is alone, slice by slice (spec §4.9, §4.10).

Batches are run in groups: a batch with all SPAWN and CLOSED batches behind it, which may overlap it. A group of one
task that is alone needs no event loop (`front_end`), or one of few events (`mixed_list`). Where a slice stops is kept
in `event_queue.LOOP`. The batches need not all be at hand: the replay stops where it needs the next one.
"""

import numpy as np

from ..compiler.jit import entry, kernel
from .channel import catch_up
from .event_order import drain_events, is_drained
from .event_queue import CLOSED, ENDED, PAUSED, SERIAL, SPAWN, STARVED, reset_loop
from .front_end import begin_reads, finish_reads, read_alone, send_reads, write_alone
from .mixed_list import begin_list, finish_list, is_list_sent, run_list
from .open_loop import run_open
from .state import NONE

IN_LIST = -2  # `LOOP.replay_access` while a gather task of reads and writes is alone in hand


@kernel
def may_overlap(run, batch):
    """Tell whether a batch is at hand that may overlap the one before."""
    return batch < run.loop[0].loaded and (run.task[batch].kind == SPAWN or run.task[batch].kind == CLOSED)


@kernel
def is_alone(state, run, batch):
    """Tell whether batch `batch` is a group of its own, on a memory whose lone tasks need no full event order."""
    return state.config[0].direct == 1 and not (may_overlap(run, batch) or may_overlap(run, batch + 1))


@kernel
def is_direct(run, task):
    """Tell whether the front end runs a task that is alone without any events."""
    if task.kind == SERIAL:
        return True
    for index in range(task.start, task.stop):
        if run.access[index].write == 1:
            return False
    return True


@kernel
def begin_group(state, run, work):
    """Take the next group of batches in hand."""
    loop = run.loop[0]
    batch = loop.replay_batch
    loop.replay_stop = batch + 1
    if not is_alone(state, run, batch):
        loop.replay_access = NONE
        reset_loop(run, batch, batch + 1, loop.replay_now)
        return
    loop.replay_access = run.task[batch].start
    loop.replay_now += run.task[batch].at
    if not is_direct(run, run.task[batch]):
        loop.replay_access = IN_LIST
        begin_list(state, run, work, run.task[batch], loop.replay_now)
    elif run.task[batch].kind != SERIAL:
        begin_reads(state, loop.replay_now)


@kernel
def run_serial_alone(state, run, stop):
    """Run accesses of a SERIAL batch up to access `stop`, one after the other."""
    loop = run.loop[0]
    now = loop.replay_now
    for index in range(loop.replay_access, stop):
        access = run.access[index]
        access.issue = now
        if access.write == 1:
            now = write_alone(state, run.address[index], now)
            access.accept = access.done = now
        else:
            now = read_alone(state, run.address, index, index + 1, now, run.access)
    loop.replay_now = now


@kernel
def run_reads_alone(state, run, task, stop):
    """Send reads of a gather task up to access `stop`, and wait for all of them behind the last."""
    loop = run.loop[0]
    if task.start == task.stop:
        return
    for index in range(loop.replay_access, stop):
        run.access[index].issue = loop.replay_now
    send_reads(state, run.address, loop.replay_access, stop, run.access)
    if stop == task.stop:
        loop.replay_now = finish_reads(state, run.access)


@kernel
def run_group(state, run, work, budget):
    """Run the group in hand for `budget` accesses or instants.

    Returns what is left of the budget; the group may be done even where that is 0.
    """
    loop = run.loop[0]
    if loop.replay_access == NONE:
        budget = drain_events(state, run, budget)
        if is_drained(run):
            loop.replay_now = loop.now
            loop.replay_batch = loop.replay_stop = loop.core_stop
        return budget
    task = run.task[loop.replay_batch]
    if loop.replay_access == IN_LIST:
        budget = run_list(state, work, budget)
        if is_list_sent(work):
            loop.replay_now = finish_list(state, run, work, task)
            loop.replay_batch = loop.replay_stop
        return budget
    stop = min(task.stop, loop.replay_access + budget)
    budget -= stop - loop.replay_access
    if task.kind == SERIAL:
        run_serial_alone(state, run, stop)
    else:
        run_reads_alone(state, run, task, stop)
    loop.replay_access = stop
    if stop == task.stop:
        loop.replay_batch = loop.replay_stop
    return budget


@entry
def replay_trace(dram, run, work, budget):
    """Run batches of an `event_queue.Run`, from instant 0 of an unused memory, for `budget` accesses or instants.

    `work` is an `open_loop.OpenRun` with room for the largest batch. The host allocates both: kernels that are loaded
    without numba cannot. It calls again until all are run, and hears interrupts in between.

    Returns PAUSED when the budget is used up, STARVED where the batches at hand do not tell how it goes on, ENDED when
    all are run.
    """
    loop = run.loop[0]
    while loop.whole == 0 or loop.replay_batch < loop.loaded:
        if budget <= 0:
            return np.int64(PAUSED)
        if loop.replay_stop == loop.replay_batch:
            if loop.whole == 0 and loop.replay_batch + 1 >= loop.loaded:  # what overlaps it is not known
                return np.int64(STARVED)
            begin_group(dram, run, work)
            budget -= 1
        budget = run_group(dram, run, work, budget)
        if loop.starved == 1:
            return np.int64(STARVED)
    catch_up(dram, dram.front[0].ticks)
    return np.int64(ENDED)


@entry
def replay_open(dram, run, budget):
    """Run the accesses of an `open_loop.OpenRun`, from instant 0 of an unused memory, for `budget` instants.

    As `replay_trace` otherwise.
    """
    return run_open(dram, run, budget)
