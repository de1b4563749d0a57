"""Run the control pass: integer registers, loops and address registers (spec §1.2-§1.8).

Executes the decoded program, checks every address and bound, counts how often each word runs, and
appends resolved events for the data and the timing pass. It never sees floating-point data.
"""

from plena_emu import isa

from ..compiler.jit import entry, kernel, small
from ..layout import (
    CFG_WIDTH,
    CTL_ADDR,
    CTL_COMPUTE,
    CTL_DELTA,
    CTL_ERR_A,
    CTL_ERR_B,
    CTL_EVENTS,
    CTL_EXECUTED,
    CTL_GP,
    CTL_LIMIT_AT,
    CTL_MEM_EVENTS,
    CTL_PC,
    CTL_SCALE,
    CTL_SKIPS,
    CTL_STRIDE,
    CTL_TOP_LOOP,
    CTL_TOPK,
    CTL_VMASK,
    INT_SRAM_SIZE,
    LOOP_REG,
    NO_LOOP,
    OP_COST,
    OP_F1,
    OP_ID,
    OP_IMM,
    OP_RD,
    OP_RS1,
    OP_RS2,
    OP_RS3,
    TR_PC,
    TR_RD,
    TR_RS1,
    TR_RS2,
)
from ..limits import U32_MASK
from ..op_groups import is_fp, is_matrix, is_memory, is_vector, is_write_out
from ..status import (
    BREAK_OUTSIDE,
    CHUNK_FULL,
    DONE,
    INT_SRAM,
    INVALID_OPCODE,
    LOOP_UNMATCHED,
    LOOPS_FULL,
    OK,
    SYNC,
    UNHANDLED_OPERATION,
)
from .address_checks import fail
from .integers import execute_integer
from .loops import check_limit, loop_drop, loop_end, loop_start, loops_full
from .resolve_matrix import resolve_matrix, resolve_write_out
from .resolve_memory import resolve_memory
from .resolve_vector import resolve_fp, resolve_vector
from .unwatched import run_unwatched


@kernel
def int_sram_access(ctl, int_sram, op, rd, address):
    """Execute S_LD_INT or S_ST_INT.

    Returns a status.
    """
    if address >= INT_SRAM_SIZE:
        ctl[CTL_ERR_A] = address
        ctl[CTL_ERR_B] = INT_SRAM_SIZE
        return INT_SRAM
    if ctl[CTL_TOPK] != 0:
        return SYNC
    if op == isa.S_LD_INT:
        ctl[CTL_GP + rd] = int_sram[address]
    else:
        int_sram[address] = ctl[CTL_GP + rd]
    return OK


@small
def resolve(op, rd, rs1, rs2, rs3, f1, imm, descriptors, ctl, events, mem_events):
    """Append the event of a matrix, vector, fp or memory operation.

    Returns a status: UNHANDLED_OPERATION for every other op id.
    """
    if is_write_out(op):
        return resolve_write_out(op, rd, rs1, imm, ctl, events)
    if is_matrix(op):
        return resolve_matrix(op, rd, rs1, rs2, ctl, events)
    if is_memory(op):
        return resolve_memory(op, rd, rs1, rs2, rs3, f1, descriptors, ctl, events, mem_events)
    if is_fp(op):
        return resolve_fp(op, rd, rs1, rs2, imm, ctl, events)
    if is_vector(op):
        return resolve_vector(op, rd, rs1, rs2, rs3, f1, ctl, events)
    return fail(ctl, UNHANDLED_OPERATION, op, isa.NUM_OPS)


@small
def note_executed(row, table, ctl, pc):
    """Write the instruction that is about to run into a row of the trace."""
    row[TR_PC] = pc
    row[TR_RD] = ctl[CTL_GP + table[pc, OP_RD]]
    row[TR_RS1] = ctl[CTL_GP + table[pc, OP_RS1]]
    row[TR_RS2] = ctl[CTL_GP + table[pc, OP_RS2]]


@entry
def control_slice(table, cfg, descriptors, state, events, mem_events, budget):
    """Execute up to `budget` instructions.

    Parameters
    ----------
    table : int64[words, OP_WIDTH]
        Decoded program.
    cfg : int64[CFG_WIDTH]
        Geometry.
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
        DMA descriptors.
    state : ControlState
    events, mem_events : int64[capacity, EV_WIDTH], int64[capacity, MEV_WIDTH]
        Chunks to append to at CTL_EVENTS and CTL_MEM_EVENTS.
    budget : int
        Most instructions to execute.

    Returns a status of `plena_emu.kernels.status`. On an error CTL_PC stays at the instruction and nothing of it is
    counted as done.
    """
    ctl = state.ctl
    loops = state.loops
    counts = state.counts
    trace = state.trace
    for i in range(CFG_WIDTH):
        ctl[i] = cfg[i]
    words = table.shape[0]
    tracing = trace.shape[0] > 0
    skips = ctl[CTL_SKIPS] == 1 and not tracing
    pc = ctl[CTL_PC]
    executed = ctl[CTL_EXECUTED]
    delta = ctl[CTL_DELTA]
    compute = ctl[CTL_COMPUTE]
    first = executed
    status = OK
    while True:
        if skips:
            ctl[CTL_EXECUTED] = executed
            ctl[CTL_COMPUTE] = compute
            ctl[CTL_DELTA] = delta
            pc = run_unwatched(table, ctl, loops, counts, state.affine, pc, budget - (executed - first))
            executed = ctl[CTL_EXECUTED]
            compute = ctl[CTL_COMPUTE]
            delta = ctl[CTL_DELTA]
        if pc >= words:
            status = DONE
            break
        if executed - first >= budget:
            break
        executed += 1
        if tracing:
            note_executed(trace[executed - first - 1], table, ctl, pc)
        if executed >= ctl[CTL_LIMIT_AT]:
            ctl[CTL_EXECUTED] = executed
            status = check_limit(ctl, loops)
            if status != OK:
                break
        op = table[pc, OP_ID]
        rd = table[pc, OP_RD]
        rs1 = table[pc, OP_RS1]
        cost = table[pc, OP_COST]
        next_pc = pc + 1
        if execute_integer(ctl, table, pc, op):
            pass
        elif op == isa.C_LOOP_END:
            ctl[CTL_EXECUTED] = executed
            next_pc = loop_end(ctl, loops, pc, rd)
            if next_pc < 0:
                ctl[CTL_ERR_A] = rd
                status = LOOP_UNMATCHED
                break
        elif op == isa.S_LD_INT or op == isa.S_ST_INT:
            address = (ctl[CTL_GP + rs1] + table[pc, OP_IMM]) & U32_MASK
            status = int_sram_access(ctl, state.int_sram, op, rd, address)
        elif op == isa.C_SET_ADDR_REG:
            ctl[CTL_ADDR + rd] = (ctl[CTL_GP + rs1] << 32) | ctl[CTL_GP + table[pc, OP_RS2]]
        elif op == isa.C_SET_SCALE_REG:
            ctl[CTL_SCALE] = ctl[CTL_GP + rd]
        elif op == isa.C_SET_STRIDE_REG:
            ctl[CTL_STRIDE] = ctl[CTL_GP + rd]
        elif op == isa.C_SET_V_MASK_REG:
            ctl[CTL_VMASK] = ctl[CTL_GP + rd]
        elif op == isa.C_LOOP_START:
            if loops_full(ctl, loops):
                status = LOOPS_FULL
            else:
                ctl[CTL_EXECUTED] = executed
                status = loop_start(ctl, loops, pc, rd, table[pc, OP_IMM])
        elif op == isa.C_BREAK:
            innermost = ctl[CTL_TOP_LOOP]
            if innermost == NO_LOOP:
                status = BREAK_OUTSIDE
            else:
                ctl[CTL_GP + loops[innermost, LOOP_REG]] = 0
                loop_drop(ctl, loops, innermost)
        elif op == isa.INVALID:
            status = INVALID_OPCODE
        elif ctl[CTL_EVENTS] == events.shape[0] or ctl[CTL_MEM_EVENTS] == mem_events.shape[0]:
            status = CHUNK_FULL
        else:
            ctl[CTL_DELTA] = delta
            ctl[CTL_PC] = pc
            status = resolve(
                op, rd, rs1, table[pc, OP_RS2], table[pc, OP_RS3], table[pc, OP_F1], table[pc, OP_IMM], descriptors,
                ctl, events, mem_events,
            )
            delta = ctl[CTL_DELTA]
        if status != OK:
            break
        counts[pc] += 1
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
