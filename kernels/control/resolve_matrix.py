"""Resolve addresses of the matrix instructions and check them (spec §1.4)."""

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_BLEN,
    CFG_BLEN_SHIFT,
    CFG_BROADCAST,
    CFG_HLEN,
    CFG_MLEN,
    CFG_MLEN_SHIFT,
    CFG_MOE,
    CFG_NARROW_HEADS,
    CFG_VLEN,
    CTL_GP,
)
from ..limits import U32_MASK
from ..status import (
    BROADCAST,
    NOT_SQUARE,
    OK,
)
from .address_checks import (
    append,
    check_columns,
    check_multiple,
    check_rows,
    check_tiles,
    fail,
    quotient,
    remainder,
    row_of,
)


@small
def resolve_product(op, ctl, events, m, v):
    """Append the event of M_MM, M_TMM, M_MV or M_TMV: tile at address `m`, rows at address `v`.

    Returns a status.
    """
    mlen = ctl[CFG_MLEN]
    blen = ctl[CFG_BLEN]
    column = 0
    base = m
    if op != isa.M_TMV:
        column = remainder(m, mlen * mlen, 2 * ctl[CFG_MLEN_SHIFT])
        base = m - column
        if op == isa.M_TMM or (op == isa.M_MM and ctl[CFG_MOE] != 0):
            status = check_multiple(ctl, column, mlen, ctl[CFG_MLEN_SHIFT])
            if status != OK:
                return status
            column = quotient(column, mlen, ctl[CFG_MLEN_SHIFT])
        status = check_multiple(ctl, column, blen, ctl[CFG_BLEN_SHIFT])
        if status != OK:
            return status
    status = check_columns(ctl, column, blen)
    if status != OK:
        return status
    status = check_tiles(ctl, base, 1)
    if status != OK:
        return status
    rows = blen if op == isa.M_MM or op == isa.M_TMM else 1
    status = check_rows(ctl, v, rows, 1)
    if status != OK:
        return status
    return append(ctl, events, op, base, column, row_of(ctl, v), 0, 0)


@kernel
def resolve_broadcast(op, ctl, events, m, v):
    """Append the event of M_BMM, M_BTMM, M_BMV or M_BTMV: tile slice at address `m`, rows at address `v`.

    Returns a status.
    """
    mlen = ctl[CFG_MLEN]
    hlen = ctl[CFG_HLEN]
    width = hlen * ctl[CFG_BROADCAST]
    if width > mlen or (width < mlen and ctl[CFG_NARROW_HEADS] == 0):
        return fail(ctl, BROADCAST, ctl[CFG_BROADCAST], mlen // hlen)
    transposed = op == isa.M_BTMM or op == isa.M_BTMV
    o1 = m % (mlen * mlen if transposed else mlen * ctl[CFG_BLEN])
    base = m - o1
    h = o1 % mlen
    o2 = o1 - h
    # o2 counts tile rows in the transposed forms and columns in the plain ones, in units of MLEN.
    status = check_multiple(ctl, o2, ctl[CFG_BLEN], ctl[CFG_BLEN_SHIFT])
    if status == OK:
        status = check_multiple(ctl, h, hlen, -1)
    if status == OK:
        status = check_columns(ctl, o2, mlen)
    if status == OK:
        status = check_columns(ctl, h, hlen)
    if status == OK:
        status = check_tiles(ctl, base, 1)
    if status != OK:
        return status
    rows = mlen if op == isa.M_BMM or op == isa.M_BTMM else 1
    status = check_rows(ctl, v, rows, 1)
    if status != OK:
        return status
    return append(ctl, events, op, base, h, o2, row_of(ctl, v), 0)


@small
def resolve_matrix(op, rd, rs1, rs2, ctl, events):
    """Append the event of a matrix product.

    Returns a status.
    """
    if ctl[CFG_MLEN] != ctl[CFG_VLEN]:
        return fail(ctl, NOT_SQUARE, ctl[CFG_MLEN], ctl[CFG_VLEN])
    a = ctl[CTL_GP + rs1]
    b = ctl[CTL_GP + rs2]
    if op == isa.M_TMM:
        return resolve_product(op, ctl, events, b, a)  # operands in reversed order
    if op == isa.M_MM or op == isa.M_MV or op == isa.M_TMV:
        return resolve_product(op, ctl, events, a, b)
    if op == isa.M_BMV or op == isa.M_BTMV:
        a = (a + ctl[CTL_GP + rd]) & U32_MASK
    return resolve_broadcast(op, ctl, events, a, b)


@small
def resolve_write_out(op, rd, rs1, imm, ctl, events):
    """Append the event of M_MM_WO, M_MV_WO, M_BMM_WO or M_BMV_WO.

    Returns a status.
    """
    mlen = ctl[CFG_MLEN]
    vlen = ctl[CFG_VLEN]
    if mlen != vlen:
        return fail(ctl, NOT_SQUARE, mlen, vlen)
    address = (ctl[CTL_GP + rd] + imm) & U32_MASK
    if op == isa.M_BMM_WO or op == isa.M_BMV_WO:
        rows = ctl[CFG_BROADCAST] * (mlen if op == isa.M_BMM_WO else 1)
        status = check_rows(ctl, address, rows, 1)
        if status != OK:
            return status
        return append(ctl, events, op, row_of(ctl, address), 0, 0, 0, 0)
    offset = remainder(address, mlen, ctl[CFG_MLEN_SHIFT])
    status = check_multiple(ctl, offset, ctl[CFG_BLEN], ctl[CFG_BLEN_SHIFT])
    if status == OK:
        status = check_columns(ctl, offset, ctl[CFG_BLEN])
    if status != OK:
        return status
    rows = 1
    step = 1
    if op == isa.M_MM_WO:
        rows = ctl[CFG_BLEN]
        if rs1 != 0:
            step = ctl[CTL_GP + rs1]
    status = check_rows(ctl, address - offset, rows, step)
    if status != OK:
        return status
    return append(ctl, events, op, row_of(ctl, address - offset), offset, step, 0, 0)
