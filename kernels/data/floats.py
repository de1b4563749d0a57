"""Compute f32 bits, fused multiply-add and exp: the primitives whose rounding is part of the contract."""

import math

import numpy as np

from ..compiler.jit import JIT, kernel

if JIT:
    from numba import types
    from numba.extending import intrinsic

    @intrinsic
    def fma(typingctx, a, b, c):
        """Compute a * b + c in f32 with a single rounding (`llvm.fma.f32`)."""
        signature = types.float32(types.float32, types.float32, types.float32)

        def codegen(context, builder, sig, args):
            return builder.fma(*args)

        return signature, codegen

else:

    def fma(a, b, c):
        """Plain-Python stand-in of `llvm.fma.f32`, exact.

        The product of two f32 is exact in f64. The sum is made *round to odd* (an inexact f64 sum
        gets an odd last bit), so that the final rounding to f32 sees which side of a tie it is on.
        """
        product = float(a) * float(b)
        addend = float(c)
        total = product + addend
        if math.isfinite(total):
            added = total - product
            error = (product - (total - added)) + (addend - added)
            if error != 0.0 and not np.float64(total).view(np.int64) & 1:
                total = math.nextafter(total, math.inf if error > 0 else -math.inf)
        return np.float32(total)


def fma_arrays(a, b, c):
    """Compute `fma` of f32 arrays, for runs without the compiler."""
    product = a.astype(np.float64) * b
    addend = c.astype(np.float64)
    total = product + addend
    added = total - product
    error = (product - (total - added)) + (addend - added)
    even = (total.view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    odd = np.where(np.isfinite(total) & (error != 0) & even, np.nextafter(total, toward), total)
    return odd.astype(np.float32)


@kernel
def bits_of(x):
    """Reinterpret an f32 as its 32 bits, in an int64."""
    return np.int64(np.float32(x).view(np.uint32))


@kernel
def float_of(bits):
    """Reinterpret 32 bits as an f32."""
    return np.uint32(bits).view(np.float32)


@kernel
def exp_f32(x):
    """Compute exp(clamp(x, -88, 88)) correctly rounded to f32 (§1.5): a float64 exp rounded once.

    Cody-Waite reduction to |r| <= ln2/2 and a Taylor polynomial of degree 13: relative error
    about 1e-16, which no f32 tie is near enough to notice. Branch-free, so that it vectorises.
    """
    t = np.float64(x)
    t = 88.0 if t > 88.0 else t
    t = -88.0 if t < -88.0 else t
    # Adding and taking away 1.5 * 2**52 rounds to the nearest integer.
    k = (t * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
    r = (t - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    # 2**k by its bits; k is a small integer (a NaN gives any k: p is NaN already).
    shifted = np.float64(k + 6755399441055744.0).view(np.int64) + 1023
    return np.float32(p * np.int64(shifted << 52).view(np.float64))
