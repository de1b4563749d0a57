"""The ledger of a run: what each memory event took, added to its instruction and to the HBM region it begins in.

Every engine charges each event once it is done, with what its totals grew by since the event before. So the columns of
the ledger sum to the totals of the run, to the picosecond and the byte, whatever was remembered or passed over.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel
from ..layout import MEV_BYTES, MEV_DONE, MEV_INDEX, MEV_LINK_PS, MEV_PC, MEV_RESIDENT
from .regimes import (
    RG_LINK_PS,
    RG_STREAMED,
    RG_SWAPPED_HI,
    RG_SWAPPED_LO,
    RG_SWAPS,
    RG_USED_HI,
    RG_USED_LO,
    find_segment,
)

# Columns of the ledger.
LG_EVENTS = 0  # transfers
LG_PS = 1  # picoseconds from the start of a transfer to its end
LG_CYCLES = 2  # the same in core cycles, each transfer rounded up
LG_READ = 3  # bytes read, those of stores included
LG_WRITTEN = 4  # bytes written
LG_STREAMED = 5  # 64-byte reads behind the host link
LG_SWAPS = 6  # transfers of a whole layer or region
LG_SWAPPED_HI = 7  # their bytes, in two limbs of 32 bits
LG_SWAPPED_LO = 8
LG_LINK_PS = 9  # picoseconds that bytes took on the host link
LG_ROW_MISSES = 10  # DRAM: transfers by the first command issued for them, in the order of `state.FIRST_COMMANDS`
LG_ROW_CONFLICTS = 11
LG_ROW_HITS = 12
LG_WIDTH = 13

CYCLE_PS = 1000


class Ledger(NamedTuple):
    """Accounts of one run. `by_pc` has no rows where nobody asked.

    Attributes
    ----------
    by_pc : int64[words, LG_WIDTH]
        Of each instruction.
    by_region : int64[regions + 1, LG_WIDTH]
        Of each HBM region, by the first element of a transfer; the last row is for addresses outside all of them.
    starts : int64[segments + 1]
        First address of every segment, as in `regimes.Regime`.
    region : int64[segments]
        Row of `by_region` of every segment.
    seen : int64[LG_WIDTH]
        Totals of the run when the last event was charged (the columns from `LG_READ` on).
    last : int64[1]
        Segment of the last event.
    """

    by_pc: np.ndarray
    by_region: np.ndarray
    starts: np.ndarray
    region: np.ndarray
    seen: np.ndarray
    last: np.ndarray


@kernel
def add_growth(ledger, pc, region, column, total):
    """Add to a column what a total grew by since the event before."""
    grown = total - ledger.seen[column]
    ledger.seen[column] = total
    ledger.by_pc[pc, column] += grown
    ledger.by_region[region, column] += grown


@kernel
def add(ledger, pc, region, column, amount):
    """Add to a column of an instruction and a region."""
    ledger.by_pc[pc, column] += amount
    ledger.by_region[region, column] += amount


@kernel
def region_of(ledger, event):
    """Find the region that holds the first element of an event: a row of `by_region`."""
    segment = find_segment(ledger.starts, ledger.last[0], event[MEV_INDEX])
    ledger.last[0] = segment
    return ledger.region[segment]


@kernel
def charge(ledger, regime, event, start, done, read, written):
    """Charge an event that ran from `start` to `done`; `read` and `written` are the bytes of the run so far."""
    if len(ledger.by_pc) == 0:
        return
    pc, region = event[MEV_PC], region_of(ledger, event)
    event[MEV_DONE] = done
    event[MEV_BYTES] = read - ledger.seen[LG_READ] + written - ledger.seen[LG_WRITTEN]
    event[MEV_LINK_PS] = regime.reg[RG_LINK_PS] - ledger.seen[LG_LINK_PS]
    event[MEV_RESIDENT] = (regime.reg[RG_USED_HI] << 32) + regime.reg[RG_USED_LO]
    add(ledger, pc, region, LG_EVENTS, 1)
    add(ledger, pc, region, LG_PS, done - start)
    add(ledger, pc, region, LG_CYCLES, (done - start + CYCLE_PS - 1) // CYCLE_PS)
    add_growth(ledger, pc, region, LG_READ, read)
    add_growth(ledger, pc, region, LG_WRITTEN, written)
    add_growth(ledger, pc, region, LG_STREAMED, regime.reg[RG_STREAMED])
    add_growth(ledger, pc, region, LG_SWAPS, regime.reg[RG_SWAPS])
    add_growth(ledger, pc, region, LG_SWAPPED_HI, regime.reg[RG_SWAPPED_HI])
    add_growth(ledger, pc, region, LG_SWAPPED_LO, regime.reg[RG_SWAPPED_LO])
    add_growth(ledger, pc, region, LG_LINK_PS, regime.reg[RG_LINK_PS])
