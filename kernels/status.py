"""Status integers the kernels return; `plena_emu.running.run_errors` makes the line that a user reads of an error.

Errors are 16 and above. The control registers CTL_ERR_A and CTL_ERR_B then hold the value that was
found and the bound it broke, and CTL_PC the word index of the instruction.
"""

OK = 0  # the slice used up its budget
DONE = 1  # the pc passed the last word
CHUNK_FULL = 2  # an event array is full: consume it and go on
SYNC = 3  # the int SRAM is needed and a V_TOPK has to be executed first (moe)
LOOPS_FULL = 4  # the loop stack array is full: enlarge it and go on

FIRST_ERROR = 16
INVALID_OPCODE = 16
TILE_MISALIGNED = 17  # A: address, B: MLEN*MLEN
TILE_OUTSIDE = 18  # A: tile index, B: tiles
ROW_MISALIGNED = 19  # A: address, B: VLEN
ROW_OUTSIDE = 20  # A: row, B: rows
OFFSET_MISALIGNED = 21  # A: offset, B: what it has to be a multiple of
COLUMNS_OUTSIDE = 22  # A: column past the last, B: MLEN
FP_REGISTER = 23  # A: index, B: 8
FP_SRAM = 24  # A: index, B: 1024
INT_SRAM = 25  # A: index, B: 1024
LOOP_ZERO = 26
LOOP_UNMATCHED = 27  # A: register
LOOP_LIMIT = 28  # A: pc of the loop, B: limit
BREAK_OUTSIDE = 29
HBM_WRITE_OUTSIDE = 30  # A: byte address, B: HBM size
TOPK_POLICY = 31  # A: policy
NOT_SQUARE = 32  # A: MLEN, B: VLEN
BROADCAST = 33  # A: BROADCAST_AMOUNT, B: MLEN // HLEN
UNHANDLED_OPERATION = 34  # A: op id, B: op ids there are
BLOCK_MISALIGNED = 35  # A: elements, B: the block they have to be a multiple of
PARTIAL_BYTES = 36  # A: values, B: bits of each; together no whole number of bytes
BITS_UNEVEN = 37  # A: bits of an element or a scale, no power of two
