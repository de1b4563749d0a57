"""Memory events for tests of a DRAM's memo: prefetches and stores of chosen shapes, on chosen memories."""

import msgspec
import numpy as np
from hypothesis import strategies as st

from plena_emu.boards.dram_schema import Queues, WriteMode, load_dram
from plena_emu.kernels import layout
from plena_emu.manifests.schema import Manifest, Region
from plena_emu.memory.models import RegimeModel

PREFETCH, WITH_SCALES, STORE = range(3)
REGIONS = (Region(layer_id=0, offset=1024, size=1 << 20, kind="weight"),)


def descriptors(rows: int) -> np.ndarray:
    """A prefetch of `rows` rows of 64 bytes without scales, one with 8 scale bytes a row, and a store."""
    table = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    table[:, layout.DESC_ROWS] = rows
    table[:, layout.DESC_ELEMENTS] = table[:, layout.DESC_ROW_BYTES] = 64
    table[:, layout.DESC_RATIO] = 8
    table[WITH_SCALES, layout.DESC_SCALE_BYTES] = 8
    table[STORE, layout.DESC_STORE] = 1
    return table


def new_memory(rows, memo, model="hbm", dram=None, revision="base"):
    manifest = Manifest(activation_ceiling=0, regions=REGIONS)
    return RegimeModel(model, manifest, descriptors(rows), 0, 60_000_000, dram=dram, revision=revision, memo=memo)


def run(memory, events, slices):
    """Instants after each slice of events, and all statistics at the end."""
    times, first = [], 0
    for count in slices:
        part = events[first : first + count]
        first += count
        memory.advance(part, len(part))
        times.append((memory.now_ps, memory.last_event_ps))
    return times, memory.engine.statistics


EVENT = st.tuples(
    st.sampled_from([0, 1, 999, 1000, 2000, 2000, 7000, 40_000, 2**31 * 1000]),
    st.sampled_from([PREFETCH, PREFETCH, WITH_SCALES, STORE]),
    st.sampled_from([0, 64, 1024, 16384, 1 << 17, (1 << 17) + 64, 1 << 30]),
    st.sampled_from([0, 4096, 1 << 19]),
    st.sampled_from([64, 1024, 384, 1 << 17]),
)


def without_refresh(name, **changes):
    """A shipped memory without refresh, changed."""
    return msgspec.structs.replace(load_dram(name), refresh=None, **changes)


MEMORIES = {
    "four channels in lockstep": without_refresh("hbm2"),
    "short queues": without_refresh("hbm2", queues=Queues(read=8, write=8),
                                    write_mode=WriteMode(high_watermark=6, low_watermark=2)),
    "one channel": without_refresh("ddr4"),
    "ticks between cycles": without_refresh("hbm2", period_ps=833),
}
