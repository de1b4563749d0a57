"""Arrays of the scoreboard pass: rules in, state, counters and placed instructions out (spec §7.7-§7.11).

An *owner* is what a dependency names: sequence << OWNER_BITS | resource, or NONE. Cycles count core cycles from 0.
"""

from typing import NamedTuple

import numpy as np

from plena_emu import isa

NONE = np.int64(-1)
OWNER_BITS = 4
RESOURCE_MASK = (1 << OWNER_BITS) - 1

# Resources, in the order of §7.11: those below MATRIX_COMPUTE are memory, those below CONTROL_FRONTEND compute.
RESOURCES = (
    "hbm_matrix_dma", "hbm_vector_dma", "hbm_vector_store", "matrix_compute", "matrix_writeout", "vector_pipeline",
    "scalar_pipeline", "control_frontend",
)  # fmt: skip
MATRIX_COMPUTE = 3
CONTROL_FRONTEND = 7

# --- rules: int64[NUM_OPS, RULE_WIDTH], one row an op id -------------------------------------------
RULE_READY = 0  # cycles until the result may be used; SERVICE for a DMA, 0 where the operation has no cost
RULE_BUSY = 1  # cycles the unit is held
RULE_INTERVAL = 2  # cycles until the unit takes the next one
RULE_SUPPORTED = 3
RULE_RESOURCE = 4
RULE_SILENT = 5  # 1: waits for nothing, holds nothing
RULE_WAITS = 6  # first row of `waits`, and the row behind the last
RULE_WAITS_END = 7
RULE_HOLDS = 8  # the same in `holds`
RULE_HOLDS_END = 9
RULE_STALLS_ON_PORT = 10  # 1: waits while a result is written through the SRAM's port A
RULE_WRITES_PORT = 11  # 1: its result is
RULE_AFTER = 12  # unit that its start waits for once it is accepted, NONE without
RULE_AFTER_REASON = 13
RULE_FP_REGISTERS = 14  # 1: waits for fp registers
RULE_WIDTH = 15
SERVICE = -1

# `waits`: int64[n, WAIT_WIDTH].
WAIT_UNIT = 0
WAIT_REASON = 1
WAIT_OTHER_LATENCY = 2  # 1: only where the unit's last result had another latency
WAIT_WIDTH = 3

# `holds`: int64[n, HOLD_WIDTH].
HOLD_UNIT = 0
HOLD_UNTIL = 1  # one of UNTIL_*
HOLD_WIDTH = 2
UNTIL_RESULT, UNTIL_COMPLETION, UNTIL_NEXT = range(3)

# `units`: int64[n, UNIT_WIDTH]; a unit of several copies is free when one of them is.
UNIT_FIRST = 0  # first row of `slots`
UNIT_COPIES = 1
UNIT_WIDTH = 2

# `slots`: int64[n, SLOT_WIDTH]: the copies of all units, then the fp registers.
SLOT_UNTIL = 0
SLOT_OWNER = 1
SLOT_LATENCY = 2  # ready cycles of the last instruction that held it, NONE before the first
SLOT_WIDTH = 3
FP_SLOTS = 16  # a register field has 4 bits, and no bound is checked where rd = 0

# `pending`: int64[capacity, PENDING_WIDTH]: writes whose result is not ready, in order of issue. A write is COUNT
# pieces of LENGTH elements, STRIDE from one to the next.
PENDING_FIRST = 0
PENDING_END = 1  # behind the last piece
PENDING_LENGTH = 2
PENDING_STRIDE = 3
PENDING_COUNT = 4
PENDING_UNTIL = 5
PENDING_OWNER = 6
PENDING_WIDTH = 7

# `dims`: int64[DIM_WIDTH], constant for a run.
DIM_MLEN = 0
DIM_VLEN = 1
DIM_BLEN = 2
DIM_BROADCAST = 3
DIM_PM = 4  # rows of H_PREFETCH_M
DIM_PV = 5
DIM_SV = 6
DIM_PERIOD = 7  # ps of a core cycle
DIM_MATRIX_SRAM = 8  # 1: dependences through the matrix SRAM count
DIM_VECTOR_SRAM = 9
DIM_RECOVERY = 10  # cycles that an instruction loses after a wait
DIM_WIDTH = 11

# Reasons that the placement itself gives; those of the rules follow.
NO_REASON = 0
OPERAND_REASONS = (
    "matrix_sram_operand_not_ready", "vector_sram_operand_not_ready", "matrix_sram_write_collision",
    "vector_sram_write_collision", "vector_sram_port_a_write", "scalar_fp_operand_not_ready",
    "scalar_fp_write_port_busy",
)  # fmt: skip
MATRIX_READ, VECTOR_READ, MATRIX_WRITE, VECTOR_WRITE, PORT_WRITE, FP_READ, FP_WRITE = range(1, 8)

# --- state: `reg` ---------------------------------------------------------------------------------
SB_SEQUENCE = 0  # instructions placed so far
SB_NEXT_ISSUE = 1
SB_MAKESPAN = 2
SB_LAST_RESOURCE = 3  # resource of the instruction with the largest (completion, sequence)
SB_SUPPORTED_END = 4  # largest completion of an instruction the RTL supports
SB_MATRIX_PENDING = 5  # writes in `matrix_pending`
SB_VECTOR_PENDING = 6
SB_RECOVERY = 7  # recovery cycles so far
SB_OVERLAP = 8  # cycles of memory and compute at once
SB_MEMORY_END = 9  # end of the union of memory intervals so far
SB_COMPUTE_END = 10
SB_DEFERRED = 11  # intervals in `deferred`
SB_DEFERRED_FIRST = 12  # the least start among them, NEVER without
SB_AT = 13  # where a slice goes on: instruction, memory event
SB_AT_EVENT = 14
# the instruction in hand
SB_READY_AT = 15  # c of §7.9
SB_REASON = 16
SB_OWNER = 17
SB_PC = 18  # of an instruction without a cost
SB_LAST_PC = 19  # of the instruction with the largest (completion, sequence), NONE at the start
SB_WIDTH = 20

# `by_op`: int64[NUM_OPS, BY_OP_WIDTH].
OP_COUNT = 0
OP_WORK = 1  # completion - start, summed up
OP_MOST = 2  # and the largest
BY_OP_WIDTH = 3

# `by_resource`: int64[len(RESOURCES), BY_RESOURCE_WIDTH].
RES_COVERED = 0  # cycles in the union of its intervals
RES_END = 1  # end of that union
RES_CRITICAL = 2  # cycles of the critical path but the instructions' own
BY_RESOURCE_WIDTH = 3

# `by_reason`: int64[reasons, BY_REASON_WIDTH].
REASON_STALL = 0
REASON_BACKEND = 1
BY_REASON_WIDTH = 2

# `by_pc`: int64[words, PC_REASONS + reasons]; no rows where nobody asked. What follows from how often a word was
# executed (its issue cycles, and the work of all but DMAs) is not in it.
PC_SERVICE = 0  # cycles of DMAs
PC_RECOVERY = 1
PC_BACKEND = 2  # start - accepted, summed up
PC_REASONS = 3  # first of the columns of stalls, one a reason

# `placed`: int64[capacity, PLACED_WIDTH], one row an instruction of the slice; empty when nobody asked.
PLACED_ISSUE = 0
PLACED_ACCEPTED = 1
PLACED_RECOVERY = 2
PLACED_START = 3
PLACED_RESULT = 4
PLACED_COMPLETION = 5
PLACED_REASON = 6
PLACED_OWNER = 7
PLACED_WIDTH = 8

# Status of a slice.
PLACED_ALL = 0
PENDING_FULL = 1  # a list of pending writes is full: enlarge it and go on
NO_COST = 2  # SB_PC: an instruction for which the rules have no cost

DEFERRED_CAPACITY = 8
OBSERVED_SLICE = 1 << 14  # most instructions of a slice that is placed


class Scoreboard(NamedTuple):
    """Rules and state of the scoreboard pass; every array is int64, columns as above.

    Attributes
    ----------
    reg : [SB_WIDTH]
    dims : [DIM_WIDTH]
    rules : [NUM_OPS, RULE_WIDTH]
    waits : [n, WAIT_WIDTH]
    holds : [n, HOLD_WIDTH]
    units : [n, UNIT_WIDTH]
    slots : [n + FP_SLOTS, SLOT_WIDTH]
    matrix_pending, vector_pending : [capacity, PENDING_WIDTH]
    port : [power of two, 2]
        Cycle and owner of each result that is written through port A, at cycle modulo the length.
    deferred : [DEFERRED_CAPACITY, 3]
        Resource, start and completion of instructions that start later than they were accepted.
    by_op, by_resource, by_reason, by_pc
        Counters.
    placed : [capacity, PLACED_WIDTH]
    """

    reg: np.ndarray
    dims: np.ndarray
    rules: np.ndarray
    waits: np.ndarray
    holds: np.ndarray
    units: np.ndarray
    slots: np.ndarray
    matrix_pending: np.ndarray
    vector_pending: np.ndarray
    port: np.ndarray
    deferred: np.ndarray
    by_op: np.ndarray
    by_resource: np.ndarray
    by_reason: np.ndarray
    by_pc: np.ndarray
    placed: np.ndarray


def tracked_ops() -> np.ndarray:
    """Mark the operations that access an SRAM that the scoreboard tracks (§7.8).

    Returns
    -------
    int64[NUM_OPS]
        1 for each of them, else 0.
    """
    types = ("matrix", "vector", "memory")
    return np.array([int(op is not None and (op.type in types or op.mnemonic == "S_MAP_V_FP")) for op in isa.BY_ID])
