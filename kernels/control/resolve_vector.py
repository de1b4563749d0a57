"""Resolve addresses of the vector and scalar floating-point instructions and check them (spec §1.5, §1.6, §1.8)."""

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_FP_SRAM,
    CFG_VLEN,
    CTL_GP,
    CTL_TOPK,
    CTL_VMASK,
    FP_REGISTERS,
    INT_SRAM_SIZE,
)
from ..limits import U32_MASK
from ..status import FP_REGISTER, FP_SRAM, INT_SRAM, OK, TOPK_POLICY
from .address_checks import append, check_rows, fail, row_of

TOPK_LOGITS_0, TOPK_PICKS_0 = isa.TOPK_POLICIES[0]
TOPK_LOGITS_1, TOPK_PICKS_1 = isa.TOPK_POLICIES[1]


@small
def check_fp(ctl, register):
    """Check an fp register number."""
    if register >= FP_REGISTERS:
        return fail(ctl, FP_REGISTER, register, FP_REGISTERS)
    return OK


@small
def resolve_reduction(op, rd, rs1, ctl, events, mask):
    """Append the event of V_RED_SUM or V_RED_MAX; none when rd is 0.

    Returns a status.
    """
    if rd == 0:
        return OK
    status = check_fp(ctl, rd)
    if status != OK:
        return status
    a = ctl[CTL_GP + rs1]
    status = check_rows(ctl, a, 1, 1)
    if status != OK:
        return status
    return append(ctl, events, op, rd, row_of(ctl, a), 0, mask, 0)


@kernel
def resolve_topk(rd, rs1, rs2, policy, ctl, events):
    """Append the event of V_TOPK: rows of logits, places of the weights and the indices.

    Returns a status.
    """
    if policy > 1:
        return fail(ctl, TOPK_POLICY, policy, 1)
    logits = TOPK_LOGITS_0 if policy == 0 else TOPK_LOGITS_1
    picks = TOPK_PICKS_0 if policy == 0 else TOPK_PICKS_1
    vlen = ctl[CFG_VLEN]
    a = ctl[CTL_GP + rs1]
    status = check_rows(ctl, a, (logits + vlen - 1) // vlen, 1)
    if status != OK:
        return status
    weights = ctl[CTL_GP + rd]
    if weights + picks > ctl[CFG_FP_SRAM]:
        return fail(ctl, FP_SRAM, weights + picks - 1, ctl[CFG_FP_SRAM])
    indices = ctl[CTL_GP + rs2]
    if indices + picks > INT_SRAM_SIZE:
        return fail(ctl, INT_SRAM, indices + picks - 1, INT_SRAM_SIZE)
    ctl[CTL_TOPK] = 1
    return append(ctl, events, isa.V_TOPK, weights, row_of(ctl, a), indices, policy, 0)


@small
def resolve_vector(op, rd, rs1, rs2, rs3, f1, ctl, events):
    """Append the event of a vector instruction.

    Returns a status.
    """
    vlen = ctl[CFG_VLEN]
    mask = -1 if rs3 == 0 else ctl[CTL_VMASK]
    if op == isa.V_RED_SUM or op == isa.V_RED_MAX:
        return resolve_reduction(op, rd, rs1, ctl, events, mask)
    if op == isa.V_TOPK:
        return resolve_topk(rd, rs1, rs2, rs3, ctl, events)
    d = ctl[CTL_GP + rd]
    a = ctl[CTL_GP + rs1]
    b = 0
    status = check_rows(ctl, a, 1, 1)
    if status != OK:
        return status
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        b = ctl[CTL_GP + rs2]
        status = check_rows(ctl, b, 1, 1)
        b = row_of(ctl, b)
    elif op == isa.V_SHIFT_V:
        b = min(ctl[CTL_GP + rs2], vlen)
    elif op != isa.V_EXP_V and op != isa.V_RECI_V:
        b = rs2
        status = check_fp(ctl, b)
    if status == OK:
        status = check_rows(ctl, d, 1, 1)
    if status != OK:
        return status
    order = f1 if op == isa.V_SUB_VF else 0
    return append(ctl, events, op, row_of(ctl, d), row_of(ctl, a), b, mask, order)


@small
def resolve_fp_memory(op, rd, rs1, imm, ctl, events):
    """Append the event of S_LD_FP, S_ST_FP or S_MAP_V_FP: an index or a segment of the fp SRAM.

    Returns a status.
    """
    address = (ctl[CTL_GP + rs1] + imm) & U32_MASK
    last = address
    target = rd
    if op == isa.S_MAP_V_FP:
        last = address + ctl[CFG_VLEN] - 1
        status = check_rows(ctl, ctl[CTL_GP + target], 1, 1)
        target = row_of(ctl, ctl[CTL_GP + target])
    else:
        status = check_fp(ctl, target)
    if status != OK:
        return status
    if last >= ctl[CFG_FP_SRAM]:
        return fail(ctl, FP_SRAM, last, ctl[CFG_FP_SRAM])
    return append(ctl, events, op, target, address, 0, 0, 0)


@small
def resolve_fp(op, rd, rs1, rs2, imm, ctl, events):
    """Append the event of a scalar floating-point instruction; none when rd is 0 and nothing else changes.

    Returns a status.
    """
    if op == isa.S_LD_FP or op == isa.S_ST_FP or op == isa.S_MAP_V_FP:
        return resolve_fp_memory(op, rd, rs1, imm, ctl, events)
    if rd == 0:
        return OK
    if op == isa.S_EXP_FP or op == isa.S_RECI_FP or op == isa.S_SQRT_FP:
        rs2 = 0
    status = check_fp(ctl, max(rd, rs1, rs2))
    if status != OK:
        return status
    return append(ctl, events, op, rd, rs1, rs2, 0, 0)
