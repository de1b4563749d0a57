"""Data pass: executes resolved events on tiles, rows, fp registers and HBM bytes.

It never sees an integer register and checks nothing: the control pass has checked every address.
"""

from plena_emu import isa

from .dma import transfer
from .jit import kernel
from .matrix import m_bmm, m_bmv, m_mm, m_mv, m_tmm, write_out
from .reduce import topk
from .scalar import scalar_fp
from .vector import elementwise, reduction


@kernel
def data_event(d, op, a, b, c, e, f):
    """Execute one event; `layout` tells what the columns mean for each operation."""
    if op == isa.M_MM:
        m_mm(d, a, b, c)
    elif op == isa.M_TMM:
        m_tmm(d, a, b, c)
    elif op == isa.M_BMM or op == isa.M_BTMM:
        m_bmm(d, op, a, b, c, e)
    elif op == isa.M_BMV or op == isa.M_BTMV:
        m_bmv(d, op, a, b, c, e)
    elif op == isa.M_MV or op == isa.M_TMV:
        m_mv(d, op, a, b, c)
    elif op == isa.M_MM_WO or op == isa.M_MV_WO or op == isa.M_BMM_WO or op == isa.M_BMV_WO:
        write_out(d, op, a, b, c)
    elif op == isa.V_RED_SUM or op == isa.V_RED_MAX:
        reduction(d, op, a, b, e)
    elif op == isa.H_PREFETCH_M or op == isa.H_PREFETCH_V or op == isa.H_STORE_V:
        transfer(d, op, a, b, c, e, f)
    elif op == isa.V_TOPK:
        topk(d, a, b, c, e)
    elif isa.S_ADD_FP <= op <= isa.S_MAP_V_FP:
        scalar_fp(d, op, a, b, c)
    else:
        elementwise(d, op, a, b, c, e, f)


@kernel
def data_slice(events, count, d):
    """Execute `count` events (int64[capacity, EV_WIDTH]) on DataState `d`."""
    for i in range(count):
        event = events[i]
        data_event(d, event[0], event[1], event[2], event[3], event[4], event[5])
