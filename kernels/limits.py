"""Sizes and bounds that every pass and engine shares: plain numbers, nothing that is compiled.

This is the one place of each of them. `boards` and `manifests`, which know nothing of kernels, restate a few;
`tests/test_one_place.py` compares those.
"""

import numpy as np

HBM_PAGE = 16  # log2 of the bytes of a page of the HBM whose writes are tracked, for dumps
ACCESS_BYTES = 64  # of one access to a memory (spec §3.2)
U32_MASK = 0xFFFFFFFF  # integer registers and row offsets are 32 bits wide (spec §1.1)

TIME_LIMIT = 2**62  # simulated picoseconds (53 days); beyond it a run is refused
# np.int64, so that numba does not compile a function anew for the constant where it is passed on.
NEVER = np.int64(np.iinfo(np.int64).max)  # an instant that does not come
OVERFLOW = -1  # in place of a completion time: it would pass TIME_LIMIT
