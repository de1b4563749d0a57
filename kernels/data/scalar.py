"""Execute the scalar floating-point instructions, data side (spec §1.6)."""

import math

import numpy as np

from plena_emu import isa

from ..compiler.jit import kernel
from ..layout import CFG_SRAM_MANTISSA, CFG_VLEN
from .floats import bits_of, exp_f32
from .numerics import round_bf16, round_bits


@kernel
def fp_result(op, x, y):
    """Compute the f32 result of a scalar operation on x = fp[rs1], y = fp[rs2]."""
    if op == isa.S_ADD_FP:
        return x + y
    if op == isa.S_SUB_FP:
        return x - y
    if op == isa.S_MUL_FP:
        return x * y
    if op == isa.S_MAX_FP:
        return y if y > x else x
    if op == isa.S_EXP_FP:
        return exp_f32(x)
    if op == isa.S_RECI_FP:
        return np.float32(1.0) / x
    # The f32 root is correctly rounded from the f64 one; a negative argument is NaN.
    return np.float32(np.nan) if x < np.float32(0.0) else np.float32(math.sqrt(x))


@kernel
def scalar_fp(cfg, fp, fp_sram, row_words, row_touched, op, a, b, c):
    """Execute an S_*_FP event."""
    if op == isa.S_LD_FP:
        fp[a] = fp_sram[b]
    elif op == isa.S_ST_FP:
        fp_sram[b] = fp[a]
    elif op == isa.S_MAP_V_FP:
        at = a * cfg[CFG_VLEN]
        for j in range(cfg[CFG_VLEN]):
            row_words[at + j] = round_bits(bits_of(fp_sram[b + j]), cfg[CFG_SRAM_MANTISSA])
        row_touched[a] = 1
    else:
        fp[a] = round_bf16(fp_result(op, fp[b], fp[c]))
