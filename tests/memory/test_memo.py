"""Does the memo of DDR batches change no figure, whatever repeats (§3.5)?"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.kernels import layout
from plena_emu.kernels.memory import memo_table as mt
from plena_emu.kernels.simple import memo as simple_memo
from plena_emu.manifests.schema import Manifest, Region
from plena_emu.memory.models import RegimeModel
from plena_emu.memory.simple_engine import SimpleEngine


@pytest.fixture(autouse=True)
def wrapping_integers():
    """As in a run: kernels that are not compiled multiply hashes in int64."""
    with np.errstate(over="ignore"):
        yield


def descriptors(rows: int) -> np.ndarray:
    """One prefetch of `rows` rows of 64 bytes without scales, and one with 8 scale bytes a row."""
    table = np.zeros((layout.NUM_DESCRIPTORS, layout.DESC_WIDTH), dtype=np.int64)
    table[:, layout.DESC_ROWS] = rows
    table[:, layout.DESC_ELEMENTS] = table[:, layout.DESC_ROW_BYTES] = 64
    table[:, layout.DESC_RATIO] = 8
    table[1, layout.DESC_SCALE_BYTES] = 8
    table[2, layout.DESC_STORE] = 1
    return table


def run(events, table, memo, model="resident", regions=()):
    memory = RegimeModel(model, Manifest(activation_ceiling=0, regions=regions), table, 0, 60_000_000, memo=memo)
    times = []
    for event in events:
        memory.advance(event[None, :], 1)
        times.append((memory.now_ps, memory.last_event_ps))
    return times, memory


EVENT = st.tuples(
    st.sampled_from([0, 1000, 5000, 13000, 50000]), st.sampled_from([0, 1, 0, 1, 2]),
    st.sampled_from([0, 64, 30, 1024, 16300, 16320, 16384, 16448, 1 << 20, 1 << 30]),
    st.sampled_from([0, 4096, 16376, 1 << 19, (1 << 20) - 8, (1 << 30) + 64]),
    st.sampled_from([64, 1024, 16384, 384, 100, 2**32 - 64]),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(EVENT, min_size=1, max_size=40), st.sampled_from([1, 3, 16, 40]),
       st.sampled_from(["resident", "weight-stream"]))
def test_figures_are_the_same(parts, rows, model):
    events = np.array([[*part, 0, 0] for part in parts])
    regions = (Region(layer_id=0, offset=1024, size=1 << 20, kind="weight"),)
    plain, _ = run(events, descriptors(rows), False, model, regions)
    remembered, memory = run(events, descriptors(rows), True, model, regions)
    assert plain == remembered
    assert memory.engine.memo.lookups <= len(events)


def test_a_shifted_batch_is_answered_from_memory():
    events = np.array([[10**6, 0, 16384 * k + 64 * (k % 3), 0, 4096, 0, 0] for k in range(8)])
    times, memory = run(events, descriptors(16), True)
    assert memory.engine.memo.hits == 7
    assert len({b - a for (a, _), (b, _) in itertools.pairwise(times)}) == 1


def test_a_batch_is_answered_from_memory_wherever_in_its_blocks_it_begins():
    events = np.array([[10**6, 1, 16384 * k, (1 << 20) + 8 * k, 1024, 0, 0] for k in range(8)])
    _, memory = run(events, descriptors(16), True)
    assert memory.engine.memo.hits == 7  # the scales are 128 bytes apart: none of the bytes leaves its block
    events[:, layout.MEV_STEP] = 1024 - 64
    _, memory = run(events, descriptors(16), True)
    assert memory.engine.memo.hits < 7  # 120 bytes apart: the blocks differ


def test_full_tables_are_emptied(monkeypatch):
    events = np.array([[10**6, 0, 0, 0, 64 * k, 0, 0] for k in range(1, 40)] * 2)
    plain, _ = run(events, descriptors(40), False)
    memory = RegimeModel("resident", Manifest(activation_ceiling=0), descriptors(40), 0, 1)
    engine = memory.engine
    assert isinstance(engine, SimpleEngine)
    times = []
    for k, event in enumerate(events):
        if k % 10 == 9:  # as if thousands of patterns had come before
            engine._memory.memo.reg[mt.MEMO_USED] = simple_memo.ARENA - 8
        memory.advance(event[None, :], 1)
        times.append((memory.now_ps, memory.last_event_ps))
    assert times == plain
    assert engine.memo.cleared > 0


@pytest.mark.parametrize("memo", [True, False])
def test_the_record_says_whether_it_was_on(memo):
    _, memory = run(np.zeros((1, layout.MEV_WIDTH), dtype=np.int64), descriptors(1), memo)
    assert memory.engine.memo.enabled is memo
    assert memory.engine.memo.lookups == int(memo)
