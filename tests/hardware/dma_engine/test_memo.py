"""The memos of production DMA change no figure: long streams of few DMAs, with and without them (spec §7.3, §7.4).

The oracles of the other tests here know no memo, and time each DMA of a short stream. Here streams are long enough for
answers to be remembered, used, and given up again because the next DMA comes too early.
"""

import msgspec
import numpy as np
import pytest
from hardware_memory import descriptor_of
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

from plena_emu.kernels import layout
from plena_emu.kernels.compiler.jit import JIT
from plena_emu.manifests.schema import Manifest, Region
from plena_emu.memory.ledger import new_ledger
from plena_emu.memory.models import RegimeModel

MANIFEST = Manifest(4096, tuple(Region(**region) for region in (
    {"layer_id": 0, "offset": 4096, "size": 40960, "kind": "weight"},
    {"layer_id": 1, "offset": 65536, "size": 20480, "kind": "kv"},
)))  # fmt: skip
WORDS = 7


@st.composite
def streams(draw):
    """(descriptors, events): a few DMAs, and a long stream of them at a few places, a moment or a while apart."""
    kinds = draw(st.lists(st.tuples(st.integers(1, 16), st.sampled_from([16, 64, 80]), st.sampled_from([0, 8]),
                                    st.booleans()), min_size=1, max_size=3))
    descriptors = np.zeros((max(layout.NUM_DESCRIPTORS, len(kinds)), layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:, layout.DESC_RATIO] = descriptors[:, layout.DESC_ELEMENTS] = 1
    for number, (rows, n, block, store) in enumerate(kinds):
        descriptors[number] = descriptor_of(rows, n, 8, 8 if block else 0, block, store)
    base = st.integers(0, 12).map(lambda k: k * 8)
    place = st.tuples(st.integers(0, len(kinds) - 1), base, st.sampled_from([0, 64, 1024, 16384, 1 << 20, 1 << 30]),
                      st.sampled_from([0, 40, 512, 16376, 1 << 19, (1 << 30) + 64]),
                      st.sampled_from([16, 64, 80, 1024, 16384]))
    places = draw(st.lists(place, min_size=1, max_size=3))
    delay = st.sampled_from([0, 1000, 5000, 8200, 40_000, 41_500, 400_000])
    steps = draw(st.lists(st.tuples(st.integers(0, len(places) - 1), delay), min_size=1, max_size=6))
    events = np.zeros((40 * len(steps), layout.MEV_WIDTH), dtype=np.int64)
    for at, event in enumerate(events):
        number, delta = steps[at % len(steps)]
        kind, low, first, scales, step = places[number]
        event[[layout.MEV_DESCRIPTOR, layout.MEV_DELTA, layout.MEV_STEP, layout.MEV_PC]] = kind, delta, step, at % WORDS
        event[[layout.MEV_INDEX, layout.MEV_SCALE]] = low + first, low + scales
    return descriptors, events


def figures(descriptors, events, memo, regime, **more):
    """Everything a stream leaves behind, and how often the memo answered."""
    ledger = new_ledger(WORDS, ())
    memory = RegimeModel(regime, MANIFEST, descriptors, 30_000, 60_000_000, dma="production", memo=memo, ledger=ledger,
                         **more)
    events = events.copy()
    for first in range(0, len(events), 64):  # slices
        part = events[first : first + 64]
        with np.errstate(over="ignore"):  # hashes wrap, of which plain Python would warn (as a run has it)
            memory.advance(part, len(part))
    found = (memory.now_ps, memory.last_event_ps, memory.bytes_read, memory.bytes_written, memory.engine.operations,
             events, ledger.by_pc, ledger.by_region, msgspec.to_builtins(memory.statistics),
             None if memory.engine.statistics is None else msgspec.to_builtins(memory.engine.statistics))
    return [part.tolist() if isinstance(part, np.ndarray) else part for part in found], memory.engine.memo.hits


@pytest.mark.parametrize("where", [("hbm", {}), ("hbm", {"channels": 32}), ("weight-stream", {"dram": "hbm2"}),
                                   ("resident", {}), ("weight-stream", {}), ("kv-swap", {}),
                                   ("resident", {"dram": "ddr3_800_x16"})], ids=str)
@given(streams())
@configure(max_examples=15 if JIT else 2, deadline=None)
def test_a_memo_changes_no_figure(where, stream):
    regime, more = where
    without, none = figures(*stream, memo=False, regime=regime, **more)
    found, _ = figures(*stream, memo=True, regime=regime, **more)
    assert none == 0
    for one, other in zip(found, without, strict=True):
        assert one == other


@pytest.mark.parametrize("regime", ["hbm", "resident"])
@pytest.mark.parametrize("store", [False, True])
def test_a_repeated_dma_is_remembered(regime, store):
    descriptors = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:] = descriptor_of(16, 64, 8, 8, 8, store)
    events = np.zeros((50, layout.MEV_WIDTH), dtype=np.int64)
    events[:, [layout.MEV_DELTA, layout.MEV_STEP, layout.MEV_SCALE]] = 1_000_000, 64, 1 << 22
    _, hits = figures(descriptors, events, memo=True, regime=regime)
    assert hits > 40
