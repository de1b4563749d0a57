"""Kernel statuses as one clear line: pc, decoded instruction, what was found, what was expected (spec §5.5)."""

from ..errors import EmuError
from ..isa import BY_ID, NUM_OPS
from ..kernels import layout
from ..kernels import status as st

# What each error status says of CTL_ERR_A (found) and CTL_ERR_B (bound).
_TEXTS = {
    st.INVALID_OPCODE: "its code is assigned to no operation in this revision",
    st.TILE_MISALIGNED: "tile address {a} is no multiple of MLEN*MLEN = {b}",
    st.TILE_OUTSIDE: "tile {a} (address {tile_address}) is outside the matrix SRAM of {b} tiles",
    st.ROW_MISALIGNED: "row address {a} is no multiple of VLEN = {b}",
    st.ROW_OUTSIDE: "row {a} (address {row_address}) is outside the vector SRAM of {b} rows",
    st.OFFSET_MISALIGNED: "offset {a} is no multiple of {b}",
    st.COLUMNS_OUTSIDE: "the slice ends at {a}, expected at most MLEN = {b}",
    st.FP_REGISTER: "fp register {a}, expected an index below {b}",
    st.FP_SRAM: "fp SRAM index {a}, expected below {b}",
    st.INT_SRAM: "int SRAM index {a}, expected below {b}",
    st.LOOP_ZERO: "a loop of 0 iterations, expected at least 1",
    st.LOOP_UNMATCHED: "no active loop uses gp{a}",
    st.LOOP_LIMIT: "the loop at pc={a} has executed more than MAX_LOOP_INSTRUCTIONS = {b} instructions",
    st.BREAK_OUTSIDE: "no loop is active",
    st.HBM_WRITE_OUTSIDE: "write to HBM address {u}, which is outside the HBM of {b} bytes",
    st.TOPK_POLICY: "policy {a}, expected 0 or 1",
    st.NOT_SQUARE: "matrix operations need MLEN = VLEN, found MLEN = {a} and VLEN = {b}",
    st.BROADCAST: "BROADCAST_AMOUNT is {a}, expected MLEN / HLEN = {b}",
    st.UNHANDLED_OPERATION: "op id {a} has no kernel in the control pass, expected one of the {b} of plena_emu.isa",
    st.BLOCK_MISALIGNED: "offset, step or row length of {a} elements, expected a multiple of the block of {b}",
    st.PARTIAL_BYTES: "{a} values of {b} bits are no whole number of bytes",
    st.BITS_UNEVEN: "elements or scales of {a} bits, expected a power of two with production DMA",
}


def data_error(op: int) -> EmuError:
    """Error of an event that the data pass has no kernel for; `op` is its op id."""
    name = BY_ID[op].mnemonic if 0 < op < NUM_OPS else "no operation"
    return EmuError(f"op id {op} ({name}): found no kernel in the data pass, expected one for every event of control")


def run_error(status: int, ctl, program, cfg) -> EmuError:
    """Make the error of a control status of 16 and above.

    `ctl` are the control registers, `program` the Program, `cfg` the geometry (indices are shown as addresses too,
    §1.4).

    Returns
    -------
    EmuError
    """
    pc = int(ctl[layout.CTL_PC])
    found = int(ctl[layout.CTL_ERR_A])
    text = _TEXTS[status].format(
        a=found, b=int(ctl[layout.CTL_ERR_B]), u=found & (2**64 - 1),
        row_address=found * int(cfg[layout.CFG_VLEN]), tile_address=found * int(cfg[layout.CFG_MLEN]) ** 2,
    )
    return EmuError(f"pc={pc} {program.text(pc)}: {text}{program.hint(pc)}")
