"""Does the CPU, or the variable in its place, decide how wide blocks are?"""

import pytest

from plena_emu.kernels.compiler import simd
from plena_emu.kernels.compiler.modes import KernelError

llvm = pytest.importorskip("llvmlite.binding")


@pytest.mark.parametrize("features, lanes", [
    ({"avx512f": True, "avx2": True}, 16), ({"avx512f": False, "avx2": True}, 8), ({"sse4.2": True}, 4), ({}, 4),
])
def test_the_cpu(monkeypatch, features, lanes):
    monkeypatch.delenv("PLENA_SIMD_LANES", raising=False)
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: features)
    assert simd.lanes.__wrapped__() == lanes


@pytest.mark.parametrize("text", ["4", "8", "16"])
def test_the_variable(monkeypatch, text):
    monkeypatch.setenv("PLENA_SIMD_LANES", text)
    assert simd.lanes.__wrapped__() == int(text)


@pytest.mark.parametrize("text", ["0", "5", "32", "x", "8.0"])
def test_nonsense_is_refused(monkeypatch, text):
    monkeypatch.setenv("PLENA_SIMD_LANES", text)
    with pytest.raises(KernelError, match=f"PLENA_SIMD_LANES: found '{text}', expected 4, 8 or 16"):
        simd.lanes.__wrapped__()
