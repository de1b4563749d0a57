"""What an instruction reads and writes, against the writes that are pending (spec §7.8, §7.9 steps 1 and 2)."""

from plena_emu import isa

from ...compiler.jit import kernel, small
from ...layout import TR_RD, TR_RS1, TR_RS2
from ...limits import U32_MASK
from .layout import (
    DIM_BLEN,
    DIM_BROADCAST,
    DIM_MATRIX_SRAM,
    DIM_MLEN,
    DIM_PM,
    DIM_PV,
    DIM_SV,
    DIM_VECTOR_SRAM,
    DIM_VLEN,
    MATRIX_READ,
    MATRIX_WRITE,
    PENDING_COUNT,
    PENDING_END,
    PENDING_FIRST,
    PENDING_LENGTH,
    PENDING_OWNER,
    PENDING_STRIDE,
    PENDING_UNTIL,
    PENDING_WIDTH,
    SB_MATRIX_PENDING,
    SB_NEXT_ISSUE,
    SB_OWNER,
    SB_READY_AT,
    SB_REASON,
    SB_VECTOR_PENDING,
    VECTOR_READ,
    VECTOR_WRITE,
)


@small
def wait_until(reg, until, owner, reason):
    """Wait in the instruction in hand; of several that end together the first is the reason."""
    if until > reg[SB_READY_AT]:
        reg[SB_READY_AT] = until
        reg[SB_REASON] = reason
        reg[SB_OWNER] = owner


@small
def intersects(write, first, end):
    """Whether a pending write touches elements [first, end)."""
    if write[PENDING_FIRST] >= end or write[PENDING_END] <= first:
        return False
    if write[PENDING_COUNT] == 1:
        return True
    # The first piece that ends behind `first`.
    at = max(0, (first - write[PENDING_FIRST] - write[PENDING_LENGTH]) // write[PENDING_STRIDE] + 1)
    return at < write[PENDING_COUNT] and write[PENDING_FIRST] + at * write[PENDING_STRIDE] < end


@kernel
def forget(pending, count, issue):
    """Drop the pending writes that are ready at `issue`: how many are left."""
    left = 0
    for at in range(count):
        if pending[at, PENDING_UNTIL] > issue:
            if left < at:
                for column in range(PENDING_WIDTH):
                    pending[left, column] = pending[at, column]
            left += 1
    return left


@kernel
def wait_for(reg, pending, count, first, length, stride, pieces, reason):
    """Wait for the pending writes that touch any of `pieces` ranges of `length` elements."""
    for at in range(count):
        write = pending[at]
        if write[PENDING_UNTIL] > reg[SB_READY_AT]:
            for piece in range(pieces):
                start = first + piece * stride
                if intersects(write, start, start + length):
                    wait_until(reg, write[PENDING_UNTIL], write[PENDING_OWNER], reason)
                    break


@small
def add_write(pending, count, first, length, stride, pieces, until, owner):
    """Append a pending write."""
    pending[count, PENDING_FIRST] = first
    pending[count, PENDING_LENGTH] = length
    pending[count, PENDING_STRIDE] = stride
    pending[count, PENDING_COUNT] = pieces
    pending[count, PENDING_END] = first + (pieces - 1) * stride + length
    pending[count, PENDING_UNTIL] = until
    pending[count, PENDING_OWNER] = owner


@small
def matrix_read(op, gp, dims):
    """(first element, length) of what an instruction reads of the matrix SRAM; length 0 for nothing."""
    if op == isa.M_TMM:
        return gp[TR_RS2], dims[DIM_MLEN] * dims[DIM_MLEN]
    if (
        op == isa.M_MM or op == isa.M_BMM or op == isa.M_BTMM or op == isa.M_MV or op == isa.M_TMV or op == isa.M_BMV
        or op == isa.M_BTMV
    ):
        return gp[TR_RS1], dims[DIM_MLEN] * dims[DIM_MLEN]
    return 0, 0


@small
def vector_read(op, gp, dims):
    """(first element, length) of what an instruction reads of the vector SRAM, a second row of V_*_VV apart."""
    if op == isa.H_STORE_V:
        return gp[TR_RD], dims[DIM_SV] * dims[DIM_VLEN]
    if op == isa.M_MM or op == isa.M_BMM or op == isa.M_BTMM:
        return gp[TR_RS2], dims[DIM_MLEN] * dims[DIM_VLEN]
    if op == isa.M_TMM:
        return gp[TR_RS1], dims[DIM_MLEN] * dims[DIM_VLEN]
    if op == isa.M_MV or op == isa.M_TMV or op == isa.M_BMV or op == isa.M_BTMV:
        return gp[TR_RS2], dims[DIM_VLEN]
    if is_vector(op):
        return gp[TR_RS1], dims[DIM_VLEN]
    return 0, 0


@small
def is_vector(op):
    """Whether an operation is a V_*; those of the later revision that read other rows have no rules."""
    return isa.V_ADD_VV <= op <= isa.V_RED_MAX or op == isa.V_SHIFT_V or op == isa.V_MAX_VF or op == isa.V_MIN_VF


@small
def matrix_write(op, gp, dims):
    """(first element, length) of what an instruction writes to the matrix SRAM."""
    if op == isa.H_PREFETCH_M:
        return gp[TR_RD], dims[DIM_PM] * dims[DIM_MLEN]
    return 0, 0


@small
def vector_write(op, rs1, imm, gp, dims):
    """(first element, length, stride, pieces) of what an instruction writes to the vector SRAM."""
    mlen = dims[DIM_MLEN]
    if op == isa.H_PREFETCH_V:
        return gp[TR_RD], dims[DIM_PV] * dims[DIM_VLEN], 0, 1
    if op == isa.M_MM_WO:
        first = (gp[TR_RD] + imm) & U32_MASK
        stride = mlen if rs1 == 0 else mlen * gp[TR_RS1]
        if stride == mlen:
            return first - first % mlen, mlen * dims[DIM_BLEN], 0, 1
        return first - first % mlen, mlen, stride, dims[DIM_BLEN] if stride > 0 else 1
    if op == isa.M_BMM_WO:
        return (gp[TR_RD] + imm) & U32_MASK, dims[DIM_BROADCAST] * mlen * mlen, 0, 1
    if op == isa.M_MV_WO:
        return (gp[TR_RD] + imm) & U32_MASK, mlen, 0, 1
    if op == isa.M_BMV_WO:
        return (gp[TR_RD] + imm) & U32_MASK, dims[DIM_BROADCAST] * mlen, 0, 1
    if (is_vector(op) and op != isa.V_RED_SUM and op != isa.V_RED_MAX) or op == isa.S_MAP_V_FP:
        return gp[TR_RD], dims[DIM_VLEN], 0, 1
    return 0, 0, 0, 0


@small
def reads_two_rows(op):
    """Whether an operation is a V_*_VV."""
    return op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV


@small
def wait_for_matrix(sb, first, length, reason):
    """Wait for pending matrix writes."""
    reg = sb.reg
    if reg[SB_MATRIX_PENDING] > 0:
        reg[SB_MATRIX_PENDING] = forget(sb.matrix_pending, reg[SB_MATRIX_PENDING], reg[SB_NEXT_ISSUE])
        wait_for(reg, sb.matrix_pending, reg[SB_MATRIX_PENDING], first, length, 0, 1, reason)


@small
def wait_for_vector(sb, first, length, stride, pieces, reason):
    """Wait for pending vector writes."""
    reg = sb.reg
    if reg[SB_VECTOR_PENDING] > 0:
        reg[SB_VECTOR_PENDING] = forget(sb.vector_pending, reg[SB_VECTOR_PENDING], reg[SB_NEXT_ISSUE])
        wait_for(reg, sb.vector_pending, reg[SB_VECTOR_PENDING], first, length, stride, pieces, reason)


@small
def wait_for_operands(sb, op, rs1, imm, gp):
    """Steps 1 and 2 of §7.9."""
    dims = sb.dims
    if dims[DIM_MATRIX_SRAM] == 1:
        first, length = matrix_read(op, gp, dims)
        if length > 0:
            wait_for_matrix(sb, first, length, MATRIX_READ)
    if dims[DIM_VECTOR_SRAM] == 1:
        first, length = vector_read(op, gp, dims)
        if length > 0:
            wait_for_vector_reads(sb, op, gp, first, length)
    if dims[DIM_MATRIX_SRAM] == 1:
        first, length = matrix_write(op, gp, dims)
        if length > 0:
            wait_for_matrix(sb, first, length, MATRIX_WRITE)
    if dims[DIM_VECTOR_SRAM] == 1:
        first, length, stride, pieces = vector_write(op, rs1, imm, gp, dims)
        if length > 0:
            wait_for_vector(sb, first, length, stride, pieces, VECTOR_WRITE)


@small
def wait_for_vector_reads(sb, op, gp, first, length):
    """Wait for the rows an instruction reads; two rows are one set of ranges, so that the order of issue decides."""
    if reads_two_rows(op):
        wait_for_vector(sb, first, length, gp[TR_RS2] - first, 2, VECTOR_READ)
    else:
        wait_for_vector(sb, first, length, 0, 1, VECTOR_READ)


@small
def add_writes(sb, op, rs1, imm, gp, until, owner):
    """Remember what the instruction in hand writes until its result is ready (§7.9 step 7); there is room."""
    reg, dims = sb.reg, sb.dims
    first, length = matrix_write(op, gp, dims)
    if length > 0 and dims[DIM_MATRIX_SRAM] == 1:
        add_write(sb.matrix_pending, reg[SB_MATRIX_PENDING], first, length, 0, 1, until, owner)
        reg[SB_MATRIX_PENDING] += 1
    first, length, stride, pieces = vector_write(op, rs1, imm, gp, dims)
    if length > 0 and dims[DIM_VECTOR_SRAM] == 1:
        add_write(sb.vector_pending, reg[SB_VECTOR_PENDING], first, length, stride, pieces, until, owner)
        reg[SB_VECTOR_PENDING] += 1
