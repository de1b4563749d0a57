"""How kernels become machine code: jit decorators, fingerprints, numba's cache, object code."""
