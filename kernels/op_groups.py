"""Tell groups of operations apart; their ranges of op ids stand in the instruction table (spec §1.3)."""

from plena_emu import isa

from .compiler.jit import small


@small
def is_write_out(op):
    """Tell whether an operation writes an accumulator out and clears it (§1.4)."""
    return op == isa.M_MM_WO or op == isa.M_MV_WO or op == isa.M_BMM_WO or op == isa.M_BMV_WO


@small
def is_matrix(op):
    """Tell whether an operation is a matrix product or a write-out (§1.4)."""
    return isa.FIRST_MATRIX <= op <= isa.LAST_MATRIX


@small
def is_elementwise(op):
    """Tell whether an operation makes a vector row of one or two others, or of one and a scalar (§1.5, §1.8)."""
    return (
        isa.FIRST_ROW <= op <= isa.LAST_ROW or isa.FIRST_SHIFT <= op <= isa.LAST_SHIFT
        or isa.FIRST_CLAMP <= op <= isa.LAST_CLAMP
    )


@small
def is_reduction(op):
    """Tell whether an operation makes a scalar of a vector row (§1.5)."""
    return isa.FIRST_REDUCTION <= op <= isa.LAST_REDUCTION


@small
def is_vector(op):
    """Tell whether an operation reads vector rows (§1.5, §1.8); S_MAP_V_FP only writes one and counts as fp."""
    return is_elementwise(op) or is_reduction(op) or isa.FIRST_TOPK <= op <= isa.LAST_TOPK


@small
def is_fp(op):
    """Tell whether an operation belongs to the scalar floating-point unit (§1.6)."""
    return isa.FIRST_FP <= op <= isa.LAST_FP


@small
def is_memory(op):
    """Tell whether an operation is a prefetch or a store (§1.7)."""
    return isa.FIRST_MEMORY <= op <= isa.LAST_MEMORY
