"""A DRAM behind its controller driven alone, by arrays of accesses (spec chapter 4).

    >>> from plena_emu.memory.dram_replay import replay
    >>> found = replay("hbm2", time_ps=[0, 0, 50_000], address=[0, 64, 0], is_write=[False, False, True])
    >>> found.done_ps.tolist(), found.statistics.row_hits

`ReplayStream` takes a trace part by part, in memory that does not grow with it.
"""

import dataclasses
import itertools
import os
from typing import Any

import numpy as np

from ..boards.dram_schema import DramDescription, load_dram
from ..errors import EmuError, UsageError
from ..inputs.words import shown
from ..isa import REVISIONS
from ..kernels.dram import event_queue
from ..kernels.dram.event_queue import ENDED, STARVED
from ..kernels.dram.replay import replay_open, replay_trace
from ..kernels.limits import TIME_LIMIT
from .dram import new_state
from .dram_statistics import Latencies, ReplayStatistics, replay_statistics
from .dram_window import NOTHING, ROOM, Batches, Completions, OpenWindow, Window, together

BATCH_KINDS = {"G": event_queue.GATHER, "S": event_queue.SPAWN, "I": event_queue.SERIAL}
ALIGNMENT = 64
MAX_ADDRESS = 2**64 - 1
MAX_OUTSTANDING = 1 << 20
MAX_STREAMED = 1 << 26  # accesses of a `ReplayStream`
SLICE = 1 << 17  # accesses or instants of one call of the kernel


@dataclasses.dataclass(frozen=True)
class Replay:
    """What became of every access of a trace: int64[n] instants in ps, and the memory's statistics.

    `issue_ps` is its first poll, `accept_ps` when its last transfer was taken, `done_ps` its data (a read) or its
    acceptance (a write, which is posted).
    """

    issue_ps: np.ndarray
    accept_ps: np.ndarray
    done_ps: np.ndarray
    statistics: ReplayStatistics


def replay(
    description: DramDescription | str | os.PathLike, time_ps, address, is_write, revision: str = "base", *,
    outstanding: int | None = None,
) -> Replay:  # fmt: skip
    """Run 64-byte accesses, each spawned as a task of its own at its time, on an unused memory.

    Parameters
    ----------
    description : DramDescription, or the name or path of one
    time_ps : int[n]
        From 0 on, never running backwards. None with `outstanding`.
    address : int[n]
        Byte addresses, multiples of 64, below 2^64.
    is_write : bool[n]
        Or 0 for a read and 1 for a write.
    revision : str
        `base` or `moe` (§4.6).
    outstanding : int, optional
        A closed loop in place of times: each access is spawned, in order, as soon as fewer than so many (at most
        2^20) are under way. A write is under way until the controller has taken it.

    Returns
    -------
    Replay

    Raises
    ------
    UsageError
        An argument is of another type.
    EmuError
        A value is wrong: one line that names the argument, its index and what was expected.
    """
    description = _description(description, revision)
    if outstanding is not None:
        return _replay_closed(description, time_ps, address, is_write, revision, outstanding)
    time_ps = _integers(time_ps, "time_ps", TIME_LIMIT)
    _never_falling(time_ps, "time_ps")
    address, write = _accesses(address, "address", is_write, "is_write", len(time_ps), "time_ps")
    player = _OpenPlayer(description, revision, len(address))
    return _whole(player, (time_ps.view(np.int64), address, write), len(address))


def _replay_closed(description, time_ps, address, is_write, revision, outstanding):
    """`replay` of accesses without times."""
    _check_outstanding(time_ps, outstanding)
    address = _integers(address, "address", MAX_ADDRESS)
    address, write = _accesses(address, "address", is_write, "is_write", len(address), "address")
    return _whole(_Player(description, revision, len(address)), _closed(address, write, outstanding), len(address))


def _closed(address, write, outstanding):
    """`Batches` of one access each, of which `outstanding` may be under way."""
    kinds, room = np.full(len(address), event_queue.CLOSED), np.full(len(address), int(outstanding))
    return Batches(kinds, room, np.ones(len(address), dtype=np.int64), address, write)


def _check_outstanding(time_ps, outstanding):
    if time_ps is not None:
        raise UsageError("time_ps: found times beside outstanding, expected None")
    if isinstance(outstanding, bool) or not isinstance(outstanding, int | np.integer):
        raise UsageError(f"outstanding: found {_told(outstanding)}, expected an integer from 1 to {MAX_OUTSTANDING}")
    if not 1 <= outstanding <= MAX_OUTSTANDING:
        raise EmuError(f"outstanding: found {_told(outstanding)}, expected an integer from 1 to {MAX_OUTSTANDING}")


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

    Returns
    -------
    Replay
    """
    description = _description(description, revision)
    kinds, times, batch = _batches(batch_kind, batch_t, batch)
    address, write = _accesses(addr, "addr", op, "op", len(batch), "batch")
    starts = np.searchsorted(batch, np.arange(len(kinds) + 1, dtype=np.uint64))
    batches = Batches(kinds, times, np.diff(starts), address, write)
    return _whole(_Player(description, revision, len(address)), batches, len(address))


class ReplayStream:
    """A replay that is fed its trace part by part, in memory that does not grow with the trace.

    It holds the accesses that are under way or wait, so memory grows where a trace asks for more at a time than the
    memory can serve. Parts may be cut anywhere: what becomes of an access does not depend on them.

    Parameters
    ----------
    description, revision
        As for `replay`.
    outstanding : int, optional
        A closed loop in place of times, as for `replay`.

    Attributes
    ----------
    statistics : ReplayStatistics
        Of the whole trace, behind `finish`.
    """

    statistics: ReplayStatistics

    def __init__(self, description: DramDescription | str | os.PathLike, revision: str = "base", *,
                 outstanding: int | None = None):  # fmt: skip
        if outstanding is not None:
            _check_outstanding(None, outstanding)
        player = _OpenPlayer if outstanding is None else _Player
        self._player = player(_description(description, revision), revision, MAX_STREAMED)
        self._outstanding = outstanding
        self._last = self._count = 0
        self._is_finished = False

    def feed(self, time_ps, address, is_write) -> Completions:
        """Run accesses that come behind those before; arguments and errors are those of `replay`.

        Returns
        -------
        Completions
            Of accesses whose end is known by now, in the order of the trace, from the first that was not told yet.
        """
        self._check_open("feed")
        if self._outstanding is not None:
            _check_outstanding(time_ps, self._outstanding)
            address = _integers(address, "address", MAX_ADDRESS)
            address, write = _accesses(address, "address", is_write, "is_write", len(address), "address")
            part = _closed(address, write, self._outstanding)
        else:
            time_ps = _integers(time_ps, "time_ps", TIME_LIMIT)
            _never_falling(time_ps, "time_ps")
            if len(time_ps) and int(time_ps[0]) < self._last:
                raise EmuError(f"time_ps: found {time_ps[0]} behind {self._last}, expected no falling values")
            address, write = _accesses(address, "address", is_write, "is_write", len(time_ps), "time_ps")
            part = (time_ps.view(np.int64), address, write)
            self._last = int(time_ps[-1]) if len(time_ps) else self._last
        self._count += len(address)
        if self._count > MAX_STREAMED:
            raise EmuError(f"address: found more than {MAX_STREAMED} accesses, the most a stream may have")
        return together([*self._player.feed(part)] or [NOTHING])

    def finish(self) -> Completions:
        """Run the accesses to their ends, and count.

        Returns
        -------
        Completions
            Of the accesses that were not told yet.
        """
        self._check_open("finish")
        self._is_finished = True
        found = self._player.finish()
        self.statistics = self._player.statistics()
        return found

    def _check_open(self, what):
        """Refuse to go on behind the end."""
        if self._is_finished:
            raise UsageError(f"{what}: found a stream that is finished, expected a new ReplayStream")


def _description(found, revision):
    """The description that was asked for, checked, and the revision too."""
    if not isinstance(found, DramDescription):
        if not isinstance(found, str | os.PathLike):
            raise UsageError(f"description: found {type(found).__name__}, expected a name, path or description")
        found = load_dram(found)
    if not isinstance(revision, str) or revision not in REVISIONS:
        raise UsageError(f"revision: found {_told(revision)}, expected {' or '.join(REVISIONS)}")
    return found  # `new_state` checks what is in it


def _whole(player, trace, count):
    """`Replay` of a trace of `count` accesses that a player is fed at once."""
    at = 0
    issue, accept, done = (np.empty(count, dtype=np.int64) for _ in range(3))
    for found in itertools.chain(player.feed(trace), map(_Player.finish, [player])):
        end = at + len(found.done_ps)
        issue[at:end], accept[at:end], done[at:end] = found.issue_ps, found.accept_ps, found.done_ps
        at = end
    return Replay(issue, accept, done, player.statistics())


class _Player:
    """A window on a trace and the memory it is replayed on; `most` accesses may come."""

    _window_of: Any = Window  # or `OpenWindow`

    def __init__(self, description, revision, most):
        self._description, self._revision = description, revision
        self._state = new_state(description, revision)
        self._window = self._window_of(self._state, min(ROOM, 2 * most + 2))
        self._waited = Latencies(most)

    def feed(self, batches):
        """Run more batches; yields the `Completions` there are."""
        ends = np.cumsum(batches.size)
        first = 0
        while first < len(batches.kind):
            room, begin = self._window.room(), int(ends[first] - batches.size[first])
            last = min(int(np.searchsorted(ends, begin + room, "right")), first + room)
            last = max(last, first + 1)
            some = slice(begin, int(ends[last - 1]))
            self._window.load(Batches(*(values[first:last] for values in batches[:3]),
                                      *(values[some] for values in batches[3:])))
            yield self._play()
            first = last

    def finish(self):
        """Run to the end; the `Completions` that were not told yet."""
        self._window.end()
        return self._play()

    def _slice(self):
        return replay_trace(self._state, self._window.run, self._window.work, SLICE)

    def _play(self):
        while self._slice() not in (ENDED, STARVED):  # an interrupt is heard between two slices
            pass
        found = self._window.take_complete()
        self._waited.count((found.done_ps - found.issue_ps)[found.write == 0])
        return found

    def statistics(self):
        """`ReplayStatistics` behind the end."""
        return replay_statistics(self._state, self._description, self._revision, self._waited)


class _OpenPlayer(_Player):
    """The same for single accesses that begin at instants of their own."""

    _window_of = OpenWindow

    def feed(self, trace):
        """Run more accesses, given by arrays of instants, addresses and writes; yields the `Completions` there are."""
        first = 0
        while first < len(trace[0]):
            last = first + self._window.room()
            self._window.load(*(values[first:last] for values in trace))
            yield self._play()
            first = last

    def _slice(self):
        return replay_open(self._state, self._window.run, SLICE)


def _batches(kinds, times, batch):
    """Number of the kind and ps of every batch, and the batch of every access, checked."""
    kinds = _listed(kinds, "batch_kind", "a sequence of G, S and I")
    for index, kind in enumerate(kinds):
        if not isinstance(kind, str) or kind not in BATCH_KINDS:
            raise EmuError(f"batch_kind[{index}]: found {_told(kind)}, expected G, S or I")
    times, batch = _integers(times, "batch_t", TIME_LIMIT), _integers(batch, "batch", TIME_LIMIT)
    _same_length("batch_t", times, "batch_kind", len(kinds))
    spawned = np.array([kind == "S" for kind in kinds], dtype=bool)
    _never_falling(times[spawned], "batch_t of the S batches")
    if sum(times[~spawned].tolist()) > TIME_LIMIT:
        raise EmuError(f"batch_t: the waits of G and I batches add up to more than {TIME_LIMIT} ps")
    _never_falling(batch, "batch")
    if len(batch) and batch[-1] >= len(kinds):
        raise EmuError(f"batch[{len(batch) - 1}]: found {batch[-1]}, expected less than {len(kinds)}, the batches")
    return np.array([BATCH_KINDS[kind] for kind in kinds], dtype=np.int64), times.view(np.int64), batch


def _accesses(address, address_name, write, write_name, count, other):
    """Address (u64 bit pattern) and 1 for a write of every access, checked; the names are those of the arguments."""
    address, write = _integers(address, address_name, MAX_ADDRESS), _integers(write, write_name, 1, flags=True)
    _same_length(address_name, address, other, count)
    _same_length(write_name, write, other, count)
    odd = np.flatnonzero(address % np.uint64(ALIGNMENT))
    if len(odd):
        raise EmuError(f"{address_name}[{odd[0]}]: found {int(address[odd[0]]):#x}, expected a multiple of {ALIGNMENT}")
    return address.view(np.int64), write.view(np.int64)


def _told(value):
    """A value of an argument as a message shows it."""
    return shown(value.item() if isinstance(value, np.generic) else value)


def _listed(values, what, expected):
    """The list of a sequence."""
    if not isinstance(values, str | bytes | dict):
        try:
            return list(values)
        except TypeError:
            pass
    raise UsageError(f"{what}: found {type(values).__name__}, expected {expected}")


def _integers(values, what, most, flags=False):
    """uint64[n] of a sequence of integers from 0 to `most`; with `flags` bools are integers too."""
    expected = f"an integer from 0 to {most}" if not flags else "a bool, or 0 or 1"
    array = values if isinstance(values, np.ndarray) else _as_array(values, what, expected)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0, dtype=np.uint64)
    if array.ndim != 1 or array.dtype.kind not in ("iub" if flags else "iu"):
        raise UsageError(f"{what}: found {array.dtype} of {array.ndim} dimensions, expected one dimension of"
                         f" {'bools' if flags else 'integers'}")
    wrong = np.flatnonzero((array < 0) | (array > most)) if array.dtype != bool else ()
    if len(wrong):
        raise EmuError(f"{what}[{wrong[0]}]: found {array[wrong[0]]}, expected {expected}")
    return array.astype(np.uint64)


def _as_array(values, what, expected):
    """Array of a sequence that is none; of a list that holds anything but integers of 64 bits, the first is told."""
    values = _listed(values, what, f"a sequence, each {expected}")
    kinds = {type(value) for value in values}
    if kinds <= {int} and all(-(1 << 63) <= value < 1 << 64 for value in values):
        return np.array(values, dtype=np.uint64 if min(values, default=0) >= 0 else np.int64)
    if kinds == {bool} and "bool" in expected:
        return np.array(values, dtype=bool)
    for index, value in enumerate(values):
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            if not (isinstance(value, bool | np.bool_) and "bool" in expected):
                raise UsageError(f"{what}[{index}]: found {_told(value)}, expected {expected}")
        elif not -(1 << 63) <= value < 1 << 64:
            raise EmuError(f"{what}[{index}]: found {_told(value)}, expected {expected}")
    return _as_array([int(value) for value in values], what, expected)


def _same_length(what, values, other, count):
    if len(values) != count:
        raise EmuError(f"{what}: found {len(values)} values, expected {count}, as many as in {other}")


def _never_falling(values, what):
    back = np.flatnonzero(values[1:] < values[:-1])
    if len(back):
        index = int(back[0]) + 1
        raise EmuError(f"{what}: found {values[index]} behind {values[index - 1]}, expected no falling values")
