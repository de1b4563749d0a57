"""The start of a production DMA on any memory: its lines, the regime's decisions, the counts (spec §7.3)."""

from ...compiler.jit import small
from ...layout import MEV_DELTA, MEV_DESCRIPTOR
from ...limits import ACCESS_BYTES
from ...memory.regimes import decide
from ...memory.transfer import TRANSFER_HELD, TRANSFER_NOW, TRANSFER_READ, TRANSFER_WRITTEN
from .lines import READS, WRITES, plan_lines


@small
def begin_event(transfer, operations, event):
    """Advance to the start of a memory event, and count it."""
    transfer.reg[TRANSFER_NOW] += event[MEV_DELTA]
    operations[event[MEV_DESCRIPTOR]] += 1


@small
def plan_event(transfer, plan, event, descriptor):
    """Plan the lines of a memory event, decide about those it reads (a line, not a read: §7.12), and count both."""
    reg = transfer.reg
    plan_lines(plan, descriptor, event)
    reads, writes = plan.reg[READS], plan.reg[WRITES]
    reg[TRANSFER_HELD] = decide(transfer.regime, plan.reads, reads, transfer.wait, transfer.link)
    reg[TRANSFER_READ] += ACCESS_BYTES * reads
    reg[TRANSFER_WRITTEN] += ACCESS_BYTES * writes
