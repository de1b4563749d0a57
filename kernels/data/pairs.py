"""Keep rows and tiles as pairs of bf16, which some CPUs multiply at twice the rate of f32 (spec §2.5).

A pair is a word with two adjacent terms of a product, the first in its upper half:

    terms k, k + 1 of a row, as f32     3f80 0000  4049 0000
    their pair                          3f80 4049

The instruction adds the product of the upper halves to the sum, then that of the lower halves, with a rounding each:
the sequential order. It takes numbers below 2**-126 for 0 and gives 0 for them, so pairs are used only where none can
arise, and where the bits are those of f32 in both ways of rounding: every operand is a bf16 that is 0 or has a
magnitude of at most `LARGEST`, and their least exponents sum to at least `LEAST_SUM`. Then each product and each
rounded sum is a multiple of 2**-126.

The pairs of a row are made when a product first needs them, and hold until the row is written: the maps of what was
ever written say so (`UNWRITTEN` to `FIT`).
"""

import numpy as np

from ..compiler.jit import JIT, kernel, small
from ..layout import CFG_BLEN, CFG_MLEN, CFG_VLEN
from .microkernel import HAS_PAIRS

# What the maps of written rows and tiles hold. Whoever writes a row says WRITTEN, and so drops its pairs.
UNWRITTEN = 0  # since the start of the run: no pairs are made, a program hardly multiplies those
WRITTEN = 1  # and no pairs were made since
UNFIT = 2  # the values do not allow pairs
FIT = 3  # pairs are there; FIT - 1 + the least biased exponent of a value that is not 0, up to FIT + MOST_EXPONENT - 1

MOST_EXPONENT = 182  # biased, of an f32: values below 2**56, of which 65,536 products sum to less than 2**128
LARGEST = MOST_EXPONENT + 1 << 23  # bits of the first magnitude that is too large
LEAST_SUM = 142  # of two biased exponents: the last of 14 bits behind a product of 2**-112 is worth 2**-126
LANES = 16
HALF_LANES = 8
LOWER = 0xFFFF
UPPER = 0xFFFF0000
MAGNITUDE = 0x7FFFFFFF
NOTHING = 0xFFFFFFFF  # least magnitude, less one, of zeros

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import element_pointer, reduced

    def _compiled(lanes, across):
        """Make the intrinsic that pairs f32 a vector at a time."""
        words = ir.VectorType(ir.IntType(32), lanes)
        double = ir.VectorType(ir.IntType(32), 2 * lanes)

        def constant(value):
            return ir.Constant(words, [value] * lanes)

        def every_other(builder, value, first):
            mask = ir.Constant(words, [first + 2 * lane for lane in range(lanes)])
            return builder.shuffle_vector(value, ir.Constant(double, ir.Undefined), mask)

        def smaller(builder, a, b):
            return builder.select(builder.icmp_unsigned("<", a, b), a, b)

        def larger(builder, a, b):
            return builder.select(builder.icmp_unsigned(">", a, b), a, b)

        @intrinsic
        def pair(typingctx, source, at, next_term, step, pairs, o, pair_step, count):
            signature = types.int64(source, at, next_term, step, pairs, o, pair_step, count)

            def codegen(context, builder, sig, args):
                origin = context.make_array(sig.args[0])(context, builder, args[0])
                target = context.make_array(sig.args[4])(context, builder, args[4])
                at, next_term, step, o, pair_step, count = (args[i] for i in (1, 2, 3, 5, 6, 7))
                loose, low, high = (cgutils.alloca_once_value(builder, constant(v)) for v in (0, NOTHING, 0))

                def terms(first):
                    if across:
                        places = (first, builder.add(first, next_term))
                        return [builder.load(element_pointer(builder, origin, i, words), align=4) for i in places]
                    value = builder.load(element_pointer(builder, origin, first, double), align=4)
                    return every_other(builder, value, 0), every_other(builder, value, 1)

                with cgutils.for_range(builder, count) as loop:
                    first, second = terms(builder.add(at, builder.mul(loop.index, step)))
                    word = builder.or_(builder.and_(first, constant(UPPER)), builder.lshr(second, constant(16)))
                    place = builder.add(o, builder.mul(loop.index, pair_step))
                    builder.store(word, element_pointer(builder, target, place, words), align=4)
                    for term in (first, second):
                        builder.store(builder.or_(builder.load(loose), term), loose)
                        magnitude = builder.and_(term, constant(MAGNITUDE))
                        builder.store(larger(builder, builder.load(high), magnitude), high)
                        magnitude = builder.sub(magnitude, constant(1))
                        builder.store(smaller(builder, builder.load(low), magnitude), low)
                found = [reduced(builder, name, builder.load(v)) for name, v in
                         (("or", loose), ("umin", low), ("umax", high))]
                loose, low, high = (builder.zext(value, at.type) for value in found)
                is_loose = builder.icmp_signed("!=", builder.and_(loose, ir.Constant(at.type, LOWER)),
                                               ir.Constant(at.type, 0))
                high = builder.select(is_loose, ir.Constant(at.type, MAGNITUDE), high)
                return builder.or_(builder.shl(high, ir.Constant(at.type, 32)), low)

            return signature, codegen

        return pair

    @intrinsic
    def least_of_eight(typingctx, values, at):
        """Find the least of eight adjacent uint8."""
        signature = types.int64(values, at)
        eight = ir.VectorType(ir.IntType(8), HALF_LANES)

        def codegen(context, builder, sig, args):
            array = context.make_array(sig.args[0])(context, builder, args[0])
            loaded = builder.load(element_pointer(builder, array, args[1], eight), align=1)
            return builder.zext(reduced(builder, "umin", loaded), args[1].type)

        return signature, codegen

else:

    def least_of_eight(values, at):
        """Find the same in numpy, for runs without the compiler."""
        return int(values[at : at + HALF_LANES].min())


def _plain(lanes, across):
    """Make the same in numpy, for runs without the compiler."""

    def pair(source, at, next_term, step, pairs, o, pair_step, count):
        low, high, loose = NOTHING, 0, False
        for i in range(count):
            first = at + i * step
            if across:
                x, y = source[first : first + lanes], source[first + next_term : first + next_term + lanes]
            else:
                x, y = source[first : first + 2 * lanes : 2], source[first + 1 : first + 2 * lanes : 2]
            x, y = np.ascontiguousarray(x).view(np.uint32), np.ascontiguousarray(y).view(np.uint32)
            pairs[o + i * pair_step : o + i * pair_step + lanes] = x & np.uint32(UPPER) | y >> np.uint32(16)
            both = np.concatenate((x, y))
            magnitudes = (both & np.uint32(MAGNITUDE)).astype(np.int64)
            loose = loose or bool((both & np.uint32(LOWER)).any())
            low = min(low, int(((magnitudes - 1) & NOTHING).min()))
            high = max(high, int(magnitudes.max()))
        return (MAGNITUDE if loose else high) << 32 | low

    return pair


_make = _compiled if JIT else _plain

# pairs[o + i * pair_step + lane] of terms of an f32 array, for count steps i and sixteen lanes (or eight).
# `along` pairs neighbours, source[at + i * step + 2 * lane] with the next; `across` pairs two rows,
# source[at + i * step + lane] with that `next_term` further on. Both return a span of magnitudes: the largest in the
# upper half of 64 bits (MAGNITUDE if a value is no bf16), one less than the least but 0 in the lower half.
along = _make(LANES, False)
along_eight = _make(HALF_LANES, False)
across = _make(LANES, True)
across_eight = _make(HALF_LANES, True)


@small
def joined(span, other):
    """Join two spans of magnitudes."""
    high = max(span >> 32, other >> 32)
    return high << 32 | min(span & NOTHING, other & NOTHING)


EMPTY_SPAN = NOTHING


@kernel
def fitness(span):
    """Tell what to note of values with a span of magnitudes: UNFIT, or FIT and their least exponent."""
    low = span & NOTHING
    if span >> 32 >= LARGEST:
        return UNFIT
    exponent = MOST_EXPONENT if low == NOTHING else (low + 1) >> 23
    return FIT - 1 + exponent if exponent > 0 else UNFIT


@small
def allow_pairs(one, other):
    """Tell whether products of operands of such fitness may be computed by pairs."""
    return one >= FIT and other >= FIT and one + other - 2 * (FIT - 1) >= LEAST_SUM


@small
def panel_width(cfg):
    """Choose how many columns a panel of a tile's pairs has; 0 where pairs are not used."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    if not HAS_PAIRS or mlen != cfg[CFG_VLEN] or mlen % (2 * LANES) != 0:
        return 0
    if blen % (2 * LANES) == 0:
        return 2 * LANES
    return LANES if blen % LANES == 0 else HALF_LANES if blen == HALF_LANES else 0


@kernel
def pair_rows(mlen, rows, row_pairs, row_touched, first, count):
    """Make the pairs of those of `count` rows that were written since."""
    for row in range(first, first + count):
        if row_touched[row] == WRITTEN:
            at = row * mlen
            span = along(rows, at, 1, 2 * LANES, row_pairs, at >> 1, LANES, mlen // (2 * LANES))
            row_touched[row] = fitness(span)


@kernel
def pair_tile(mlen, width, tiles, tile_pairs, tile_touched, tile):
    """Make the pairs of a tile if it was written since: panels of `width` columns, in each a line for two terms."""
    if tile_touched[tile] != WRITTEN:
        return
    span = np.int64(EMPTY_SPAN)
    at = tile * mlen * mlen
    panel = at >> 1
    for column in range(0, mlen, width):
        if width == HALF_LANES:
            span = joined(span, across_eight(
                tiles, at + column, mlen, 2 * mlen, tile_pairs, panel, HALF_LANES, mlen // 2
            ))
        else:
            for lane in range(0, width, LANES):
                span = joined(span, across(
                    tiles, at + column + lane, mlen, 2 * mlen, tile_pairs, panel + lane, width, mlen // 2
                ))
        panel += mlen // 2 * width
    tile_touched[tile] = fitness(span)


@small
def least_fitness(row_touched, first, count):
    """Find the least entry of `count` rows, a multiple of eight: WRITTEN where pairs lack and all rows were written."""
    least = least_of_eight(row_touched, first)
    for row in range(first + HALF_LANES, first + count, HALF_LANES):
        least = min(least, least_of_eight(row_touched, row))
    return least


@kernel
def pair_slice(tiles, at, step, terms, columns, work, panel):
    """Make a panel of pairs of a transposed slice of a tile: column j is tiles[at + j * step : ... + terms].

    `work` takes the pairs in the order they are read. Returns their span.
    """
    span = np.int64(EMPTY_SPAN)
    half = terms >> 1
    for j in range(columns):
        span = joined(span, along_eight(
            tiles, at + j * step, 1, 2 * HALF_LANES, work, j * half, HALF_LANES, terms // (2 * HALF_LANES)
        ))
    for t in range(half):
        for j in range(columns):
            panel[t * columns + j] = work[j * half + t]
    return span
