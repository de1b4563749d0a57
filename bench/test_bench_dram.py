"""How many 64-byte accesses a second does a DRAM controller alone serve?"""

import numpy as np
import pytest

from plena_emu.boards.dram_schema import load_dram
from plena_emu.kernels.dram.event_queue import GATHER, SERIAL
from plena_emu.kernels.dram.replay import replay_trace
from plena_emu.memory.dram import new_open_run, new_run, new_state

ACCESSES = 65536
GAP = 1_000_000  # ps between batches
RNG = np.random.default_rng(1)
RANDOM = RNG.integers(0, 1 << 24, ACCESSES) * 64
SEQUENTIAL = np.arange(ACCESSES) * 64
READS = np.zeros(ACCESSES, dtype=np.int64)


def tile_rows():
    """Prefetches of 64 rows of 256 bytes, each row with its 32 scale bytes far away."""
    row = np.arange(ACCESSES // 5 + 1)
    elements = (row * 256)[:, None] + np.arange(4) * 64
    scales = ((1 << 26) + row * 32) & ~63
    return np.concatenate([elements, scales[:, None]], axis=1).ravel()[:ACCESSES]


# Name: (addresses, 1 for a write, accesses a batch, kind of the batches).
TRAFFIC = {
    "sequential": (SEQUENTIAL, READS, 4096, GATHER),
    "random": (RANDOM, READS, 4096, GATHER),
    "tile prefetch": (tile_rows(), READS, 320, GATHER),
    "mixed": (RANDOM, (RNG.random(ACCESSES) < 0.3).astype(np.int64), 320, GATHER),
    "store": (np.repeat(SEQUENTIAL[: ACCESSES // 2], 2), np.arange(ACCESSES) % 2, 320, SERIAL),
}


@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("memory, revision", [("hbm2", "base"), ("hbm2", "moe"), ("ddr4", "base")])
def test_dram(benchmark, memory, revision, traffic):
    address, is_write, size, kind = TRAFFIC[traffic]
    first = np.arange(0, ACCESSES, size)
    description = load_dram(memory)

    def fresh():
        state = new_state(description, revision)
        room = new_run(state, address, len(first))
        room.access["write"] = is_write
        room.task["kind"], room.task["at"], room.task["start"] = kind, GAP, first
        room.task["stop"] = np.minimum(first + size, ACCESSES)
        return (state, room, new_open_run(size), 1 << 40), {}  # in one slice

    benchmark.pedantic(replay_trace, setup=fresh, rounds=10, warmup_rounds=1)
    benchmark.extra_info["accesses_per_s"] = ACCESSES / benchmark.stats.stats.median
