"""What the reports of §7.11 need of each placed instruction, counted as it is placed.

Intervals reach `cover` in the order of their starts: instructions start in program order, except those that wait for
a unit after they were accepted, which are held back in `deferred` until the others have caught up. The union of
intervals that come in this order grows at its end only, and so does the intersection of two such unions: whatever
a new interval adds to its own union lies behind the starts of all intervals so far, where the other union has no gap.

Example: memory [0, 20), then compute [5, 9) and [12, 30). The overlap is 4 + 8; then memory [25, 40) adds 5.
"""

from ...compiler.jit import kernel, small
from ...limits import NEVER
from .layout import (
    CONTROL_FRONTEND,
    MATRIX_COMPUTE,
    RES_COVERED,
    RES_END,
    SB_COMPUTE_END,
    SB_DEFERRED,
    SB_DEFERRED_FIRST,
    SB_MEMORY_END,
    SB_OVERLAP,
)


@small
def cover(sb, resource, start, end):
    """Add [start, end) to the unions; no earlier interval starts later."""
    reg, by_resource = sb.reg, sb.by_resource
    if end > by_resource[resource, RES_END]:
        by_resource[resource, RES_COVERED] += end - max(start, by_resource[resource, RES_END])
        by_resource[resource, RES_END] = end
    if resource < MATRIX_COMPUTE:
        if end > reg[SB_MEMORY_END]:
            reg[SB_OVERLAP] += max(0, min(end, reg[SB_COMPUTE_END]) - max(start, reg[SB_MEMORY_END]))
            reg[SB_MEMORY_END] = end
    elif resource < CONTROL_FRONTEND and end > reg[SB_COMPUTE_END]:
        reg[SB_OVERLAP] += max(0, min(end, reg[SB_MEMORY_END]) - max(start, reg[SB_COMPUTE_END]))
        reg[SB_COMPUTE_END] = end


@kernel
def cover_deferred(sb, start):
    """Add the deferred intervals that start no later than `start`, in the order of their starts."""
    reg, deferred = sb.reg, sb.deferred
    while reg[SB_DEFERRED_FIRST] <= start:
        first = 0
        for at in range(1, reg[SB_DEFERRED]):
            if deferred[at, 1] < deferred[first, 1]:
                first = at
        cover(sb, deferred[first, 0], deferred[first, 1], deferred[first, 2])
        reg[SB_DEFERRED] -= 1
        for column in range(3):
            deferred[first, column] = deferred[reg[SB_DEFERRED], column]
        set_first(sb)


@small
def set_first(sb):
    """Renew the least start of the deferred intervals."""
    least = NEVER
    for at in range(sb.reg[SB_DEFERRED]):
        least = min(least, sb.deferred[at, 1])
    sb.reg[SB_DEFERRED_FIRST] = least


@kernel
def defer(sb, resource, start, end):
    """Hold back an interval that starts after its instruction was accepted."""
    at = sb.reg[SB_DEFERRED]
    sb.deferred[at, 0] = resource
    sb.deferred[at, 1] = start
    sb.deferred[at, 2] = end
    sb.reg[SB_DEFERRED] = at + 1
    set_first(sb)
