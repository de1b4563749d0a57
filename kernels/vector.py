"""Vector instructions, data side (spec §1.5, masking, §1.8).

Every operation computes the whole row into `scratch`, puts back the elements of sections that are
not selected, and rounds once into the target row.
"""

import numpy as np

from plena_emu import isa

from .floats import exp_f32
from .jit import kernel
from .layout import CFG_HLEN, CFG_SRAM_MANTISSA, CFG_VLEN
from .numerics import round_bf16, round_bits
from .reduce import row_max, row_sum

CLAMP = np.float32(88.0)


@kernel
def store_row(d, row):
    """Round `scratch` to the SRAM type into a row."""
    vlen = d.cfg[CFG_VLEN]
    man_bits = d.cfg[CFG_SRAM_MANTISSA]
    at = row * vlen
    if man_bits == 7:  # bf16 as a constant vectorises
        for j in range(vlen):
            d.row_words[at + j] = round_bits(np.int64(d.scratch_words[j]), 7)
    else:
        for j in range(vlen):
            d.row_words[at + j] = round_bits(np.int64(d.scratch_words[j]), man_bits)
    d.row_touched[row] = 1


@kernel
def selected(mask, section):
    """Whether bit `section` of the vector mask is set (bits past 31 are not)."""
    return section < 32 and (mask >> section) & 1 == 1


@kernel
def pass_through(d, a0, mask, clamped):
    """Put the elements of row a at a0 back into the sections of `scratch` that are not selected."""
    hlen = d.cfg[CFG_HLEN]
    vlen = d.cfg[CFG_VLEN]
    sections = vlen // hlen
    for j in range(vlen):
        if j // hlen < sections and selected(mask, j // hlen):
            continue
        x = d.rows[a0 + j]
        if clamped:
            x = CLAMP if x > CLAMP else x
            x = -CLAMP if x < -CLAMP else x
        d.scratch[j] = x


@kernel
def two_rows(d, op, a0, b0):
    """scratch = row a (op) row b."""
    n = d.cfg[CFG_VLEN]
    if op == isa.V_ADD_VV:
        for j in range(n):
            d.scratch[j] = d.rows[a0 + j] + d.rows[b0 + j]
    elif op == isa.V_SUB_VV:
        for j in range(n):
            d.scratch[j] = d.rows[a0 + j] - d.rows[b0 + j]
    else:
        for j in range(n):
            d.scratch[j] = d.rows[a0 + j] * d.rows[b0 + j]


@kernel
def row_and_scalar(d, op, a0, f, order):
    """scratch = row a (op) f."""
    n = d.cfg[CFG_VLEN]
    if op == isa.V_ADD_VF:
        for j in range(n):
            d.scratch[j] = d.rows[a0 + j] + f
    elif op == isa.V_MUL_VF:
        for j in range(n):
            d.scratch[j] = d.rows[a0 + j] * f
    elif op == isa.V_SUB_VF and order == 0:
        for j in range(n):
            d.scratch[j] = d.rows[a0 + j] - f
    elif op == isa.V_SUB_VF:
        for j in range(n):
            d.scratch[j] = -(d.rows[a0 + j] - f)
    else:
        clamp_row(d, op, a0, f)


@kernel
def clamp_row(d, op, a0, f):
    """V_MAX_VF, V_MIN_VF: a NaN in either operand gives NaN (§1.8)."""
    for j in range(d.cfg[CFG_VLEN]):
        x = d.rows[a0 + j]
        if f != f:
            x = f
        elif op == isa.V_MAX_VF and x < f:
            x = f
        elif op == isa.V_MIN_VF and x > f:
            x = f
        d.scratch[j] = x


@kernel
def one_row(d, op, a0):
    """scratch = exp(row a) or 1 / row a."""
    n = d.cfg[CFG_VLEN]
    if op == isa.V_EXP_V:
        for j in range(n):
            d.scratch[j] = exp_f32(d.rows[a0 + j])
    else:
        for j in range(n):
            d.scratch[j] = np.float32(1.0) / d.rows[a0 + j]


@kernel
def shift_row(d, a0, shift):
    """scratch = row a moved `shift` elements up, zeros entering at index 0."""
    n = d.cfg[CFG_VLEN]
    for j in range(shift):
        d.scratch[j] = np.float32(0.0)
    for j in range(shift, n):
        d.scratch[j] = d.rows[a0 + j - shift]


@kernel
def elementwise(d, op, target, a, b, mask, order):
    """Vector instructions that write a row."""
    vlen = d.cfg[CFG_VLEN]
    a0 = a * vlen
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        two_rows(d, op, a0, b * vlen)
    elif op == isa.V_EXP_V or op == isa.V_RECI_V:
        one_row(d, op, a0)
    elif op == isa.V_SHIFT_V:
        shift_row(d, a0, b)
    else:
        row_and_scalar(d, op, a0, d.fp[b], order)
    if mask != -1 and op != isa.V_SHIFT_V:
        pass_through(d, a0, mask, op == isa.V_EXP_V)
    store_row(d, target)


@kernel
def reduce_sections(d, op, a0, mask):
    """scratch = row a with every selected section overwritten by its own sum or maximum (§1.5)."""
    hlen = d.cfg[CFG_HLEN]
    vlen = d.cfg[CFG_VLEN]
    d.scratch[:vlen] = d.rows[a0 : a0 + vlen]
    for section in range(vlen // hlen):
        if not selected(mask, section):
            continue
        first = section * hlen
        if op == isa.V_RED_SUM:
            value = row_sum(d.scratch, first, hlen, d.part)
        else:
            value = row_max(d.scratch, first, hlen)
        d.scratch[first : first + hlen] = value


@kernel
def reduction(d, op, register, a, mask):
    """V_RED_SUM, V_RED_MAX."""
    vlen = d.cfg[CFG_VLEN]
    source = d.rows
    first = a * vlen
    if mask != -1:
        reduce_sections(d, op, first, mask)
        source = d.scratch
        first = 0
    old = d.fp[register]
    if op == isa.V_RED_SUM:
        d.fp[register] = round_bf16(old + row_sum(source, first, vlen, d.part))
        return
    value = row_max(source, first, vlen)
    if value != value or old > value:
        return  # fp registers are bf16 already
    d.fp[register] = round_bf16(value)
