"""Are products that run side by side independent, and are the bytes of a run the same with any number of threads?"""

import hashlib
import threading
from pathlib import Path

import golden_runs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import goldens

import plena_emu
from plena_emu import isa
from plena_emu.kernels import layout
from plena_emu.running import products, runner
from plena_emu.running.crew import Task
from plena_emu.running.products import ProductFinder

EXAMPLE_BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
BLEN = 4
ROWS = 40


def finder():
    cfg = np.zeros(layout.CFG_WIDTH, dtype=np.int64)
    cfg[layout.CFG_BLEN] = BLEN
    return ProductFinder(cfg, np.full(isa.NUM_OPS, 1 << 22, dtype=np.int64))


def event(op, *fields):
    return [op, *fields, *[0] * (layout.EV_WIDTH - 1 - len(fields))]


fills = st.builds(lambda op, row: event(op, 0, 0, row), st.sampled_from([isa.M_MM, isa.M_TMM]), st.integers(0, ROWS))
ends = st.builds(lambda row, at, step: event(isa.M_MM_WO, row, at, step), st.integers(0, ROWS),
                 st.sampled_from([0, 4, 8, 2]), st.sampled_from([1, 1, 1, 1, 2]))
others = st.just(event(isa.V_ADD_VV, 0, 0, 0))
far = st.lists(st.builds(lambda op, row, at, write: [event(op, 0, 0, row), event(isa.M_MM_WO, 1000 + 4 * write, at, 1)],
                         st.just(isa.M_MM), st.integers(0, ROWS), st.sampled_from([0, 4, 8]), st.integers(0, 5)))
chunks = st.lists(st.one_of(st.lists(st.one_of(fills, ends)), far.map(lambda found: sum(found, [])),
                            others.map(lambda found: [found]))).map(lambda parts: sum(parts, []))


def places(events):
    """(Rows read, places of rows written) by the events of a piece."""
    read, written = set(), set()
    for op, first, at, step, *_ in events:
        if op == isa.M_MM_WO:
            written |= {(first + i * step, at + j) for i in range(BLEN) for j in range(BLEN)}
        else:
            read |= set(range(step, step + BLEN))  # the row stands in the column of a write's step
    return read, written


@given(st.lists(chunks, max_size=3))
def test_pieces_are_whole_products_that_never_meet(found):
    look = finder()
    is_clear = True
    for chunk in found:
        events = np.array(chunk, dtype=np.int64).reshape(-1, layout.EV_WIDTH)
        done = 0
        for first, past, pieces in look.groups(events):
            assert first == done < past
            done = past
            parts = [events[a:b].tolist() for a, b in pieces]
            assert sum(parts, []) == (events[first:past].tolist() if pieces else [])
            if pieces:
                assert all(part[-1][0] == isa.M_MM_WO for part in parts)
                before = [op for op in events[:first, 0] if op in (isa.M_MM, isa.M_TMM, isa.M_MM_WO)]
                assert before[-1] == isa.M_MM_WO if before else is_clear
            seen = [places(part) for part in parts]
            for one in range(len(seen)):
                for two in range(one):
                    rows_of_two = {row for row, _ in seen[two][1]}
                    rows_of_one = {row for row, _ in seen[one][1]}
                    assert not seen[one][0] & rows_of_two and not seen[two][0] & rows_of_one
                    assert not seen[one][1] & seen[two][1]
        assert done == len(events)
        ours = [op for op in events[:, 0] if op in (isa.M_MM, isa.M_TMM, isa.M_MM_WO)]
        is_clear = ours[-1] == isa.M_MM_WO if ours else is_clear


def test_products_of_a_matrix_are_found():
    """The usual order: for each block of columns and of rows some fills, then the write."""
    chunk = [event(isa.V_ADD_VV, 0)]
    for column in range(0, 16, BLEN):
        for row in range(0, 16, BLEN):
            chunk += [event(isa.M_MM, 0, column, row), event(isa.M_MM, 16, column, row),
                      event(isa.M_MM_WO, 100 + row, column, 1)]
    (head, middle) = finder().groups(np.array(chunk, dtype=np.int64))
    assert head == (0, 1, []) and middle[:2] == (1, 49) and len(middle[2]) == 16


def test_small_groups_stay_on_one_thread(monkeypatch):
    monkeypatch.setattr(products, "LEAST_WORK", 1 << 60)
    chunk = np.array([event(isa.M_MM, 0, 0, 0), event(isa.M_MM_WO, 100, 0, 1)] * 9, dtype=np.int64)
    assert [pieces for _, _, pieces in finder().groups(chunk)] == [[]]


def test_a_task_hands_on_what_a_piece_raises():
    def run(first, past):
        if first == 3:
            raise ZeroDivisionError

    task = Task([(n, n + 1) for n in range(9)])
    threads = [threading.Thread(target=task.work, args=(run,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    with pytest.raises(ZeroDivisionError):
        task.join()
    for thread in threads:
        thread.join()


@pytest.fixture
def handed(monkeypatch):
    """Every group is handed out, however small; a list of as many ones."""
    monkeypatch.setattr(products, "LEAST_WORK", 1)
    monkeypatch.setattr(products, "_PIECE", 1)
    handed, real = [], Task.__init__
    monkeypatch.setattr(Task, "__init__", lambda self, pieces: handed.append(1) or real(self, pieces))
    return handed


def test_any_number_of_threads(tmp_path, handed):
    seen = set()
    for threads in (1, 2, 3, 4):
        place = tmp_path / str(threads)
        result = plena_emu.run(EXAMPLE_BUILD, threads=threads, dump_dir=place)
        dumps = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.iterdir()))
        seen.add((result.latency_ps, *dumps))
        assert bool(handed) == (threads > 1)
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["base_aten_linear_m256b64", "base_sliced_ffn_m64b16", "base_misc_gqa_fused",
                                  "base_st_00002", "moe_aten_ffn"])
def test_golden_programs_on_four_threads(name, tmp_path, monkeypatch, handed):
    archive = goldens.find(name)
    if archive is None:
        pytest.skip(f"no golden program {name} here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "default_threads", lambda timing_only: 4)
    assert golden_runs.check(goldens.unpack(archive, tmp_path)) == []
    assert handed or name == "base_st_00002"
