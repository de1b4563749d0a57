"""A DRAM behind its controller driven alone, by arrays of accesses (spec chapter 4).

    >>> from plena_emu.memory.dram_replay import replay
    >>> found = replay("hbm2", time_ps=[0, 0, 50_000], address=[0, 64, 0], is_write=[False, False, True])
    >>> found.done_ps.tolist(), found.statistics.row_hits
"""

import dataclasses
import os

import numpy as np

from ..boards.dram_schema import DramDescription, load_dram
from ..errors import EmuError
from ..isa import REVISIONS
from ..kernels.dram import event_queue
from ..kernels.dram.replay import replay_trace
from ..kernels.limits import TIME_LIMIT
from ..precompile import compiling
from .dram import new_run, new_state
from .dram_statistics import DramStatistics, statistics

BATCH_KINDS = {"G": event_queue.GATHER, "S": event_queue.SPAWN, "I": event_queue.SERIAL}
ALIGNMENT = 64


@dataclasses.dataclass(frozen=True)
class Replay:
    """What became of every access of a trace: int64[n] instants in ps, and the memory's statistics.

    `issue_ps` is its first poll, `accept_ps` when its last transfer was taken, `done_ps` its data (a read) or its
    acceptance (a write, which is posted).
    """

    issue_ps: np.ndarray
    accept_ps: np.ndarray
    done_ps: np.ndarray
    statistics: DramStatistics


def replay(
    description: DramDescription | str | os.PathLike, time_ps, address, is_write, revision: str = "base"
) -> Replay:
    """Run 64-byte accesses, each spawned as a task of its own at its time, on an unused memory.

    Parameters
    ----------
    description : DramDescription, or the name or path of one
    time_ps : int[n]
        From 0 on, never running backwards.
    address : int[n]
        Byte addresses, multiples of 64, below 2^64.
    is_write : bool[n]
    revision : str
        `base` or `moe` (§4.6).

    Raises
    ------
    EmuError
        One line that names the argument, its index and what was expected.
    """
    time_ps = _integers(time_ps, "time_ps", TIME_LIMIT)
    return replay_batches(description, ["S"] * len(time_ps), time_ps, np.arange(len(time_ps)), is_write, address,
                          revision)


def replay_batches(
    description: DramDescription | str | os.PathLike, batch_kind, batch_t, batch, op, addr, revision: str = "base"
) -> Replay:
    """Run batches of 64-byte accesses one after the other, or beside each other, on an unused memory.

    Parameters
    ----------
    batch_kind : sequence of m strings
        G: a gather task spawned `batch_t` ps after every earlier batch is complete. S: one spawned at instant
        `batch_t`, waiting for nobody. I: `batch_t` ps after every earlier batch is complete the accesses run one
        after the other.
    batch_t : int[m]
        ps; those of S batches never run backwards.
    batch : int[n]
        Batch of each access, never falling.
    op : int[n]
        0 a read, 1 a write.
    addr : int[n]
        Byte addresses, multiples of 64, below 2^64.
    description, revision
        As for `replay`, errors too.
    """
    if not isinstance(description, DramDescription):
        if not isinstance(description, str | os.PathLike):
            raise EmuError(f"description: found {type(description).__name__}, expected a name, path or description")
        description = load_dram(description)
    if revision not in REVISIONS:
        raise EmuError(f"revision: found {revision!r}, expected {' or '.join(REVISIONS)}")
    kinds, times, starts = _batches(batch_kind, batch_t, batch)
    address, write = _accesses(addr, op, len(batch))
    state = new_state(description, revision)
    run = _new_run(state, address, write, kinds, times, starts)
    with compiling("dram.replay"):
        replay_trace(state, run)
    instants = (run.access[name].copy() for name in ("issue", "accept", "done"))
    return Replay(*instants, statistics(state, description, revision))


def _new_run(state, address, write, kinds, times, starts):
    """`event_queue.Run` of a trace."""
    run = new_run(state, address, len(kinds))
    run.access["write"] = write
    run.task["kind"], run.task["at"], run.task["start"] = kinds, times, starts
    run.task["stop"] = [*starts[1:], len(address)][: len(kinds)]
    return run


def _batches(kinds, times, batch):
    """Number of the kind, ps and first access of every batch, checked."""
    try:
        kinds = [str(kind) for kind in kinds]
    except TypeError:
        raise EmuError(f"batch_kind: found {type(kinds).__name__}, expected a sequence of G, S and I") from None
    for index, kind in enumerate(kinds):
        if kind not in BATCH_KINDS:
            raise EmuError(f"batch_kind[{index}]: found {kind!r}, expected G, S or I")
    times, batch = _integers(times, "batch_t", TIME_LIMIT), _integers(batch, "batch", TIME_LIMIT)
    _same_length("batch_t", times, "batch_kind", kinds)
    spawned = np.array([kind == "S" for kind in kinds], dtype=bool)
    _never_falling(times[spawned], "the times of S batches")
    if sum(times[~spawned].tolist()) > TIME_LIMIT:
        raise EmuError(f"batch_t: the waits of G and I batches add up to more than {TIME_LIMIT} ps")
    _never_falling(batch, "batch")
    if len(batch) and batch[-1] >= len(kinds):
        raise EmuError(f"batch[{len(batch) - 1}]: found {batch[-1]}, expected less than {len(kinds)}, the batches")
    numbers = np.array([BATCH_KINDS[kind] for kind in kinds], dtype=np.int64)
    return numbers, times.view(np.int64), np.searchsorted(batch, np.arange(len(kinds), dtype=np.uint64))


def _accesses(address, op, count):
    """Address (u64 bit pattern) and 1 for a write of every access, checked."""
    address, op = _integers(address, "address", 2**64 - 1), np.asarray(op)
    op = _integers(op.astype(np.uint8) if op.dtype == bool else op, "op", 1)
    _same_length("address", address, "batch", range(count))
    _same_length("op", op, "batch", range(count))
    odd = np.flatnonzero(address % np.uint64(ALIGNMENT))
    if len(odd):
        raise EmuError(f"address[{odd[0]}]: found {int(address[odd[0]]):#x}, expected a multiple of {ALIGNMENT}")
    return address.view(np.int64), op.view(np.int64)


def _integers(values, what, most):
    """uint64[n] of a sequence of integers from 0 to `most`."""
    try:
        array = np.asarray(values)
        if array.size == 0:
            array = array.astype(np.uint64)
    except (ValueError, TypeError):
        raise EmuError(f"{what}: expected integers from 0 to {most}") from None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise EmuError(f"{what}: found {array.dtype} of {array.ndim} dimensions, expected integers of one dimension")
    wrong = np.flatnonzero((array < 0) | (array > most))
    if len(wrong):
        raise EmuError(f"{what}[{wrong[0]}]: found {array[wrong[0]]}, expected an integer from 0 to {most}")
    return array.astype(np.uint64)


def _same_length(what, values, other, others):
    if len(values) != len(others):
        raise EmuError(f"{what}: found {len(values)} values, expected {len(others)}, as many as in {other}")


def _never_falling(values, what):
    back = np.flatnonzero(values[1:] < values[:-1])
    if len(back):
        index = int(back[0]) + 1
        raise EmuError(f"{what}: found {values[index]} behind {values[index - 1]}, expected no falling values")
