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
from plena_emu.kernels.memory import memo_table
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


def test_a_large_tile_is_remembered_on_a_dram():
    """Its lines are submitted together, so their latencies take hundreds of values, all of which are kept."""
    descriptors = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:] = descriptor_of(256, 256, 8)
    events = np.zeros((4, layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DELTA], events[:, layout.MEV_STEP] = 1_000_000, 256
    found, hits = figures(descriptors, events, memo=True, regime="hbm")
    assert hits == 2  # of the third and the fourth: the second finds rows open, which the first did not
    assert found == figures(descriptors, events, memo=False, regime="hbm")[0]


def store_events(starts, delta=1_000_000):
    """Descriptors of stores of 16 rows of 64 bytes with 8 scale bytes each; one store at each start."""
    descriptors = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:] = descriptor_of(16, 64, 8, 8, 8, True)
    events = np.zeros((len(starts), layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DELTA], events[:, layout.MEV_INDEX], events[:, layout.MEV_STEP] = delta, starts, 768
    events[:, layout.MEV_SCALE] = np.array(starts) // 8 + (1 << 22)
    return descriptors, events


def memo_of(descriptors, events, regime="resident"):
    """The memo's counts after a stream on the idealised banks."""
    memory = RegimeModel(regime, MANIFEST, descriptors, 30_000, 60_000_000, dma="production")
    with np.errstate(over="ignore"):
        memory.advance(events.copy(), len(events))
    return memory.engine.memo


def test_both_batches_of_a_store_are_remembered_wherever_they_lie():
    # 16 lines of scales are read, and written behind 16 lines of elements.
    first = memo_of(*store_events([0]))
    assert (first.lookups, first.hits, first.patterns) == (2, 0, 2)
    again = memo_of(*store_events([0, 1 << 18, 5 << 18, 0]))  # the same place in other rows of the memory
    assert (again.lookups, again.hits, again.patterns) == (5, 3, 2)
    descriptors, events = store_events([0, 1024, 2048, 3072])  # other banks
    events[:, layout.MEV_SCALE] = events[:, layout.MEV_INDEX] + (1 << 22)
    shifted = memo_of(descriptors, events)
    assert (shifted.lookups, shifted.hits, shifted.patterns) == (8, 6, 2)
    other = memo_of(*store_events([0, 512]))  # scales begin a line later, and elements end in another bank
    assert (other.lookups, other.hits, other.patterns) == (4, 1, 3)


@pytest.mark.parametrize("delta", [0, 1000, 5000, 9000, 13_000])
def test_a_store_that_meets_pending_precharges_has_a_key_of_its_own(delta):
    """A prefetch of one line leaves its bank precharging; the store after it reads from that bank."""
    descriptors, events = store_events([0] * 6, delta)
    descriptors[0] = descriptor_of(1, 64, 8)
    events[::2, layout.MEV_DESCRIPTOR], events[::2, layout.MEV_STEP] = 0, 64
    events[1::2, layout.MEV_DESCRIPTOR], events[::2, layout.MEV_INDEX] = layout.DESCRIPTOR_STORE_ACT, 1 << 22
    events[::2, layout.MEV_DELTA] = 1_000_000
    found, hits = figures(descriptors, events, memo=True, regime="resident")
    without, _ = figures(descriptors, events, memo=False, regime="resident")
    assert found == without
    early = delta + 833 < 9996  # a precharge ends 12 tCK after a lone read
    assert hits == (6 if early else 4)  # of the second and the third prefetch and store, or both batches of it
    late = events.copy()
    late[3, layout.MEV_DELTA] = 1_000_000  # the second store meets nothing: its reads are not those of the first
    memo = memo_of(descriptors, late)
    assert memo.lookups - memo.hits == (4 if early else 3)


def test_places_with_one_pattern_share_what_is_remembered():
    """Tiles whose rows begin 8 bytes later touch the same lines."""
    descriptors = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:] = descriptor_of(16, 32, 8)
    events = np.zeros((5, layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DELTA], events[:, layout.MEV_STEP] = 1_000_000, 1024
    events[:, layout.MEV_INDEX] = [0, 8, 16, 24, 8]
    memo = memo_of(descriptors, events)
    assert (memo.lookups, memo.hits, memo.patterns) == (5, 4, 1)


def test_rows_that_come_back_are_not_remembered_but_timed():
    """Scales a multiple of 1 GiB above the elements have their rows again (16 bits of a row count)."""
    descriptors, events = store_events([8192 + 64 * k for k in (0, 1, 0, 1, 0, 1)])  # their elements are in two rows
    events[:, layout.MEV_SCALE] = 1 << 30
    memo = memo_of(descriptors, events)
    assert memo.lookups == 6  # the reads of scales alone
    assert figures(descriptors, events, True, "resident")[0] == figures(descriptors, events, False, "resident")[0]


@pytest.mark.parametrize("store", [False, True])
def test_full_tables_are_emptied(store):
    descriptors, events = store_events([64 * k for k in range(1, 60)] * 2)
    descriptors[:, layout.DESC_STORE] = int(store)
    memory = RegimeModel("resident", MANIFEST, descriptors, 30_000, 60_000_000, dma="production")
    tables = memory.engine._memory.memo
    for k, event in enumerate(events):
        if k % 10 == 9:  # as if thousands of patterns had come before
            for table in tables.places, tables.patterns:
                table.reg[memo_table.MEMO_USED] = len(table.arena) - 8
        with np.errstate(over="ignore"):
            memory.advance(event[None, :], 1)
    without = RegimeModel("resident", MANIFEST, descriptors, 30_000, 60_000_000, dma="production", memo=False)
    without.advance(events, len(events))
    assert (memory.now_ps, memory.last_event_ps) == (without.now_ps, without.last_event_ps)
    assert memory.engine.memo.cleared > 0
