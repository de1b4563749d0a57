"""Read numbers from text eight bytes at a time: the bytes of a 64-bit word are worked on together.

Words are int64 bit patterns whose lowest byte is the first character. Compiled alone: without numba single bytes are no
slower, and `trace_text` reads those.
"""

import numpy as np

from ..compiler.jit import JIT, small

ZEROS = 0x3030303030303030  # "00000000"
LOW_BITS = 0x7F7F7F7F7F7F7F7F
HIGH_BITS = np.int64(-0x7F7F7F7F7F7F7F80)
LOWER_CASE = 0x2020202020202020
BEFORE_A = 0x6060606060606060  # the character before "a", eight times
ABOVE_9 = 0x7676767676767676  # added, what is above 9 gets its high bit
ABOVE_6 = 0x7979797979797979
ONES = 0x0101010101010101
NIBBLES = 0x0F0F0F0F0F0F0F0F
TENS = 10 ** np.arange(9, dtype=np.int64)

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import element_pointer

    @intrinsic
    def load_word(typingctx, text, at):
        """Load the eight bytes of a text from `at` on."""
        signature = types.int64(text, types.int64)

        def codegen(context, builder, sig, args):
            text = context.make_array(sig.args[0])(context, builder, args[0])
            return builder.load(element_pointer(builder, text, args[1], ir.IntType(64)), align=1)

        return signature, codegen

    @intrinsic
    def bytes_below(typingctx, word):
        """Count the bytes of a word below the lowest bit that is set, 8 of 0."""
        signature = types.int64(types.int64)

        def codegen(context, builder, sig, args):
            bits = builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))
            return builder.lshr(bits, ir.Constant(bits.type, 3))

        return signature, codegen

else:

    def load_word(text, at):
        """Load the eight bytes of a text from `at` on."""
        return int.from_bytes(text[at : at + 8].tobytes(), "little", signed=True)

    def bytes_below(word):
        """Count the bytes of a word below the lowest bit that is set, 8 of 0."""
        return ((word & -word).bit_length() - 1) // 8 if word else 8


@small
def decimal_digits(word):
    """Count the decimal digits at the start of a word."""
    found = word ^ ZEROS
    return bytes_below((((found & LOW_BITS) + ABOVE_9) | found) & HIGH_BITS)


@small
def decimal_of(word, digits):
    """Compute the value of the first 1 to 8 bytes of a word, decimal digits: neighbours are joined three times."""
    value = (word ^ ZEROS) << (64 - 8 * digits)
    value = ((value & NIBBLES) * ((10 << 8) + 1)) >> 8
    value = ((value & 0x00FF00FF00FF00FF) * ((100 << 16) + 1)) >> 16
    return (((value & 0x0000FFFF0000FFFF) * ((10000 << 32) + 1)) >> 32) & 0xFFFFFFFF


@small
def hex_digits(word):
    """Count the hexadecimal digits at the start of a word, in letters of either size."""
    decimal = word ^ ZEROS
    no_decimal = ((decimal & LOW_BITS) + ABOVE_9) | decimal
    letter = (word | LOWER_CASE) ^ BEFORE_A
    no_letter = ((letter & LOW_BITS) + ABOVE_6) | letter | ~((letter & LOW_BITS) + LOW_BITS)
    return bytes_below(no_decimal & no_letter & HIGH_BITS)


@small
def hex_of(word, digits):
    """Compute the value of the first 1 to 8 bytes of a word, hexadecimal digits."""
    value = ((word & NIBBLES) + 9 * ((word >> 6) & ONES)) << (64 - 8 * digits)
    value = ((value << 4) | (value >> 8)) & 0x00FF00FF00FF00FF
    value = ((value << 8) | (value >> 16)) & 0x0000FFFF0000FFFF
    return ((value << 16) | (value >> 32)) & 0xFFFFFFFF


@small
def decimal_at(text, at):
    """Read a decimal number of at most 24 digits at `at`.

    Returns (value, digits); of more than 18 digits the value means nothing, without any digit it is 0.
    """
    word = load_word(text, at)
    digits = decimal_digits(word)
    if digits == 0:
        return np.int64(0), digits
    value = decimal_of(word, digits)
    if digits < 8:
        return value, digits
    for _ in range(2):
        word = load_word(text, at + digits)
        more = decimal_digits(word)
        if more > 0:
            value = value * TENS[more] + decimal_of(word, more)
        digits += more
        if more < 8:
            break
    return value, digits


@small
def hex_at(text, at):
    """Read a hexadecimal number of at most 24 digits at `at`.

    Returns (value, digits); of more than 16 digits the value means nothing, without any digit it is 0.
    """
    value, digits = np.int64(0), np.int64(0)
    for _ in range(3):
        word = load_word(text, at + digits)
        more = hex_digits(word)
        if more > 0:
            value = (value << (4 * more)) | hex_of(word, more)
        digits += more
        if more < 8:
            break
    return value, digits
