"""How many 64-byte accesses a second do the memory engines serve, through the timing pass?"""

import numpy as np
import pytest
from workloads import bench_settings

from plena_emu.kernels import layout
from plena_emu.machine.core import dma_types, new_descriptors
from plena_emu.machine.formats import Formats
from plena_emu.manifests.schema import Manifest
from plena_emu.memory.models import RegimeModel

EVENTS = 400
RNG = np.random.default_rng(1)
# First bytes of the prefetches: one tile after the other, or anywhere in 16 MiB.
PATTERNS = {"sequential": np.arange(EVENTS) * 4096, "random": RNG.integers(0, 1 << 18, EVENTS) * 64}


def events_of(starts: np.ndarray, descriptor: int) -> np.ndarray:
    """Memory events of prefetches that start at `starts`, 1 us of compute before each."""
    events = np.zeros((len(starts), layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DELTA] = 1_000_000
    events[:, layout.MEV_DESCRIPTOR] = descriptor
    events[:, layout.MEV_INDEX] = starts
    events[:, layout.MEV_SCALE] = starts // 8 + (1 << 25)
    events[:, layout.MEV_STEP] = 64
    return events


@pytest.mark.parametrize("memo", [True, False], ids=["memo", "no memo"])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("model", ["resident", "hbm"])
@pytest.mark.parametrize(
    "descriptor", [layout.DESCRIPTOR_M_WEIGHT, layout.DESCRIPTOR_STORE_ACT], ids=["tile prefetch", "store"]
)
def test_engine(benchmark, model, pattern, descriptor, memo):
    settings = bench_settings()
    descriptors = new_descriptors(settings, Formats(dma_types(settings)))
    events = events_of(PATTERNS[pattern], descriptor)

    def fresh():
        memory = RegimeModel(model, Manifest(activation_ceiling=0), descriptors, 0, 1, memo=memo)
        memory.warm()
        return (memory,), {}

    def run(memory):
        memory.advance(events, len(events))
        return (memory.bytes_read + memory.bytes_written) // 64

    accesses = benchmark.pedantic(run, setup=fresh, rounds=5)
    benchmark.extra_info["accesses_per_s"] = accesses / benchmark.stats.stats.median
