"""Fill tables and round values when a machine is built: small kernels that run once."""

import numpy as np

from ..compiler.jit import entry
from ..layout import FMT_BITS
from .numerics import decode, round_bf16, round_bits


@entry
def fill_table(fmt, table):
    """Set table[code] to the value of every code of a format of up to 8 bits (§2.2)."""
    for code in range(1 << fmt[FMT_BITS]):
        table[code] = decode(code, fmt)


@entry
def to_bf16(values):
    """Round f32[n] in place to bf16, a NaN staying a NaN (§2.3)."""
    for i in range(values.shape[0]):
        values[i] = round_bf16(values[i])


@entry
def round_words(words, out, man_bits):
    """Set out[i] to the f32 bits words[i] rounded to `man_bits` mantissa bits (§2.3); both uint32[n]."""
    for i in range(words.shape[0]):
        out[i] = round_bits(np.int64(words[i]), man_bits)
