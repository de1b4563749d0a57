"""Control pass: integer registers, loops and address registers (spec §1.2-§1.8).

Executes the decoded program, checks every address and bound, counts instructions by op id, and
appends resolved events for the data and the timing pass. It never sees floating-point data.
"""

from typing import NamedTuple

import numpy as np

from plena_emu import isa

from .jit import entry, kernel
from .layout import (
    CFG_MAX_LOOP, CTL_COMPUTE, CTL_DELTA, CTL_DEPTH, CTL_ERR_A, CTL_ERR_B, CTL_EVENTS, CTL_EXECUTED,
    CTL_LIMIT_AT, CTL_MEM_EVENTS, CTL_PC, CTL_SCALE, CTL_STRIDE, CTL_TOPK, CTL_VMASK, INT_SRAM_SIZE,
    LOOP_BASE, LOOP_PC, LOOP_REG, OP_COST, OP_ID, OP_IMM, OP_RD, OP_RS1, OP_RS2,
)
from .resolve_matrix import resolve_matrix, resolve_write_out
from .resolve_memory import resolve_memory
from .resolve_vector import resolve_fp, resolve_vector
from .status import (
    BREAK_OUTSIDE, CHUNK_FULL, DONE, INT_SRAM, INVALID_OPCODE, LOOP_LIMIT, LOOP_UNMATCHED, LOOP_ZERO,
    LOOPS_FULL, OK, SYNC,
)

M32 = 0xFFFFFFFF
NO_LIMIT = np.iinfo(np.int64).max

# The table of op ids is in the order of the codes, so groups of operations are ranges.
FIRST_MATRIX, LAST_MATRIX = isa.M_MM, isa.M_BMV_WO
FIRST_VECTOR, LAST_VECTOR = isa.V_ADD_VV, isa.V_RED_MAX
FIRST_FP, LAST_FP = isa.S_ADD_FP, isa.S_MAP_V_FP
FIRST_MEMORY, LAST_MEMORY = isa.H_PREFETCH_M, isa.H_STORE_V


class ControlState(NamedTuple):
    """Arrays of the control pass.

    Attributes
    ----------
    ctl : int64[CTL_WIDTH]
        Program counter, special registers, counters (`CTL_*`).
    gp : int64[16]
        u32 registers.
    hbm : int64[16]
        u64 address registers (bit patterns).
    int_sram : int64[1024]
        u32 words.
    loops : int64[capacity, LOOP_WIDTH]
        Loop stack.
    counts : int64[NUM_OPS]
        Executed instructions by op id.
    trace : int64[capacity]
        Word index of every executed instruction of the slice; empty when nobody asked.
    """

    ctl: np.ndarray
    gp: np.ndarray
    hbm: np.ndarray
    int_sram: np.ndarray
    loops: np.ndarray
    counts: np.ndarray
    trace: np.ndarray


@kernel
def set_limit(ctl, loops, max_loop):
    """Set CTL_LIMIT_AT: the executed count at which the oldest loop count passes `max_loop`."""
    limit = NO_LIMIT
    for i in range(ctl[CTL_DEPTH]):
        limit = min(limit, loops[i, LOOP_BASE] + max_loop + 1)
    ctl[CTL_LIMIT_AT] = limit


@kernel
def loop_over_limit(ctl, loops, max_loop):
    """Word index of the first active loop whose instruction count is over `max_loop` (§1.7)."""
    for i in range(ctl[CTL_DEPTH]):
        if ctl[CTL_EXECUTED] - loops[i, LOOP_BASE] > max_loop:
            return loops[i, LOOP_PC]
    return -1


@kernel
def loop_start(ctl, gp, loops, max_loop, pc, reg, count):
    """C_LOOP_START: push a loop of `count` iterations."""
    if count == 0:
        return LOOP_ZERO
    depth = ctl[CTL_DEPTH]
    gp[reg] = count
    loops[depth, LOOP_PC] = pc
    loops[depth, LOOP_REG] = reg
    loops[depth, LOOP_BASE] = ctl[CTL_EXECUTED]
    ctl[CTL_DEPTH] = depth + 1
    set_limit(ctl, loops, max_loop)
    return OK


@kernel
def loop_drop(ctl, loops, index, max_loop):
    """Remove entry `index` of the loop stack."""
    depth = ctl[CTL_DEPTH] - 1
    for i in range(index, depth):
        for k in range(loops.shape[1]):
            loops[i, k] = loops[i + 1, k]
    ctl[CTL_DEPTH] = depth
    set_limit(ctl, loops, max_loop)


@kernel
def loop_end(ctl, gp, loops, max_loop, pc, reg):
    """C_LOOP_END: pc of the next instruction, or -1 when no active loop uses `reg` (§1.7)."""
    index = ctl[CTL_DEPTH] - 1
    while index >= 0 and loops[index, LOOP_REG] != reg:
        index -= 1
    if index < 0:
        return -1
    if gp[reg] > 1:
        gp[reg] -= 1
        loops[index, LOOP_BASE] = ctl[CTL_EXECUTED]
        if ctl[CTL_DEPTH] == 1:
            ctl[CTL_LIMIT_AT] = ctl[CTL_EXECUTED] + max_loop + 1
        else:
            set_limit(ctl, loops, max_loop)
        return loops[index, LOOP_PC] + 1
    gp[reg] = 0
    loop_drop(ctl, loops, index, max_loop)
    return pc + 1


@kernel
def int_sram_access(ctl, gp, int_sram, op, rd, address):
    """S_LD_INT and S_ST_INT."""
    if address >= INT_SRAM_SIZE:
        ctl[CTL_ERR_A] = address
        ctl[CTL_ERR_B] = INT_SRAM_SIZE
        return INT_SRAM
    if ctl[CTL_TOPK] != 0:
        return SYNC
    if op == isa.S_LD_INT:
        gp[rd] = int_sram[address]
    else:
        int_sram[address] = gp[rd]
    return OK


@kernel
def resolve(op, word, cfg, shapes, ctl, gp, address_registers, events, mem_events):
    """Append the event of a matrix, vector, fp or memory operation; returns a status."""
    if FIRST_MATRIX <= op <= LAST_MATRIX:
        if op == isa.M_MM_WO or op == isa.M_BMM_WO or op == isa.M_MV_WO or op == isa.M_BMV_WO:
            return resolve_write_out(op, word, cfg, ctl, gp, events)
        return resolve_matrix(op, word, cfg, ctl, gp, events)
    if FIRST_MEMORY <= op <= LAST_MEMORY:
        return resolve_memory(op, word, cfg, shapes, ctl, gp, address_registers, events, mem_events)
    if FIRST_FP <= op <= LAST_FP:
        return resolve_fp(op, word, cfg, ctl, gp, events)
    return resolve_vector(op, word, cfg, ctl, gp, events)


@entry
def control_slice(table, cfg, shapes, s, events, mem_events, budget):
    """Execute up to `budget` instructions; returns a status of `plena_emu.kernels.status`.

    Parameters
    ----------
    table : int64[words, OP_WIDTH]
        Decoded program.
    cfg : int64[CFG_WIDTH]
        Geometry.
    shapes : int64[NUM_SHAPES, SHAPE_WIDTH]
        DMA shapes.
    s : ControlState
    events, mem_events : int64[capacity, EV_WIDTH], int64[capacity, MEV_WIDTH]
        Chunks to append to at CTL_EVENTS and CTL_MEM_EVENTS.
    budget : int
        Most instructions to execute.

    On an error CTL_PC stays at the instruction and nothing of it is counted as done.
    """
    ctl = s.ctl
    gp = s.gp
    loops = s.loops
    words = table.shape[0]
    max_loop = cfg[CFG_MAX_LOOP]
    tracing = s.trace.shape[0] > 0
    pc = ctl[CTL_PC]
    executed = ctl[CTL_EXECUTED]
    delta = ctl[CTL_DELTA]
    compute = ctl[CTL_COMPUTE]
    last = executed + budget
    limit = ctl[CTL_LIMIT_AT]
    status = OK
    while True:
        if pc >= words:
            status = DONE
            break
        if executed >= last:
            break
        executed += 1
        word = table[pc]
        op = word[OP_ID]
        if tracing:
            s.trace[executed - (last - budget) - 1] = pc
        if executed >= limit:
            ctl[CTL_EXECUTED] = executed
            ctl[CTL_ERR_A] = loop_over_limit(ctl, loops, max_loop)
            ctl[CTL_ERR_B] = max_loop
            status = LOOP_LIMIT
            break
        cost = word[OP_COST]
        next_pc = pc + 1
        if op == isa.S_ADDI_INT:
            gp[word[OP_RD]] = (gp[word[OP_RS1]] + word[OP_IMM]) & M32
        elif op == isa.C_LOOP_END:
            ctl[CTL_EXECUTED] = executed
            next_pc = loop_end(ctl, gp, loops, max_loop, pc, word[OP_RD])
            limit = ctl[CTL_LIMIT_AT]
            if next_pc < 0:
                ctl[CTL_ERR_A] = word[OP_RD]
                status = LOOP_UNMATCHED
                break
        elif op == isa.S_ADD_INT:
            gp[word[OP_RD]] = (gp[word[OP_RS1]] + gp[word[OP_RS2]]) & M32
        elif op == isa.S_SUB_INT:
            gp[word[OP_RD]] = (gp[word[OP_RS1]] - gp[word[OP_RS2]]) & M32
        elif op == isa.S_MUL_INT:
            # Low 32 bits of a 64-bit product survive its wrap-around, without Python's big integers.
            a = gp[word[OP_RS1]]
            b = gp[word[OP_RS2]]
            gp[word[OP_RD]] = (a * (b & 0xFFFF) + (((a * (b >> 16)) & 0xFFFF) << 16)) & M32
        elif op == isa.S_LUI_INT:
            gp[word[OP_RD]] = (word[OP_IMM] << 12) & M32
        elif op == isa.S_LD_INT or op == isa.S_ST_INT:
            address = (gp[word[OP_RS1]] + word[OP_IMM]) & M32
            status = int_sram_access(ctl, gp, s.int_sram, op, word[OP_RD], address)
        elif op == isa.C_SET_ADDR_REG:
            s.hbm[word[OP_RD]] = (gp[word[OP_RS1]] << 32) | gp[word[OP_RS2]]
        elif op == isa.C_SET_SCALE_REG:
            ctl[CTL_SCALE] = gp[word[OP_RD]]
        elif op == isa.C_SET_STRIDE_REG:
            ctl[CTL_STRIDE] = gp[word[OP_RD]]
        elif op == isa.C_SET_V_MASK_REG:
            ctl[CTL_VMASK] = gp[word[OP_RD]]
        elif op == isa.C_LOOP_START:
            if ctl[CTL_DEPTH] == loops.shape[0]:
                status = LOOPS_FULL
            else:
                ctl[CTL_EXECUTED] = executed
                status = loop_start(ctl, gp, loops, max_loop, pc, word[OP_RD], word[OP_IMM])
                limit = ctl[CTL_LIMIT_AT]
        elif op == isa.C_BREAK:
            if ctl[CTL_DEPTH] == 0:
                status = BREAK_OUTSIDE
            else:
                gp[loops[ctl[CTL_DEPTH] - 1, LOOP_REG]] = 0
                loop_drop(ctl, loops, ctl[CTL_DEPTH] - 1, max_loop)
                limit = ctl[CTL_LIMIT_AT]
        elif op == isa.INVALID:
            status = INVALID_OPCODE
        else:
            if ctl[CTL_EVENTS] == events.shape[0] or ctl[CTL_MEM_EVENTS] == mem_events.shape[0]:
                status = CHUNK_FULL
            else:
                ctl[CTL_DELTA] = delta
                ctl[CTL_PC] = pc
                status = resolve(op, word, cfg, shapes, ctl, gp, s.hbm, events, mem_events)
                delta = ctl[CTL_DELTA]
        if status != OK:
            break
        s.counts[op] += 1
        delta += cost
        compute += cost
        pc = next_pc
    if status == CHUNK_FULL or status == SYNC or status == LOOPS_FULL:
        executed -= 1  # the instruction is executed again after the host has made room
    ctl[CTL_PC] = pc
    ctl[CTL_EXECUTED] = executed
    ctl[CTL_DELTA] = delta
    ctl[CTL_COMPUTE] = compute
    return status
