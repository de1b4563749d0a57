"""Does control that is ahead of data change anything: figures, errors, what a limit stops?"""

import os
import shutil
import threading
from pathlib import Path

import pytest

import plena_emu
from plena_emu.assembler import assemble
from plena_emu.errors import EmuError
from plena_emu.kernels import status as st
from plena_emu.kernels.compiler.placement import Placement
from plena_emu.running import simulation
from plena_emu.running.lookahead import Chunk, Lookahead, Slice
from plena_emu.running.workers import Claim, Worker

EXAMPLE_BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"


def slices(statuses, executed=10):
    """What control would say, slice by slice; and the numbers of the slices that were run."""
    ran = []

    def run(limit):
        number = len(ran)
        ran.append(threading.current_thread().name)
        return Slice(statuses[number], Chunk(None, None), None, 0, executed, number, executed * (number + 1), 0, 0)

    return run, ran


@pytest.fixture
def worker():
    made = Worker()
    yield made
    made.stop()


@pytest.mark.parametrize("last", [st.DONE, st.FIRST_ERROR])
def test_slices_come_in_order_and_none_behind_the_last(worker, last):
    run, ran = slices([st.CHUNK_FULL] * 20 + [last] * 5)
    ahead = Lookahead(run, worker)
    numbers = []
    while True:
        found = ahead.next(None)
        numbers.append(found.pc)
        if not found.goes_on(None):
            break
        ahead.look_ahead(found, None)
    assert numbers == list(range(21)) and len(ran) == 21


def test_a_limit_is_not_passed(worker):
    run, ran = slices([st.CHUNK_FULL] * 99)
    ahead = Lookahead(run, worker)
    found = ahead.next(45)
    while found.goes_on(45):
        ahead.look_ahead(found, 45)
        found = ahead.next(45)
    assert found.so_far == 50 and len(ran) == 5


def test_without_a_worker_nothing_is_ahead():
    run, ran = slices([st.CHUNK_FULL] * 9)
    ahead = Lookahead(run, None)
    for number in range(4):
        ahead.look_ahead(ahead.next(None), None)
        assert len(ran) == number + 1


def test_a_claim_is_made_once_and_raises_for_whoever_takes_it(worker):
    def fail():
        made.append(threading.current_thread())
        raise ZeroDivisionError

    for taken_first in (True, False):
        made = []
        claim = Claim(fail)
        if not taken_first:
            worker.start(claim.offer)
            worker.join()
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                claim.take()
        worker.start(claim.offer)
        worker.join()
        assert len(made) == 1 and (made[0] is threading.main_thread()) == taken_first


@pytest.mark.parametrize("instructions", [1, 63, 64, 65, 200, 1000])
def test_a_run_stops_where_it_does_on_one_thread(instructions, monkeypatch):
    monkeypatch.setattr(simulation, "SLICE", 64)
    found = [plena_emu.run(EXAMPLE_BUILD, threads=threads, dump_dir=None, max_instructions=instructions)
             for threads in (1, 2, 3)]
    for name in ("instructions", "instruction_counts", "end_ps", "latency_ps", "stopped_by_max_instructions"):
        assert len({str(getattr(result, name)) for result in found}) == 1
    assert found[0].instructions == instructions


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_an_error_far_behind_is_the_same_line(threads, tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "SLICE", 64)
    build = tmp_path / "build"
    shutil.copytree(EXAMPLE_BUILD, build)
    text = "S_ADDI_INT gp3, gp0, 512\nC_LOOP_START gp1, 300\nV_ADD_VV gp3, gp3, gp3, 0\nC_LOOP_END gp1\nC_BREAK\n"
    words = assemble(text)
    (build / "generated_asm_code.asm").unlink()
    (build / "generated_machine_code.mem").write_text("".join(f"0x{word:08x}\n" for word in words))
    with pytest.raises(EmuError, match=r"^pc=4 C_BREAK: no loop is active"):
        plena_emu.run(build, threads=threads, dump_dir=None)


def test_helpers_keep_off_the_cpu_of_the_leading_thread():
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the system does not say where a thread may run, or allows one CPU")
    before = os.sched_getaffinity(0)
    worker = Worker()
    try:
        place = Placement()
        for cpu in sorted(before)[:2]:
            os.sched_setaffinity(0, {cpu})
            place.keep_off([worker.native_id, None, 1 << 30])
            assert os.sched_getaffinity(worker.native_id) == before - {cpu}
    finally:
        os.sched_setaffinity(0, before)
        worker.stop()
    plena_emu.run(EXAMPLE_BUILD, threads=2, dump_dir=None)
    assert os.sched_getaffinity(0) == before


def test_where_one_cpu_is_allowed_threads_stay(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {0}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", None, raising=False)
    Placement().keep_off([1])


def test_control_is_ahead_where_two_threads_run_data(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "SLICE", 64)
    found, real = [], simulation.Simulation._run_control

    def run_control(self, limit):
        found.append(self._lookahead._worker is not None)
        return real(self, limit)

    monkeypatch.setattr(simulation.Simulation, "_run_control", run_control)
    for threads, more in ((1, {}), (2, {"timing_only": True}), (2, {"pc_log": tmp_path / "log", "pc_log_count": 9})):
        plena_emu.run(EXAMPLE_BUILD, threads=threads, dump_dir=None, **more)
        assert not any(found)
    found.clear()
    plena_emu.run(EXAMPLE_BUILD, threads=2, dump_dir=None)
    assert found and all(found)
