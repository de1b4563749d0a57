"""Column and slot numbers of the arrays the passes share.

A run is three passes over one instruction stream: *control* (integers, loops, addresses, bounds)
resolves events; *data* consumes them and never sees an integer register; *timing* consumes the
memory events and never sees a value. These constants name the columns of what they exchange.
"""

# --- memory events (control -> timing): int64[n, MEV_WIDTH] ---------------------------------
MEV_WIDTH = 6
MEV_DELTA = 0  # compute picoseconds since the previous memory event
MEV_SHAPE = 1  # row of the DMA shape table
MEV_INDEX = 2  # byte address of the first element (u64 bit pattern)
MEV_SCALE = 3  # byte address of the first scale byte (u64 bit pattern)
MEV_STEP = 4  # elements (= bytes) from one row to the next
MEV_PC = 5  # word index of the instruction

# --- DMA shapes: int64[NUM_SHAPES, SHAPE_WIDTH], constant for a run (spec §3.2, §3.3) --------
SHAPE_WIDTH = 10
SH_ROWS = 0  # rows a transfer moves: PM, PV or SV
SH_N = 1  # elements a row: MLEN or VLEN
SH_LEN = 2  # element bytes a row
SH_SLEN = 3  # scale bytes a row, 0 for plain types
SH_RATIO = 4  # elements' bytes per scale byte, 1 for plain types (§2.1)
SH_STORE = 5  # 1 for H_STORE_V
SH_BLOCK = 6  # elements that share a scale, 0 for plain types
SH_ELEM = 7  # number format of the elements: row of the format table
SH_SCALE_FMT = 8  # number format of the scales: row of the format table, -1 for plain types
SH_TARGET = 9  # 0 matrix tiles, 1 vector rows

# Row of the shape table: unit and precision (0: weight or activation type, else: KV type).
SHAPE_M_WEIGHT = 0
SHAPE_M_KV = 1
SHAPE_V_ACT = 2
SHAPE_V_KV = 3
SHAPE_STORE_ACT = 4
SHAPE_STORE_KV = 5
NUM_SHAPES = 6

# --- decoded program (emu.program -> control): int64[n, OP_WIDTH], one row a word (spec §1.3) --
OP_WIDTH = 8
OP_ID = 0  # op id of plena_emu.isa, 0 (INVALID) where the revision assigns no operation
OP_RD = 1
OP_RS1 = 2
OP_RS2 = 3
OP_RS3 = 4  # also rmask, rstride, policy
OP_F1 = 5  # also order, precision
OP_IMM = 6  # imm18 or imm22, whichever the operation encodes; 0 where it encodes none
OP_COST = 7  # compute picoseconds; 0 for memory operations and INVALID
