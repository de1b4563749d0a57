"""The memory engines behind production DMA: batches of lines (spec §7.3, §7.4, §7.12)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..boards.dram_schema import DramDescription, load_dram
from ..errors import EmuError
from ..kernels import layout
from ..kernels.hardware.dma_engine import lines as ln
from ..kernels.limits import ACCESS_BYTES
from ..kernels.memory.transfer import Transfer
from .engines import BoundEngine, MemoStatistics, memo_statistics

if TYPE_CHECKING:
    from ..kernels.dram.state import DramState
    from ..kernels.hardware.dma_engine.memo import LineRun

REVISION = "moe"  # whose timing rows the line of the reference has that these rules come from (§7.1)


def most_lines(descriptors: np.ndarray) -> int:
    """Count the lines of the longest plan that a row of the DMA descriptor table can give."""
    most = 1
    for descriptor in descriptors.tolist():
        row = sum((length + 2 * ACCESS_BYTES - 2) // ACCESS_BYTES for length in
                  (descriptor[layout.DESC_ROW_BYTES], descriptor[layout.DESC_SCALE_BYTES]) if length)
        most = max(most, (row + 1) * descriptor[layout.DESC_ROWS])
    return most


def new_plan(descriptors: np.ndarray, reads: np.ndarray) -> ln.LinePlan:
    """Allocate the plan of a DMA with `reads` (int64[lines]) for its lines; raises `EmuError` without the memory."""
    rows = int(descriptors[:, layout.DESC_ROWS].max())
    try:
        first, final = (np.zeros(max(1, ln.PIECES_A_ROW * rows), dtype=np.int64) for _ in range(2))
        writes = np.zeros_like(reads)
    except (MemoryError, ValueError):
        raise EmuError(f"memory: no room for a transfer of {len(reads)} lines") from None
    return ln.LinePlan(np.zeros(ln.PLAN_WIDTH, dtype=np.int64), first, final, reads, writes)


class _LineEngine(BoundEngine):
    """What both engines of production DMA share: a pass over lines and its memory."""

    _kernel: Callable[..., int]
    _memory: Any
    _memo_registers: np.ndarray

    def run(self, events, count, descriptors) -> int:
        """Run the first `count` events; a status."""
        return self._call(self._kernel, descriptors, self._memory)(events, count)

    @property
    def operations(self) -> np.ndarray:
        """DMAs of each descriptor so far: int64[NUM_DESCRIPTORS]."""
        return self._memory.operations

    @property
    def memo(self) -> MemoStatistics:
        """What the memo did so far."""
        return memo_statistics(self._memo_registers)


class LineEngine(_LineEngine):
    """A DRAM of a description behind its controller, served by production DMA.

    Parameters
    ----------
    transfer : Transfer
        With room for the longest plan.
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
        DMA descriptors of the run.
    dram : str or DramDescription
        Name or file of a description, or one.
    channels : int or None
        Channels in place of hbm2's own (§7.1).
    memo : bool
        Whether answers to repeated patterns of lines are remembered; the figures are the same.
    """

    def __init__(
        self, transfer: Transfer, descriptors: np.ndarray, dram: str | DramDescription, channels: int | None = None,
        memo: bool = True,
    ):
        from ..kernels.hardware.dma_engine import timing
        from .dram import new_state

        self.dram = load_dram(dram) if isinstance(dram, str) else dram
        if channels is not None and channels != self.dram.organisation.channel:
            self.dram = with_channels(self.dram, channels)
        plan = new_plan(descriptors, transfer.addr)
        operations = np.zeros(layout.NUM_DESCRIPTORS, dtype=np.int64)
        self._kernel = timing.timing_slice_lines
        run = new_line_run(new_state(self.dram, REVISION), memo)
        self._memory, self._memo_registers = timing.LineMemory(transfer, run, plan, operations), run.memo.reg

    @property
    def last_event_ps(self) -> int:
        """Last event so far: nothing is pending after a batch (§7.5)."""
        return int(self._memory.run.dram.front[0].last_event)

    @property
    def statistics(self):
        """Statistics of §4.8, a msgspec struct."""
        from .dram_statistics import statistics

        return statistics(self._memory.run.dram, self.dram, REVISION)


class SimpleLineEngine(_LineEngine):
    """The idealised banks of §3.5, served by production DMA; parameters as for `LineEngine`."""

    dram = None

    def __init__(self, transfer: Transfer, descriptors: np.ndarray, memo: bool = True):
        from ..kernels.hardware.dma_engine import simple_memo, simple_timing
        from ..kernels.simple.state import BANKS, LAST_EVENT
        from .simple import new_simple_state
        from .simple_engine import new_simple_memo

        operations = np.zeros(layout.NUM_DESCRIPTORS, dtype=np.int64)
        state, plan = new_simple_state(len(transfer.addr)), new_plan(descriptors, transfer.addr)
        remembered = simple_memo.BatchMemo(
            new_simple_memo(memo, simple_memo.PLACE_WIDTH), new_simple_memo(memo, simple_memo.PATTERN_WIDTH),
            np.zeros(BANKS, dtype=np.int64),
        )
        memory = simple_timing.SimpleLineMemory(
            transfer, state, plan, operations, np.zeros_like(transfer.addr), remembered
        )
        self._places, self._memo_registers = remembered.places.reg, remembered.patterns.reg
        self._memory, self._last, self._kernel = memory, LAST_EVENT, simple_timing.timing_slice_simple_lines

    @property
    def last_event_ps(self) -> int:
        """Last event so far, pending precharges included (§3.1)."""
        return int(self._memory.state.queues[self._last])

    @property
    def memo(self) -> MemoStatistics:
        """What the memo did so far; a batch that is looked up by its place and by its pattern counts once."""
        places, found = memo_statistics(self._places), memo_statistics(self._memo_registers)
        return msgspec.structs.replace(found, lookups=found.lookups + places.hits, hits=found.hits + places.hits,
                                       cleared=found.cleared + places.cleared)

    @property
    def statistics(self):
        """None: the idealised banks count nothing of their own."""
        return None


def new_line_run(state: DramState, memo: bool = True) -> LineRun:
    """Put a DRAM together with the room that batches of lines need, and with an empty memo (`new_memo` says when on).

    Returns
    -------
    LineRun
    """
    from ..kernels.dram.state import SUB_REQUESTS
    from ..kernels.hardware.dma_engine import memo as lm
    from .dram import new_memo

    found = new_memo(state, memo)
    reg = np.zeros(lm.LINE_MEMO_WIDTH, dtype=np.int64)
    reg[: len(found.reg)] = found.reg
    remembered = lm.LineMemo(reg, found.table, found.arena, found.pattern, found.counts_before, found.address,
                             found.nothing)
    return lm.LineRun(state, np.zeros(SUB_REQUESTS, dtype=np.int64), remembered)


def with_channels(description: DramDescription, channels: int) -> DramDescription:
    """Give hbm2 another number of channels by the general rule of §4.2, the column keeping its 5 bits.

    Raises
    ------
    EmuError
        The description is not hbm2.
    """
    if description.name != "hbm2":
        raise EmuError(f"DRAM description {description.source}: its channels are {description.organisation.channel},"
                       f" found {channels} asked for: only hbm2 takes another number")
    org = msgspec.structs.replace(description.organisation, channel=channels)
    levels = ("channel", "rank", "bankgroup", "bank")
    widths = {level: getattr(org, level).bit_length() - 1 for level in levels}
    low = 6 + sum(widths.values())
    column = [4, 5, low, low + 1, low + 2]
    fields, bit, used = {}, 6, 0
    for level in levels:
        bits = range(bit, bit + widths[level])
        xor = column[used : used + widths[level]]
        fields[level] = tuple(f"{b}^{xor[k]}" if k < len(xor) else b for k, b in enumerate(bits))
        bit, used = bit + widths[level], used + widths[level]
    row = msgspec.structs.replace(description.mapping.row, first=low + 3, xor=tuple(column[used:]))
    mapping = msgspec.structs.replace(description.mapping, column=tuple(column), row=row, **fields)
    name = description.name if org == description.organisation else f"{description.label} with {channels} channels"
    return msgspec.structs.replace(description, name=name, organisation=org, mapping=mapping)
