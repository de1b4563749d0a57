"""Addresses and checks of the vector and scalar floating-point instructions (spec §1.5, §1.6, §1.8)."""

from plena_emu import isa

from .jit import kernel
from .layout import (
    CFG_VLEN, CTL_TOPK, CTL_VMASK, FP_REGISTERS, FP_SRAM_SIZE, INT_SRAM_SIZE, OP_F1, OP_IMM, OP_RD, OP_RS1,
    OP_RS2, OP_RS3,
)
from .resolve_matrix import append, check_rows, fail
from .status import FP_REGISTER, FP_SRAM, INT_SRAM, OK, TOPK_POLICY

M32 = 0xFFFFFFFF
TOPK_LOGITS_0, TOPK_PICKS_0 = isa.TOPK_POLICIES[0]
TOPK_LOGITS_1, TOPK_PICKS_1 = isa.TOPK_POLICIES[1]


@kernel
def check_fp(ctl, register):
    """Check an fp register number."""
    if register >= FP_REGISTERS:
        return fail(ctl, FP_REGISTER, register, FP_REGISTERS)
    return OK


@kernel
def resolve_reduction(op, word, cfg, ctl, gp, events, mask):
    """V_RED_SUM, V_RED_MAX: nothing at all when rd is 0."""
    if word[OP_RD] == 0:
        return OK
    status = check_fp(ctl, word[OP_RD])
    if status != OK:
        return status
    a = gp[word[OP_RS1]]
    status = check_rows(ctl, cfg, a, 1, 1)
    if status != OK:
        return status
    return append(ctl, events, op, word[OP_RD], a // cfg[CFG_VLEN], 0, mask, 0)


@kernel
def resolve_topk(word, cfg, ctl, gp, events):
    """V_TOPK: rows of logits, places of the weights and the indices."""
    policy = word[OP_RS3]
    if policy > 1:
        return fail(ctl, TOPK_POLICY, policy, 1)
    logits = TOPK_LOGITS_0 if policy == 0 else TOPK_LOGITS_1
    picks = TOPK_PICKS_0 if policy == 0 else TOPK_PICKS_1
    vlen = cfg[CFG_VLEN]
    a = gp[word[OP_RS1]]
    status = check_rows(ctl, cfg, a, (logits + vlen - 1) // vlen, 1)
    if status != OK:
        return status
    weights = gp[word[OP_RD]]
    if weights + picks > FP_SRAM_SIZE:
        return fail(ctl, FP_SRAM, weights + picks - 1, FP_SRAM_SIZE)
    indices = gp[word[OP_RS2]]
    if indices + picks > INT_SRAM_SIZE:
        return fail(ctl, INT_SRAM, indices + picks - 1, INT_SRAM_SIZE)
    ctl[CTL_TOPK] = 1
    return append(ctl, events, isa.V_TOPK, weights, a // vlen, indices, policy, 0)


@kernel
def resolve_vector(op, word, cfg, ctl, gp, events):
    """Event of a vector instruction."""
    vlen = cfg[CFG_VLEN]
    mask = -1 if word[OP_RS3] == 0 else ctl[CTL_VMASK]
    if op == isa.V_RED_SUM or op == isa.V_RED_MAX:
        return resolve_reduction(op, word, cfg, ctl, gp, events, mask)
    if op == isa.V_TOPK:
        return resolve_topk(word, cfg, ctl, gp, events)
    d = gp[word[OP_RD]]
    a = gp[word[OP_RS1]]
    b = 0
    status = check_rows(ctl, cfg, a, 1, 1)
    if status != OK:
        return status
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        b = gp[word[OP_RS2]]
        status = check_rows(ctl, cfg, b, 1, 1)
        b //= vlen
    elif op == isa.V_SHIFT_V:
        b = min(gp[word[OP_RS2]], vlen)
    elif op != isa.V_EXP_V and op != isa.V_RECI_V:
        b = word[OP_RS2]
        status = check_fp(ctl, b)
    if status == OK:
        status = check_rows(ctl, cfg, d, 1, 1)
    if status != OK:
        return status
    order = word[OP_F1] if op == isa.V_SUB_VF else 0
    return append(ctl, events, op, d // vlen, a // vlen, b, mask, order)


@kernel
def resolve_fp_memory(op, word, cfg, ctl, gp, events):
    """S_LD_FP, S_ST_FP, S_MAP_V_FP: an index or a segment of the fp SRAM."""
    address = (gp[word[OP_RS1]] + word[OP_IMM]) & M32
    last = address
    target = word[OP_RD]
    if op == isa.S_MAP_V_FP:
        last = address + cfg[CFG_VLEN] - 1
        status = check_rows(ctl, cfg, gp[target], 1, 1)
        target = gp[target] // cfg[CFG_VLEN]
    else:
        status = check_fp(ctl, target)
    if status != OK:
        return status
    if last >= FP_SRAM_SIZE:
        return fail(ctl, FP_SRAM, last, FP_SRAM_SIZE)
    return append(ctl, events, op, target, address, 0, 0, 0)


@kernel
def resolve_fp(op, word, cfg, ctl, gp, events):
    """Event of a scalar floating-point instruction."""
    if op == isa.S_LD_FP or op == isa.S_ST_FP or op == isa.S_MAP_V_FP:
        return resolve_fp_memory(op, word, cfg, ctl, gp, events)
    rd = word[OP_RD]
    rs1 = word[OP_RS1]
    rs2 = 0
    if rd == 0:
        return OK
    if op == isa.S_ADD_FP or op == isa.S_SUB_FP or op == isa.S_MAX_FP or op == isa.S_MUL_FP:
        rs2 = word[OP_RS2]
    status = check_fp(ctl, max(rd, rs1, rs2))
    if status != OK:
        return status
    return append(ctl, events, op, rd, rs1, rs2, 0, 0)
