"""The start of a production DMA on any memory: its lines, the regime's decisions, the counts (spec §7.3)."""

from ..compiler.jit import small
from ..layout import MEV_DELTA, MEV_SHAPE
from ..limits import ACCESS_BYTES
from ..memory.regimes import decide
from ..memory.transfer import PORT_HELD, PORT_NOW, PORT_READ, PORT_WRITTEN
from .lines import READS, WRITES, plan_lines


@small
def plan_event(port, plan, operations, event, shape):
    """Advance to the start of a memory event, plan its lines, decide about those it reads (a line, not a read: §7.12)
    and count both.
    """
    reg = port.reg
    reg[PORT_NOW] += event[MEV_DELTA]
    plan_lines(plan, shape, event)
    reads, writes = plan.reg[READS], plan.reg[WRITES]
    reg[PORT_HELD] = decide(port.regime, plan.reads, reads, port.wait, port.link)
    reg[PORT_READ] += ACCESS_BYTES * reads
    reg[PORT_WRITTEN] += ACCESS_BYTES * writes
    operations[event[MEV_SHAPE]] += 1
