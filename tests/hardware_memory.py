"""The production DMA kernels without a run around them: plans and batches of lines."""

import numpy as np

from plena_emu.boards.dram_schema import DramDescription, load_dram
from plena_emu.kernels import layout
from plena_emu.kernels.dram.state import READ, SUB_REQUESTS, WRITE
from plena_emu.kernels.hardware.dma_engine import lines as ln
from plena_emu.kernels.hardware.dma_engine.batch import run_held_lines, run_lines
from plena_emu.kernels.hardware.dma_engine.lines import plan_lines
from plena_emu.memory.dram import new_state
from plena_emu.memory.line_engine import most_lines, new_plan, with_channels


def hbm2(channels: int = 8) -> DramDescription:
    """hbm2 with a number of channels."""
    return with_channels(load_dram("hbm2"), channels)


def column(values) -> np.ndarray:
    """int64 array of u64 values, never empty."""
    return np.array(list(values) or [0], dtype=np.uint64).view(np.int64)


class LineMemory:
    """A DRAM to which batches of lines are sent."""

    def __init__(self, description: DramDescription, revision: str = "moe"):
        self.state = new_state(description, revision)
        self.arrived = np.zeros(SUB_REQUESTS, dtype=np.int64)

    def batch(self, lines, write: bool, now: int, waits=None, links=None) -> int:
        """Run one batch: the instant of its end."""
        if waits is None:
            return int(run_lines(self.state, self.arrived, column(lines), len(lines), WRITE if write else READ, now))
        return int(run_held_lines(self.state, self.arrived, column(lines), column(waits), column(links),
                                  len(lines), now))


def descriptor_of(rows, n, bits, scale_bits=0, block=0, store=False) -> np.ndarray:
    """Row of the table of DMA descriptors for production DMA."""
    descriptor = np.zeros(layout.DESC_WIDTH, dtype=np.int64)
    descriptor[[layout.DESC_ROWS, layout.DESC_ELEMENTS, layout.DESC_BITS, layout.DESC_PACKED]] = rows, n, bits, 1
    descriptor[[layout.DESC_ROW_BYTES, layout.DESC_STORE, layout.DESC_RATIO]] = n * bits // 8, int(store), 1
    if block:
        descriptor[[layout.DESC_BLOCK, layout.DESC_SCALE_BITS]] = block, scale_bits
        descriptor[layout.DESC_SCALE_BYTES] = n // block * scale_bits // 8
    return descriptor


def plan_of(descriptor, index: int, scale_index: int, step: int, planner=plan_lines) -> tuple[list[int], list[int]]:
    """Lines that a DMA reads and writes; addresses are bytes, the step counts elements."""
    table = descriptor[None, :]
    plan = new_plan(table, np.zeros(most_lines(table) + 4, dtype=np.int64))
    event = np.zeros(layout.MEV_WIDTH, dtype=np.int64)
    event[layout.MEV_INDEX], event[layout.MEV_SCALE] = column([index, scale_index])
    event[layout.MEV_STEP] = step
    with np.errstate(over="ignore"):  # addresses wrap, of which plain Python would warn (as a run has it)
        planner(plan, descriptor, event)
    reads, writes = (part[: plan.reg[slot]].view(np.uint64).tolist()
                     for part, slot in ((plan.reads, ln.READS), (plan.writes, ln.WRITES)))
    return reads, writes
