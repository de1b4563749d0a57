"""Are products that run side by side independent, and are the bytes of a run the same with any number of threads?"""

import gc
import hashlib
import threading
import time
from pathlib import Path

import golden_runs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import goldens

import plena_emu
from plena_emu import isa
from plena_emu.config.settings import default_settings, with_hbm_size
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels.compiler.atomics import IS_ATOMIC
from plena_emu.kernels.data import plan as pl
from plena_emu.kernels.data.plan import OVER, PAUSED, STARVED
from plena_emu.machine.core import Machine
from plena_emu.running import crew, runner, simulation
from plena_emu.running.crew import Crew
from plena_emu.running.workers import Worker

EXAMPLE_BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
BLEN = 4
MLEN = 16
TILES = [1, 3]  # that a prefetch reads with the first descriptor, and with the second
ROWS = 40
WORK = 1 << 22


def planned(events, is_clear=1, most=1 << 60, chunk_number=5):
    """Segments of a chunk as (first, past, pieces), and whether the accumulator is clear behind it."""
    cfg = np.zeros(layout.CFG_WIDTH, dtype=np.int64)
    cfg[layout.CFG_BLEN], cfg[layout.CFG_MLEN] = BLEN, MLEN
    descriptors = np.zeros((2, layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:, layout.DESC_ROWS] = [MLEN * tiles for tiles in TILES]
    room = max(1, len(events))
    row = room * (chunk_number % 2)
    table = np.zeros((2 * room, layout.EV_WIDTH), dtype=np.int64)
    plan = pl.Plan(np.full((2 * room, pl.SEG_WIDTH), -7), np.full((2 * room, pl.PIECE_WIDTH), -7),
                   np.zeros(2, dtype=np.int64), np.zeros(pl.SHARED_WIDTH, dtype=np.int64))
    plan.shared[pl.IS_CLEAR], plan.shared[pl.READY] = is_clear, chunk_number
    work = np.full(isa.NUM_OPS, WORK, dtype=np.int64)
    table[row : row + len(events)] = np.array(events, dtype=np.int64).reshape(-1, layout.EV_WIDTH)
    found = pl.plan_chunk(table, len(events), 1, plan, cfg, descriptors, work, most)
    assert plan.counts[chunk_number % 2] == found and plan.shared[pl.READY] == chunk_number + 1
    other = slice(room, None) if row == 0 else slice(0, room)
    assert (plan.segments[other] == -7).all() and (plan.pieces[other] == -7).all()
    segments, pieces = plan.segments[row:][:found].tolist(), plan.pieces[row:]
    assert sum(row[pl.SEG_WORK] for row in segments) <= WORK * len(events)
    assert all(row[pl.SEG_WORK] <= most for row in segments) or most < 8 * WORK
    return [(row[pl.SEG_FIRST], row[pl.SEG_PAST],
             [tuple(piece) for piece in pieces[row[pl.SEG_PIECE] : row[pl.SEG_PIECES_PAST]].tolist()])
            for row in segments], int(plan.shared[pl.IS_CLEAR])


def event(op, *fields):
    return [op, *fields, *[0] * (layout.EV_WIDTH - 1 - len(fields))]


fills = st.builds(lambda op, row: event(op, 0, 0, row), st.sampled_from([isa.M_MM, isa.M_TMM]), st.integers(0, ROWS))
ends = st.builds(lambda row, at, step: event(isa.M_MM_WO, row, at, step), st.integers(0, ROWS),
                 st.sampled_from([0, 4, 8, 2]), st.sampled_from([1, 1, 1, 1, 2]))
others = st.just(event(isa.V_ADD_VV, 0, 0, 0))
prefetches = st.lists(st.builds(lambda tile, which: event(isa.H_PREFETCH_M, tile, which), st.integers(0, 9),
                                st.integers(0, 1)), max_size=6).map(lambda found: sorted(found[:4]) + found[4:])
far = st.lists(st.builds(lambda op, row, at, write: [event(op, 0, 0, row), event(isa.M_MM_WO, 1000 + 4 * write, at, 1)],
                         st.just(isa.M_MM), st.integers(0, ROWS), st.sampled_from([0, 4, 8]), st.integers(0, 5)))
chunks = st.lists(st.one_of(st.lists(st.one_of(fills, ends)), far.map(lambda found: sum(found, [])),
                            prefetches, others.map(lambda found: [found]))).map(lambda parts: sum(parts, []))


def places(events):
    """(Rows read, places of rows and tiles written) by the events of a piece."""
    read, written = set(), set()
    for op, first, at, step, *_ in events:
        if op == isa.H_PREFETCH_M:
            written |= {("tile", first + i) for i in range(TILES[at])}
        elif op == isa.M_MM_WO:
            written |= {(first + i * step, at + j) for i in range(BLEN) for j in range(BLEN)}
        else:
            read |= set(range(step, step + BLEN))  # the row stands in the column of a write's step
    return read, written


@settings(deadline=None)  # the first may compile
@given(st.lists(chunks, max_size=3), st.sampled_from([1 << 60, 20 * WORK]))
def test_pieces_are_whole_products_that_never_meet(found, most):
    is_clear = 1
    for events in found:
        done = 0
        segments, clear_behind = planned(events, is_clear, most)
        for first, past, pieces in segments:
            assert first == done < past
            done = past
            parts = [events[a:b] for a, b in pieces]
            assert sum(parts, []) == (events[first:past] if pieces else [])
            if pieces:
                assert len(pieces) > 1
            if pieces and parts[0][0][0] == isa.H_PREFETCH_M:
                assert all(len(part) == 1 and part[0][0] == isa.H_PREFETCH_M for part in parts)
            elif pieces:
                assert all(part[-1][0] == isa.M_MM_WO and len(part) > 1 for part in parts)
                assert not any(op == isa.M_MM_WO for part in parts for op, *_ in part[:-1])
                before = [op for op, *_ in events[:first] if op in (isa.M_MM, isa.M_TMM, isa.M_MM_WO)]
                assert before[-1] == isa.M_MM_WO if before else is_clear
            seen = [places(part) for part in parts]
            for one in range(len(seen)):
                for two in range(one):
                    rows_of_two = {row for row, _ in seen[two][1]}
                    rows_of_one = {row for row, _ in seen[one][1]}
                    assert not seen[one][0] & rows_of_two and not seen[two][0] & rows_of_one
                    assert not seen[one][1] & seen[two][1]
        assert done == len(events)
        ours = [op for op, *_ in events if op in (isa.M_MM, isa.M_TMM, isa.M_MM_WO)]
        is_clear = int(ours[-1] == isa.M_MM_WO) if ours else is_clear
        assert clear_behind == is_clear


def test_products_of_a_matrix_are_found():
    """The usual order: for each block of columns and of rows some fills, then the write."""
    chunk = [event(isa.V_ADD_VV, 0)]
    for column in range(0, 16, BLEN):
        for row in range(0, 16, BLEN):
            chunk += [event(isa.M_MM, 0, column, row), event(isa.M_MM, 16, column, row),
                      event(isa.M_MM_WO, 100 + row, column, 1)]
    ((head, middle), clear) = planned(chunk)
    assert head == (0, 1, []) and middle[:2] == (1, 49) and len(middle[2]) == 16 and clear


def test_prefetches_of_different_tiles_are_found():
    chunk = [event(isa.H_PREFETCH_M, tile, which) for tile, which in ((0, 0), (1, 1), (4, 0), (4, 1), (7, 0), (6, 0))]
    chunk += [event(isa.M_MM, 0, 0, 0), event(isa.H_PREFETCH_M, 9, 0)]
    (segments, clear) = planned(chunk)
    assert segments == [(0, 3, [(0, 1), (1, 2), (2, 3)]), (3, 5, [(3, 4), (4, 5)]), (5, 8, [])] and not clear


def test_a_product_that_reads_what_another_writes_begins_a_new_group():
    products = [[event(isa.M_MM, 0, 0, row), event(isa.M_MM_WO, write, 0, 1)]
                for row, write in ((0, 100), (4, 104), (100, 108), (8, 112))]
    (segments, _) = planned(sum(products, []))
    assert segments == [(0, 4, [(0, 2), (2, 4)]), (4, 8, [(4, 6), (6, 8)])]


def test_a_heavy_group_is_cut():
    products = [[event(isa.M_MM, 0, 0, 0), event(isa.M_MM_WO, 100 + 4 * n, 0, 1)] for n in range(9)]
    (segments, _) = planned(sum(products, []), most=4 * WORK)
    assert [len(pieces) for _, _, pieces in segments] == [4, 4, 0]


@pytest.fixture
def shared_out(monkeypatch):
    """Tiles of any size are shared out; a list of the pieces of the last group after each stay of the main thread."""
    monkeypatch.setattr(crew, "LEAST_WORK", 1)
    monkeypatch.setattr(runner, "most_threads", lambda: 64)  # also more than there are CPUs
    found, real = [], crew.Crew.lead

    def lead(self, turns, most):
        told = real(self, turns, most)
        found.append(int(self._shared[pl.DONE]))
        return told

    monkeypatch.setattr(crew.Crew, "lead", lead)
    return found


def test_any_number_of_threads(tmp_path, shared_out):
    seen = set()
    for threads in (1, 2, 3, 4):
        place = tmp_path / str(threads)
        result = plena_emu.run(EXAMPLE_BUILD, threads=threads, dump_dir=place)
        dumps = (hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(place.iterdir()))
        seen.add((result.latency_ps, *dumps))
        assert (max(shared_out, default=0) > 1) == (threads > 1 and IS_ATOMIC)
        shared_out.clear()
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["base_aten_linear_m256b64", "base_sliced_ffn_m64b16", "base_misc_gqa_fused",
                                  "base_st_00002", "moe_aten_ffn"])
def test_golden_programs_on_four_threads(name, tmp_path, monkeypatch, shared_out):
    archive = goldens.find(name)
    if archive is None:
        pytest.skip(f"no golden program {name} here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "default_threads", lambda timing_only: 4)
    assert golden_runs.check(goldens.unpack(archive, tmp_path)) == []
    assert max(shared_out, default=0) > 1 or name == "base_st_00002" or not IS_ATOMIC


def machine_of_the_example():
    return Machine(with_hbm_size(default_settings(), 1 << 16), "base")


@pytest.mark.skipif(not IS_ATOMIC, reason="in plain Python one thread runs kernels")
def test_threads_that_wait_for_a_chunk_are_dismissed(monkeypatch):
    """An event without a kernel ends the chunk before its products; who waits for them comes back."""
    monkeypatch.setattr(crew, "LEAST_WORK", 1)
    machine = machine_of_the_example()
    blen, mlen = int(machine.cfg[layout.CFG_BLEN]), int(machine.cfg[layout.CFG_MLEN])
    products = [[event(isa.M_MM, 0, 0, 0), event(isa.M_MM_WO, mlen + n * blen, 0, 1)] for n in range(4)]
    events = np.array([event(isa.C_BREAK), *sum(products, [])])
    workers = [Worker() for _ in range(3)]
    threads = Crew(machine, len(events), workers)
    threads.next_events()[:] = events
    try:
        threads.prepare()
        threads.reopen()
        workers[0].help(lambda: threads.help(1, pl.FOREVER))
        threads.plan(len(events))
        with pytest.raises(EmuError, match="C_BREAK"):
            threads.lead(0, 1 << 60)
        assert not machine.data.row_touched.any()
    finally:
        threads.dismiss()
    for worker in workers:
        worker.start(lambda: None)
        worker.join()  # it has come back
        worker.stop()


@pytest.mark.skipif(not IS_ATOMIC, reason="in plain Python one thread runs kernels")
def test_many_chunks_on_more_threads_than_cpus(monkeypatch):
    """Late threads find the pieces of the present chunk, never those of one that had its slot before."""
    monkeypatch.setattr(crew, "LEAST_WORK", 1)
    machine = machine_of_the_example()
    blen, mlen = int(machine.cfg[layout.CFG_BLEN]), int(machine.cfg[layout.CFG_MLEN])
    data = machine.data
    data.rows[: mlen * blen] = 1
    data.tiles[: mlen * mlen] = 1
    workers = [Worker() for _ in range(4)]
    threads = Crew(machine, 64, workers)
    ahead = 3
    try:
        threads.reopen()
        wanted = []
        for number in range(201):
            fills, writes = 1 + number % 3, 1 + number % 7
            place = blen * (1 + number % ahead * 8)
            products = [[event(isa.M_MM, 0, 0, 0)] * fills + [event(isa.M_MM_WO, place + blen * n, 0, 1)]
                        for n in range(writes)]
            events = np.array(sum(products, []))
            threads.next_events()[: len(events)] = events
            threads.plan(len(events))
            wanted += np.repeat([mlen * fills] * writes + [0] * (8 - writes), blen).tolist()
            if number % ahead < ahead - 1:
                continue
            ready = threads.ready
            workers[0].help(lambda ready=ready: threads.help(ready, ready))
            while (told := threads.lead(0, 1)) == PAUSED:  # a segment each
                pass
            assert told == STARVED and threads.led == ready
            got = data.rows.reshape(-1, mlen)[blen : blen + 8 * ahead * blen, :blen]
            assert (got == np.array(wanted)[:, None]).all()
            got[:] = 0
            wanted = []
        threads.end()
        assert threads.lead(0, 1 << 60) == OVER
    finally:
        threads.dismiss()
        for worker in workers:
            worker.stop()


def test_threads_beyond_the_cpus_do_not_run_and_it_is_said(monkeypatch):
    made, real = [], simulation.Worker
    monkeypatch.setattr(simulation, "Worker", lambda: made.append(1) or real())
    monkeypatch.setattr(runner, "most_threads", lambda: 2)
    result = plena_emu.run(EXAMPLE_BUILD, threads=64, dump_dir=None)
    assert len(made) == 1
    assert "threads 64: this process may use 2 CPUs, and no more threads ran" in result.warnings
    assert not any("CPUs" in line for line in plena_emu.run(EXAMPLE_BUILD, threads=2, dump_dir=None).warnings)


def test_workers_end_where_their_making_is_interrupted(monkeypatch):
    made, real = [], simulation.Worker

    def interrupted():
        if made:
            raise KeyboardInterrupt
        made.append(real())
        return made[0]

    monkeypatch.setattr(runner, "most_threads", lambda: 3)
    monkeypatch.setattr(simulation, "Worker", interrupted)
    before = set(threading.enumerate())  # some of them, of earlier tests, may end meanwhile
    with pytest.raises(KeyboardInterrupt):
        plena_emu.run(EXAMPLE_BUILD, threads=3, dump_dir=None)
    made.clear()
    gc.collect()
    for _ in range(500):
        if not set(threading.enumerate()) - before:
            break
        time.sleep(0.01)
    assert set(threading.enumerate()) <= before
