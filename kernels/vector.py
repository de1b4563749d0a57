"""Vector instructions, data side (spec §1.5, masking, §1.8).

Every operation computes the whole row into `work`, puts back the elements of sections that are
not selected, and rounds once into the target row.
"""

import numpy as np

from plena_emu import isa

from .floats import bits_of, exp_f32
from .jit import kernel
from .layout import CFG_HLEN, CFG_SRAM_MANTISSA, CFG_VLEN
from .numerics import round_bf16, round_bits
from .reduce import row_max, row_sum

CLAMP = np.float32(88.0)


@kernel
def store_row(cfg, work, row_words, row_touched, row):
    """Round the first VLEN elements of `work` to the SRAM type into a row."""
    vlen = cfg[CFG_VLEN]
    man_bits = cfg[CFG_SRAM_MANTISSA]
    at = row * vlen
    if man_bits == 7:  # bf16 as a constant vectorises
        for j in range(vlen):
            row_words[at + j] = round_bits(bits_of(work[j]), 7)
    else:
        for j in range(vlen):
            row_words[at + j] = round_bits(bits_of(work[j]), man_bits)
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
def two_rows(cfg, rows, work, op, a0, b0):
    """work = row a (op) row b."""
    n = cfg[CFG_VLEN]
    if op == isa.V_ADD_VV:
        for j in range(n):
            work[j] = rows[a0 + j] + rows[b0 + j]
    elif op == isa.V_SUB_VV:
        for j in range(n):
            work[j] = rows[a0 + j] - rows[b0 + j]
    else:
        for j in range(n):
            work[j] = rows[a0 + j] * rows[b0 + j]


@kernel
def row_and_scalar(cfg, rows, work, op, a0, f, order):
    """work = row a (op) f."""
    n = cfg[CFG_VLEN]
    if op == isa.V_ADD_VF:
        for j in range(n):
            work[j] = rows[a0 + j] + f
    elif op == isa.V_MUL_VF:
        for j in range(n):
            work[j] = rows[a0 + j] * f
    elif op == isa.V_SUB_VF and order == 0:
        for j in range(n):
            work[j] = rows[a0 + j] - f
    elif op == isa.V_SUB_VF:
        for j in range(n):
            work[j] = -(rows[a0 + j] - f)
    else:
        clamp_row(cfg, rows, work, op, a0, f)


@kernel
def clamp_row(cfg, rows, work, op, a0, f):
    """V_MAX_VF, V_MIN_VF: a NaN in either operand gives NaN (§1.8)."""
    for j in range(cfg[CFG_VLEN]):
        x = rows[a0 + j]
        if f != f:
            x = f
        elif op == isa.V_MAX_VF and x < f:
            x = f
        elif op == isa.V_MIN_VF and x > f:
            x = f
        work[j] = x


@kernel
def one_row(cfg, rows, work, op, a0):
    """work = exp(row a) or 1 / row a."""
    n = cfg[CFG_VLEN]
    if op == isa.V_EXP_V:
        for j in range(n):
            work[j] = exp_f32(rows[a0 + j])
    else:
        for j in range(n):
            work[j] = np.float32(1.0) / rows[a0 + j]


@kernel
def shift_row(cfg, rows, work, a0, shift):
    """work = row a moved `shift` elements up, zeros entering at index 0."""
    n = cfg[CFG_VLEN]
    for j in range(shift):
        work[j] = np.float32(0.0)
    for j in range(shift, n):
        work[j] = rows[a0 + j - shift]


@kernel
def elementwise(cfg, rows, row_words, row_touched, fp, work, op, target, a, b, mask, order):
    """Vector instructions that write a row."""
    vlen = cfg[CFG_VLEN]
    a0 = a * vlen
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        two_rows(cfg, rows, work, op, a0, b * vlen)
    elif op == isa.V_EXP_V or op == isa.V_RECI_V:
        one_row(cfg, rows, work, op, a0)
    elif op == isa.V_SHIFT_V:
        shift_row(cfg, rows, work, a0, b)
    else:
        row_and_scalar(cfg, rows, work, op, a0, fp[b], order)
    if mask != -1 and op != isa.V_SHIFT_V:
        pass_through(cfg, rows, work, a0, mask, op == isa.V_EXP_V)
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
