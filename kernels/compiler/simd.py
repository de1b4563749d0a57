"""How many f32 the vectors of the CPU hold: it shapes register blocks, never results."""

import functools
import os

from .fingerprint import LANES_VARIABLE, cpu_text
from .modes import KernelError

LANES = (4, 8, 16)


@functools.cache
def lanes() -> int:
    """Find how many f32 a vector register of this CPU holds, or what `PLENA_SIMD_LANES` says in its place.

    Called where kernels are compiled. Code for wider vectors than the CPU has is slower, not wrong.

    Returns
    -------
    int
        16 with AVX-512, 8 with AVX2, else 4.

    Raises
    ------
    KernelError
        The variable holds anything but 4, 8 or 16.
    """
    text = os.environ.get(LANES_VARIABLE, "").strip()
    if text:
        if text not in map(str, LANES):
            raise KernelError(f"environment variable {LANES_VARIABLE}: found {text[:40]!r}, expected 4, 8 or 16")
        return int(text)
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") else 4


def _compiles_for(*features):
    """Whether kernels are compiled for a CPU with features of AVX-512, as LLVM calls them."""
    if lanes() < max(LANES):
        return False
    try:
        from .numba_internals import target_features
    except KernelError:
        return False
    return {f"+{feature}" for feature in features} <= set(target_features().split(","))


def has_pairs() -> bool:
    """Tell whether kernels may use the instruction that multiplies pairs of bf16 (AVX512-BF16).

    Called where kernels are compiled, for the CPU that numba compiles for.

    Returns
    -------
    bool
        False with fewer lanes than 16 in `PLENA_SIMD_LANES`, and where numba does not tell.
    """
    return _compiles_for("avx512bf16", "avx512vl")


def has_byte_tables() -> bool:
    """Tell the same of the instruction that looks up bytes in a table (AVX512-VBMI).

    Returns
    -------
    bool
    """
    return _compiles_for("avx512vbmi", "avx512bw")


def cpu_has_pairs() -> bool:
    """Tell whether this CPU multiplies pairs of bf16, without the compiler: kernels may choose not to.

    Returns
    -------
    bool
    """
    return "avx512_bf16" in cpu_text()
