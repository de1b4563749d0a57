"""Execute the vector instructions, data side (spec §1.5, masking, §1.8).

In general an operation computes the whole row into `work`, puts back the elements of sections that are
not selected, and rounds once into the target row; the usual ones without a mask pass over the row once.
"""

import numpy as np

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import CFG_HLEN, CFG_SRAM_MANTISSA, CFG_VLEN
from .floats import bits_of, exp_f32, float_of
from .numerics import round_bf16, round_bits
from .reduce import long_row_max, row_max, row_sum
from .row_lanes import (
    ONE,
    SIMD_WIDTH,
    minus_row,
    one_over_row,
    round_values,
    row_minus,
    row_minus_row,
    row_plus,
    row_plus_row,
    row_times,
    row_times_row,
)

CLAMP = np.float32(88.0)
BF16_MANTISSA = 7


@kernel
def store_row(cfg, work, row_words, row_touched, row):
    """Round the first VLEN elements of `work` to the SRAM type into a row."""
    vlen = cfg[CFG_VLEN]
    round_values(work, 0, row_words, row * vlen, vlen, cfg[CFG_SRAM_MANTISSA])
    row_touched[row] = 1


@kernel
def selected(mask, section):
    """Tell whether bit `section` of the vector mask is set (bits past 31 are not)."""
    return section < 32 and (mask >> section) & 1 == 1


@kernel
def pass_through(cfg, rows, work, a0, mask, clamped):
    """Put the elements of row a at a0 back into the sections of `work` that are not selected."""
    hlen = cfg[CFG_HLEN]
    vlen = cfg[CFG_VLEN]
    sections = vlen // hlen
    for j in range(vlen):
        if j // hlen < sections and selected(mask, j // hlen):
            continue
        x = rows[a0 + j]
        if clamped:
            x = CLAMP if x > CLAMP else x
            x = -CLAMP if x < -CLAMP else x
        work[j] = x


@kernel
def two_rows(n, a, b, out, op):
    """Compute out = row a (op) row b."""
    if op == isa.V_ADD_VV:
        for j in range(n):
            out[j] = a[j] + b[j]
    elif op == isa.V_SUB_VV:
        for j in range(n):
            out[j] = a[j] - b[j]
    else:
        for j in range(n):
            out[j] = a[j] * b[j]


@kernel
def row_and_scalar(n, a, f, out, op, order):
    """Compute out = row a (op) f."""
    if op == isa.V_ADD_VF:
        for j in range(n):
            out[j] = a[j] + f
    elif op == isa.V_MUL_VF:
        for j in range(n):
            out[j] = a[j] * f
    elif op == isa.V_SUB_VF and order == 0:
        for j in range(n):
            out[j] = a[j] - f
    elif op == isa.V_SUB_VF:
        for j in range(n):
            out[j] = -(a[j] - f)
    else:
        clamp_row(n, a, f, out, op)


@kernel
def clamp_row(n, a, f, out, op):
    """Compute V_MAX_VF or V_MIN_VF: a NaN in either operand gives NaN (§1.8)."""
    for j in range(n):
        x = a[j]
        if f != f or op == isa.V_MAX_VF and x < f or op == isa.V_MIN_VF and x > f:
            x = f
        out[j] = x


@kernel
def one_row(n, a, out, op):
    """Compute out = exp(row a) or 1 / row a."""
    if op == isa.V_EXP_V:
        for j in range(n):
            out[j] = exp_f32(a[j])
    else:
        for j in range(n):
            out[j] = np.float32(1.0) / a[j]


@kernel
def shift_row(n, a, shift, out):
    """Compute out = row a moved `shift` elements up, zeros entering at index 0."""
    for j in range(shift):
        out[j] = np.float32(0.0)
    for j in range(shift, n):
        out[j] = a[j - shift]


@kernel
def exp_row(row_words, target, a, n, codes):
    """Execute V_EXP_V on bf16 rows by table.

    `codes` has exp by the bf16 code of its argument, 0 until it is asked for (no exp is 0).
    """
    source = row_words[a * n : (a + 1) * n]
    out = row_words[target * n : (target + 1) * n]
    for j in range(n):
        argument = np.int64(source[j]) >> 16
        code = np.int64(codes[argument])
        if code == 0:
            code = round_bits(bits_of(exp_f32(float_of(argument << 16))), BF16_MANTISSA) >> 16
            codes[argument] = code
        out[j] = code << 16


@kernel
def whole_row(rows, row_words, fp, op, target, a, b, order, n, drop):
    """Execute a vector instruction without mask in one pass over a row of a multiple of eight elements."""
    a0 = a * n
    o = target * n
    vectors = n // SIMD_WIDTH
    if op == isa.V_ADD_VV:
        row_plus_row(rows, a0, rows, b * n, ONE, row_words, o, vectors, drop)
    elif op == isa.V_MUL_VV:
        row_times_row(rows, a0, rows, b * n, ONE, row_words, o, vectors, drop)
    elif op == isa.V_SUB_VV:
        row_minus_row(rows, a0, rows, b * n, ONE, row_words, o, vectors, drop)
    elif op == isa.V_ADD_VF:
        row_plus(rows, a0, rows, a0, fp[b], row_words, o, vectors, drop)
    elif op == isa.V_MUL_VF:
        row_times(rows, a0, rows, a0, fp[b], row_words, o, vectors, drop)
    elif op == isa.V_RECI_V:
        one_over_row(rows, a0, rows, a0, ONE, row_words, o, vectors, drop)
    elif order == 0:
        row_minus(rows, a0, rows, a0, fp[b], row_words, o, vectors, drop)
    else:
        minus_row(rows, a0, rows, a0, fp[b], row_words, o, vectors, drop)


@kernel
def copy_shifted(row_words, target, a, shift, n):
    """Execute V_SHIFT_V between two rows: values that are rounded already are moved `shift` elements up."""
    out = row_words[target * n : target * n + shift]
    for j in range(shift):
        out[j] = 0
    source = row_words[a * n : (a + 1) * n - shift]
    out = row_words[target * n + shift : (target + 1) * n]
    for j in range(n - shift):
        out[j] = source[j]


@small
def is_whole_row(op):
    """Tell whether `whole_row` has the operation."""
    return isa.FIRST_ROW <= op <= isa.LAST_ROW and op != isa.V_EXP_V


@kernel
def elementwise(cfg, rows, row_words, row_touched, fp, work, exp_codes, op, target, a, b, mask, order):
    """Execute a vector instruction that writes a row."""
    n = cfg[CFG_VLEN]
    man_bits = cfg[CFG_SRAM_MANTISSA]
    if mask == -1 and op == isa.V_EXP_V and man_bits == BF16_MANTISSA:
        exp_row(row_words, target, a, n, exp_codes)
        row_touched[target] = 1
    elif mask == -1 and is_whole_row(op) and n % SIMD_WIDTH == 0 and man_bits < 23:
        whole_row(rows, row_words, fp, op, target, a, b, order, n, 23 - man_bits)
        row_touched[target] = 1
    elif op == isa.V_SHIFT_V and target != a and 0 <= b <= n:
        copy_shifted(row_words, target, a, b, n)
        row_touched[target] = 1
    else:
        elementwise_in_steps(cfg, rows, row_words, row_touched, fp, work, op, target, a, b, mask, order)


@kernel
def elementwise_in_steps(cfg, rows, row_words, row_touched, fp, work, op, target, a, b, mask, order):
    """Do the same for every row length, SRAM type and mask: operation, mask, rounding."""
    n = cfg[CFG_VLEN]
    # Slices, because indices that cannot be negative let the loops become vector instructions.
    row = rows[a * n : (a + 1) * n]
    out = work[:n]
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        two_rows(n, row, rows[b * n : (b + 1) * n], out, op)
    elif op == isa.V_EXP_V or op == isa.V_RECI_V:
        one_row(n, row, out, op)
    elif op == isa.V_SHIFT_V:
        shift_row(n, row, b, out)
    else:
        row_and_scalar(n, row, fp[b], out, op, order)
    if mask != -1 and op != isa.V_SHIFT_V:
        pass_through(cfg, rows, work, a * n, mask, op == isa.V_EXP_V)
    store_row(cfg, work, row_words, row_touched, target)


@kernel
def reduce_sections(cfg, rows, work, partial_sums, op, a0, mask):
    """Copy row a to `work` with every selected section overwritten by its own sum or maximum (§1.5)."""
    hlen = cfg[CFG_HLEN]
    vlen = cfg[CFG_VLEN]
    for j in range(vlen):
        work[j] = rows[a0 + j]
    for section in range(vlen // hlen):
        if not selected(mask, section):
            continue
        first = section * hlen
        if op == isa.V_RED_SUM:
            value = row_sum(work, first, hlen, partial_sums)
        else:
            value = row_max(work, first, hlen)
        for j in range(first, first + hlen):
            work[j] = value


@kernel
def reduction(cfg, rows, fp, work, partial_sums, op, register, a, mask):
    """Execute V_RED_SUM or V_RED_MAX."""
    vlen = cfg[CFG_VLEN]
    source = rows
    first = a * vlen
    if mask != -1:
        reduce_sections(cfg, rows, work, partial_sums, op, first, mask)
        source = work
        first = 0
    old = fp[register]
    if op == isa.V_RED_SUM:
        fp[register] = round_bf16(old + row_sum(source, first, vlen, partial_sums))
        return
    if vlen % SIMD_WIDTH == 0:
        value = long_row_max(source, first, vlen, partial_sums)
    else:
        value = row_max(source, first, vlen)
    if value != value or old > value:
        return  # fp registers are bf16 already
    fp[register] = round_bf16(value)
