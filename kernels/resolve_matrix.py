"""Addresses and checks of the matrix instructions (spec §1.4)."""

from plena_emu import isa

from .jit import kernel
from .layout import (
    CFG_BLEN, CFG_BROADCAST, CFG_HLEN, CFG_MLEN, CFG_MOE, CFG_ROWS, CFG_TILES, CFG_VLEN, CTL_ERR_A,
    CTL_ERR_B, CTL_EVENTS, OP_IMM, OP_RD, OP_RS1, OP_RS2,
)
from .status import (
    BROADCAST, COLUMNS_OUTSIDE, NOT_SQUARE, OFFSET_MISALIGNED, OK, ROW_MISALIGNED, ROW_OUTSIDE,
    TILE_MISALIGNED, TILE_OUTSIDE,
)

M32 = 0xFFFFFFFF


@kernel
def fail(ctl, status, found, bound):
    """Note what was found and what bound it broke, and hand the status on."""
    ctl[CTL_ERR_A] = found
    ctl[CTL_ERR_B] = bound
    return status


@kernel
def check_rows(ctl, cfg, address, count, step):
    """Check `count` vector rows from element `address`, `step` rows apart."""
    if address % cfg[CFG_VLEN] != 0:
        return fail(ctl, ROW_MISALIGNED, address, cfg[CFG_VLEN])
    last = address // cfg[CFG_VLEN] + (count - 1) * step
    if last >= cfg[CFG_ROWS]:
        return fail(ctl, ROW_OUTSIDE, last, cfg[CFG_ROWS])
    return OK


@kernel
def check_tiles(ctl, cfg, address, count):
    """Check `count` consecutive tiles from element `address`."""
    size = cfg[CFG_MLEN] * cfg[CFG_MLEN]
    if address % size != 0:
        return fail(ctl, TILE_MISALIGNED, address, size)
    last = address // size + count - 1
    if last >= cfg[CFG_TILES]:
        return fail(ctl, TILE_OUTSIDE, last, cfg[CFG_TILES])
    return OK


@kernel
def check_multiple(ctl, offset, unit):
    """Check that `offset` is a multiple of `unit`."""
    if offset % unit != 0:
        return fail(ctl, OFFSET_MISALIGNED, offset, unit)
    return OK


@kernel
def check_columns(ctl, cfg, first, count):
    """Check that columns (or rows) [first, first + count) lie in a tile."""
    if first + count > cfg[CFG_MLEN]:
        return fail(ctl, COLUMNS_OUTSIDE, first + count, cfg[CFG_MLEN])
    return OK


@kernel
def append(ctl, events, op, a, b, c, d, e):
    """Append a data event."""
    at = ctl[CTL_EVENTS]
    events[at, 0] = op
    events[at, 1] = a
    events[at, 2] = b
    events[at, 3] = c
    events[at, 4] = d
    events[at, 5] = e
    ctl[CTL_EVENTS] = at + 1
    return OK


@kernel
def resolve_product(op, cfg, ctl, events, m, v):
    """M_MM, M_TMM, M_MV, M_TMV: tile at m, rows at v."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    column = 0
    base = m
    if op != isa.M_TMV:
        column = m % (mlen * mlen)
        base = m - column
        if op == isa.M_TMM or (op == isa.M_MM and cfg[CFG_MOE] != 0):
            status = check_multiple(ctl, column, mlen)
            if status != OK:
                return status
            column //= mlen
        status = check_multiple(ctl, column, blen)
        if status != OK:
            return status
    status = check_columns(ctl, cfg, column, blen)
    if status != OK:
        return status
    status = check_tiles(ctl, cfg, base, 1)
    if status != OK:
        return status
    rows = blen if op == isa.M_MM or op == isa.M_TMM else 1
    status = check_rows(ctl, cfg, v, rows, 1)
    if status != OK:
        return status
    return append(ctl, events, op, base, column, v // cfg[CFG_VLEN], 0, 0)


@kernel
def resolve_broadcast(op, cfg, ctl, events, m, v):
    """M_BMM, M_BTMM, M_BMV, M_BTMV: tile slice at m, rows at v."""
    mlen = cfg[CFG_MLEN]
    hlen = cfg[CFG_HLEN]
    if hlen * cfg[CFG_BROADCAST] != mlen:
        return fail(ctl, BROADCAST, cfg[CFG_BROADCAST], mlen // hlen)
    transposed = op == isa.M_BTMM or op == isa.M_BTMV
    o1 = m % (mlen * mlen if transposed else mlen * cfg[CFG_BLEN])
    base = m - o1
    h = o1 % mlen
    o2 = o1 - h
    # o2 counts tile rows in the transposed forms and columns in the plain ones, in units of MLEN.
    status = check_multiple(ctl, o2, cfg[CFG_BLEN])
    if status == OK:
        status = check_multiple(ctl, h, hlen)
    if status == OK:
        status = check_columns(ctl, cfg, o2, mlen)
    if status == OK:
        status = check_columns(ctl, cfg, h, hlen)
    if status == OK:
        status = check_tiles(ctl, cfg, base, 1)
    if status != OK:
        return status
    rows = mlen if op == isa.M_BMM or op == isa.M_BTMM else 1
    status = check_rows(ctl, cfg, v, rows, 1)
    if status != OK:
        return status
    return append(ctl, events, op, base, h, o2, v // cfg[CFG_VLEN], 0)


@kernel
def resolve_matrix(op, word, cfg, ctl, gp, events):
    """Event of a matrix product."""
    if cfg[CFG_MLEN] != cfg[CFG_VLEN]:
        return fail(ctl, NOT_SQUARE, cfg[CFG_MLEN], cfg[CFG_VLEN])
    a = gp[word[OP_RS1]]
    b = gp[word[OP_RS2]]
    if op == isa.M_TMM:
        return resolve_product(op, cfg, ctl, events, b, a)  # operands in reversed order
    if op == isa.M_MM or op == isa.M_MV or op == isa.M_TMV:
        return resolve_product(op, cfg, ctl, events, a, b)
    if op == isa.M_BMV or op == isa.M_BTMV:
        a = (a + gp[word[OP_RD]]) & M32
    return resolve_broadcast(op, cfg, ctl, events, a, b)


@kernel
def resolve_write_out(op, word, cfg, ctl, gp, events):
    """Event of M_MM_WO, M_MV_WO, M_BMM_WO, M_BMV_WO."""
    mlen = cfg[CFG_MLEN]
    vlen = cfg[CFG_VLEN]
    if mlen != vlen:
        return fail(ctl, NOT_SQUARE, mlen, vlen)
    address = (gp[word[OP_RD]] + word[OP_IMM]) & M32
    if op == isa.M_BMM_WO or op == isa.M_BMV_WO:
        rows = cfg[CFG_BROADCAST] * (mlen if op == isa.M_BMM_WO else 1)
        status = check_rows(ctl, cfg, address, rows, 1)
        if status != OK:
            return status
        return append(ctl, events, op, address // vlen, 0, 0, 0, 0)
    offset = address % mlen
    status = check_multiple(ctl, offset, cfg[CFG_BLEN])
    if status == OK:
        status = check_columns(ctl, cfg, offset, cfg[CFG_BLEN])
    if status != OK:
        return status
    rows = 1
    step = 1
    if op == isa.M_MM_WO:
        rows = cfg[CFG_BLEN]
        if word[OP_RS1] != 0:
            step = gp[word[OP_RS1]]
    status = check_rows(ctl, cfg, address - offset, rows, step)
    if status != OK:
        return status
    return append(ctl, events, op, (address - offset) // vlen, offset, step, 0, 0)
