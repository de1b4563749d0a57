"""Number the columns and slots of the arrays that the passes share.

A run is three passes over one instruction stream: *control* (integers, loops, addresses, bounds)
resolves events; *data* consumes them and never sees an integer register; *timing* consumes the
memory events and never sees a value. With the rtl-v1 timeline a fourth, the *scoreboard*, consumes what control
executed and how long timing says that each transfer took. These constants name the columns of what they exchange.
"""

# --- memory events (control -> timing): int64[n, MEV_WIDTH] ---------------------------------
MEV_WIDTH = 11
MEV_DELTA = 0  # compute picoseconds since the previous memory event
MEV_DESCRIPTOR = 1  # row of the table of DMA descriptors
MEV_INDEX = 2  # byte address of the first element (u64 bit pattern)
MEV_SCALE = 3  # byte address of the first scale byte (u64 bit pattern)
MEV_STEP = 4  # elements from one row to the next (§3.2 counts an element as a byte, §7.2 does not)
MEV_PC = 5  # word index of the instruction
MEV_TOOK = 6  # picoseconds that the transfer took; written by timing
# Written by timing, where there is a ledger:
MEV_DONE = 7  # instant of its end, ps
MEV_BYTES = 8  # bytes it read and wrote
MEV_LINK_PS = 9  # picoseconds that bytes took on the host link
MEV_RESIDENT = 10  # bytes of swapped layers or regions in the DDR after it

# --- executed instructions (control -> scoreboard, host), where asked for: int64[n, TR_WIDTH] ---
TR_WIDTH = 4
TR_PC = 0  # word index
TR_RD = 1  # gp[rd], gp[rs1] and gp[rs2] before the instruction, by the fields of its word
TR_RS1 = 2
TR_RS2 = 3

# --- DMA descriptors: int64[NUM_DESCRIPTORS, DESC_WIDTH], constant for a run (spec §3.2, §3.3) --------
DESC_WIDTH = 13
DESC_ROWS = 0  # rows a transfer moves: PM, PV or SV
DESC_ELEMENTS = 1  # elements a row: MLEN or VLEN
DESC_ROW_BYTES = 2  # element bytes a row
DESC_SCALE_BYTES = 3  # scale bytes a row, 0 for plain types
DESC_RATIO = 4  # elements' bytes per scale byte, 1 for plain types (§2.1)
DESC_STORE = 5  # 1 for H_STORE_V
DESC_BLOCK = 6  # elements that share a scale, 0 for plain types
DESC_FORMAT = 7  # number format of the elements: row of the format table
DESC_SCALE_FORMAT = 8  # number format of the scales: row of the format table, -1 for plain types
DESC_TARGET = 9  # 0 matrix tiles, 1 vector rows
DESC_PACKED = 10  # 1: production DMA, addresses and packing of §7.2
DESC_BITS = 11  # bits of an element
DESC_SCALE_BITS = 12  # bits of a scale, 0 for plain types

# Row of the descriptor table: unit and precision (0: weight or activation type, else: KV type).
DESCRIPTOR_M_WEIGHT = 0
DESCRIPTOR_M_KV = 1
DESCRIPTOR_V_ACT = 2
DESCRIPTOR_V_KV = 3
DESCRIPTOR_STORE_ACT = 4
DESCRIPTOR_STORE_KV = 5
NUM_DESCRIPTORS = 6

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

# --- data events (control -> data): int64[n, EV_WIDTH] ---------------------------------------
# Column 0 is the op id; the others are resolved operands, by group of operations:
#   M_MM M_TMM M_MV M_TMV                tile offset, column, row
#   M_BMM M_BTMM M_BMV M_BTMV            tile offset, head offset h, offset o2, row
#   M_MM_WO                              row, offset in the row, rows from one to the next
#   M_MV_WO                              row, offset in the row
#   M_BMM_WO M_BMV_WO                    row
#   V_* two rows, row and fp, V_SHIFT_V  row d, row a, row b | fp register | shift, mask, order
#   V_EXP_V V_RECI_V                     row d, row a, -, mask
#   V_RED_*                              fp register, row a, -, mask
#   V_TOPK                               fp SRAM index, row a, int SRAM index, policy
#   S_*_FP                               rd, rs1, rs2 (registers)
#   S_LD_FP S_ST_FP                      fp register, fp SRAM index
#   S_MAP_V_FP                           row d, fp SRAM index
#   H_*                                  tile or row, descriptor, index, scale index, step
# Tile offsets are in elements, rows in rows; mask is -1 for "the whole row".
EV_WIDTH = 6

# --- geometry: int64[CFG_WIDTH], constant for a run (spec §1.1) --------------------------------
CFG_MLEN = 0
CFG_VLEN = 1
CFG_BLEN = 2
CFG_HLEN = 3
CFG_BROADCAST = 4
CFG_TILES = 5  # tiles in the matrix SRAM
CFG_ROWS = 6  # rows in the vector SRAM
CFG_MAX_LOOP = 7  # MAX_LOOP_INSTRUCTIONS
CFG_MOE = 8  # 1 in the moe revision
CFG_HBM_SIZE = 9  # bytes
CFG_SRAM_MANTISSA = 10  # mantissa bits of the vector SRAM type
CFG_MLEN_SHIFT = 11  # log2 of MLEN, VLEN and BLEN, -1 where they are no powers of two
CFG_VLEN_SHIFT = 12
CFG_BLEN_SHIFT = 13
CFG_FP_SRAM = 14  # values in the fp SRAM
CFG_NARROW_HEADS = 15  # 1: BROADCAST * HLEN may be less than MLEN (spec §7.1)
CFG_WIDTH = 16

# --- control registers: int64[CTL_WIDTH] ------------------------------------------------------
# One array holds all of them, a copy of the geometry first: a kernel call passes an array as seven
# words, and control makes several calls an instruction.
CTL_PC = 16
CTL_SCALE = 17
CTL_STRIDE = 18
CTL_VMASK = 19
CTL_TOP_LOOP = 20  # slot of the innermost active loop, NO_LOOP where none is active
CTL_EXECUTED = 21  # instructions executed so far
CTL_LIMIT_AT = 22  # no loop is over MAX_LOOP_INSTRUCTIONS while CTL_EXECUTED is below this
CTL_COMPUTE = 23  # compute picoseconds so far
CTL_DELTA = 24  # compute picoseconds since the last memory event
CTL_EVENTS = 25  # data events in the chunk
CTL_MEM_EVENTS = 26  # memory events in the chunk
CTL_TOPK = 27  # 1 while the chunk holds a V_TOPK that data has not executed
CTL_ROWS_DROPPED = 28  # prefetched rows past the end of the vector SRAM
CTL_OUTSIDE = 29  # bytes read outside the HBM (delivered as 0)
CTL_ERR_A = 30  # what was found
CTL_ERR_B = 31  # what was expected
CTL_GP = 32  # 16 u32 registers
CTL_ADDR = 48  # 16 u64 HBM address registers (bit patterns)
CTL_SKIPS = 64  # 1 where nobody wants data events: none is kept (`unwatched`), and loops are skipped (`loop_skip`)
CTL_FREE_LOOP = 65  # slot of a loop that has ended and may be used again; LOOP_BELOW leads to the next
CTL_LOOP_SLOTS = 66  # slots that were ever used
CTL_LOOP_OF = 67  # of each register: slot of the innermost active loop that counts in it
CTL_WIDTH = 83

# --- loop stack: int64[slots, LOOP_WIDTH] -----------------------------------------------------
# A loop may end below others that never do (§1.7), so the stack is a list with links: nothing is searched or moved.
LOOP_WIDTH = 6
LOOP_PC = 0  # word index of C_LOOP_START
LOOP_REG = 1  # its register
LOOP_BASE = 2  # CTL_EXECUTED when its instruction count was last 0
LOOP_BELOW = 3  # slot of the loop around it
LOOP_ABOVE = 4  # slot of the loop in it
LOOP_SAME = 5  # slot of the next loop around it that counts in the same register
NO_LOOP = 0  # a slot that no loop has: what its row holds means nothing

FP_REGISTERS = 8
FP_SRAM_SIZE = 1024
HARDWARE_FP_SRAM_SIZE = 2048  # of the machine of spec §7.1
INT_SRAM_SIZE = 1024

# --- number formats: int64[n, FMT_WIDTH] (spec §2.1) -------------------------------------------
FMT_WIDTH = 5
FMT_INT = 0  # 1 for integers
FMT_BITS = 1
FMT_SIGN = 2
FMT_EXP = 3
FMT_MAN = 4
