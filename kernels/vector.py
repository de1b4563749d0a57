"""Vector instructions, data side (spec §1.5, masking, §1.8).

Every operation computes the whole row into `work`, puts back the elements of sections that are
not selected, and rounds once into the target row.
"""

import numpy as np

from plena_emu import isa

from .floats import exp_f32
from .jit import kernel
from .layout import CFG_HLEN, CFG_SRAM_MANTISSA, CFG_VLEN
from .numerics import round_bf16
from .reduce import row_max, row_sum
from .row_lanes import round_values

CLAMP = np.float32(88.0)


@kernel
def store_row(cfg, work, row_words, row_touched, row):
    """Round the first VLEN elements of `work` to the SRAM type into a row."""
    vlen = cfg[CFG_VLEN]
    round_values(work, 0, row_words, row * vlen, vlen, cfg[CFG_SRAM_MANTISSA])
    row_touched[row] = 1


@kernel
def selected(mask, section):
    """Whether bit `section` of the vector mask is set (bits past 31 are not)."""
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
    """out = row a (op) row b."""
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
    """out = row a (op) f."""
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
    """V_MAX_VF, V_MIN_VF: a NaN in either operand gives NaN (§1.8)."""
    for j in range(n):
        x = a[j]
        if f != f:
            x = f
        elif op == isa.V_MAX_VF and x < f:
            x = f
        elif op == isa.V_MIN_VF and x > f:
            x = f
        out[j] = x


@kernel
def one_row(n, a, out, op):
    """out = exp(row a) or 1 / row a."""
    if op == isa.V_EXP_V:
        for j in range(n):
            out[j] = exp_f32(a[j])
    else:
        for j in range(n):
            out[j] = np.float32(1.0) / a[j]


@kernel
def shift_row(n, a, shift, out):
    """out = row a moved `shift` elements up, zeros entering at index 0."""
    for j in range(shift):
        out[j] = np.float32(0.0)
    for j in range(shift, n):
        out[j] = a[j - shift]


@kernel
def elementwise(cfg, rows, row_words, row_touched, fp, work, op, target, a, b, mask, order):
    """Vector instructions that write a row."""
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
def reduce_sections(cfg, rows, work, part, op, a0, mask):
    """work = row a with every selected section overwritten by its own sum or maximum (§1.5)."""
    hlen = cfg[CFG_HLEN]
    vlen = cfg[CFG_VLEN]
    for j in range(vlen):
        work[j] = rows[a0 + j]
    for section in range(vlen // hlen):
        if not selected(mask, section):
            continue
        first = section * hlen
        if op == isa.V_RED_SUM:
            value = row_sum(work, first, hlen, part)
        else:
            value = row_max(work, first, hlen)
        for j in range(first, first + hlen):
            work[j] = value


@kernel
def reduction(cfg, rows, fp, work, part, op, register, a, mask):
    """V_RED_SUM, V_RED_MAX."""
    vlen = cfg[CFG_VLEN]
    source = rows
    first = a * vlen
    if mask != -1:
        reduce_sections(cfg, rows, work, part, op, first, mask)
        source = work
        first = 0
    old = fp[register]
    if op == isa.V_RED_SUM:
        fp[register] = round_bf16(old + row_sum(source, first, vlen, part))
        return
    value = row_max(source, first, vlen)
    if value != value or old > value:
        return  # fp registers are bf16 already
    fp[register] = round_bf16(value)
