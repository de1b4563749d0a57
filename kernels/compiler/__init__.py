"""How kernels become machine code: jit decorators, fingerprints, object code, the processes that make it."""
