"""Does what runs side by side change anything: figures, errors, what a limit stops?"""

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

import plena_emu
from plena_emu import isa
from plena_emu.assembler import assemble
from plena_emu.config.settings import default_settings, with_hbm_size
from plena_emu.errors import EmuError
from plena_emu.kernels import status as st
from plena_emu.kernels.compiler.atomics import IS_ATOMIC
from plena_emu.kernels.compiler.placement import Placement
from plena_emu.machine.core import Machine
from plena_emu.running import pipeline, simulation
from plena_emu.running.crew import SLOTS, Crew
from plena_emu.running.pipeline import BEHIND, Chunk, Pipeline, Slice
from plena_emu.running.workers import Worker

EXAMPLE_BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
needs_threads = pytest.mark.skipif(not IS_ATOMIC, reason="in plain Python one thread runs kernels")


class Counted:
    """A pipeline of slices of ten instructions; slice n adds one to row n, and timing notes n."""

    def __init__(self, statuses, is_ahead=True, slow=None, timing=None):
        self.machine = Machine(with_hbm_size(default_settings(), 1 << 16), "base")
        self.statuses = statuses
        self.ran, self.timed, self.ahead, self.touched = [], [], [], []
        self.machine.data.fp[1] = 1.0
        self.workers = [Worker()]
        self.crew = Crew(self.machine, 16, self.workers)
        self.crew.prepare()
        self.slow = slow
        self.events = lambda number: [isa.S_ADD_FP, 2, 2, 1, 0, 0]
        self.fails = timing
        self.pipeline = Pipeline(self.control, self.timing, self.crew, self.workers[0], self.touched.append, is_ahead)

    def control(self, events, most, limit):
        number = len(self.ran)
        self.ran.append(threading.current_thread() is threading.main_thread())
        self.ahead.append(number - self.crew.led)
        if self.slow == "control":
            time.sleep(0.001)
        events[0] = self.events(number)
        return Slice(self.statuses[number], Chunk(None, None), 1, 0, 10, number, 10 * (number + 1), 0, 0)

    def timing(self, found):
        if found.pc == self.fails:
            raise EmuError(f"timing of slice {found.pc}")
        if self.slow == "timing":
            time.sleep(0.002)
        self.timed.append(found.pc)

    def run(self, limit=None, most=1 << 60):
        """Step to the end; the last slice."""
        while (last := self.pipeline.step(limit, most)) is None:
            pass
        return last

    @property
    def executed(self):
        """Slices whose data is done."""
        return int(self.machine.data.fp[2])

    def close(self):
        self.crew.dismiss()
        for worker in self.workers:
            worker.stop()


@pytest.fixture
def counted():
    made = []

    def make(*arguments, **options):
        made.append(Counted(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@needs_threads
@pytest.mark.parametrize("slow", [None, "control", "timing"])
@pytest.mark.parametrize("is_ahead", [True, False])
@pytest.mark.parametrize("most", [1, 1 << 60])
def test_every_slice_is_timed_and_executed_once_in_order(counted, slow, is_ahead, most):
    run = counted([st.CHUNK_FULL] * 40 + [st.DONE], is_ahead, slow)
    last = run.run(most=most)
    assert last.pc == 40 and run.timed == list(range(41)) and run.executed == 41 == len(run.ran)
    assert max(run.ahead) <= (SLOTS if is_ahead else 0)
    assert all(run.ran) or is_ahead
    assert run.pipeline.step(None, most) is last  # there is no more


@needs_threads
def test_memory_is_made_ready_for_rows_that_will_be_written(counted):
    run = counted([st.CHUNK_FULL] * 60 + [st.DONE], slow="control")
    run.events = lambda number: [isa.V_ADD_VV, number % 50, 0, 0, 0, 0]
    run.run()
    assert run.touched == sorted(set(run.touched)) and max(run.touched, default=50) <= 50
    assert run.crew.rows_written == 50


@needs_threads
def test_nothing_of_a_slice_that_failed_is_done(counted):
    run = counted([st.CHUNK_FULL] * 20 + [st.FIRST_ERROR] * 5)
    assert run.run().has_failed
    assert run.timed == list(range(20)) and run.executed == 20 and len(run.ran) == 21


@needs_threads
@pytest.mark.parametrize("is_ahead", [True, False])
def test_what_timing_raises_ends_the_run(counted, is_ahead):
    run = counted([st.CHUNK_FULL] * 10_000, is_ahead, timing=30)
    with pytest.raises(EmuError, match="timing of slice 30"):
        run.run()
    assert run.timed == list(range(30)) and 30 < len(run.ran) <= 32 + SLOTS + BEHIND


@needs_threads
def test_a_limit_is_not_passed_and_can_be_raised(counted):
    run = counted([st.CHUNK_FULL] * 99)
    assert run.run(45).so_far == 50 and len(run.ran) == 5 == run.executed
    assert run.run(45).so_far == 50 and len(run.ran) == 5
    assert run.run(60).so_far == 60 and run.timed == list(range(6)) and run.executed == 6


@needs_threads
def test_what_control_raises_on_the_worker_ends_the_run(counted):
    run = counted([st.CHUNK_FULL] * 9)  # the next is none
    with pytest.raises(IndexError):
        run.run()


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


@needs_threads
def test_control_is_ahead_where_two_threads_run_data(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "SLICE", 64)
    found, real = [], pipeline.Pipeline.step

    def step(self, *arguments):
        found.append(self._is_ahead)
        return real(self, *arguments)

    monkeypatch.setattr(pipeline.Pipeline, "step", step)
    for threads, more in ((1, {}), (2, {"timing_only": True}), (2, {"pc_log": tmp_path / "log", "pc_log_count": 9})):
        plena_emu.run(EXAMPLE_BUILD, threads=threads, dump_dir=None, **more)
        assert not found
    plena_emu.run(EXAMPLE_BUILD, threads=2, dump_dir=None)
    assert found and all(found)
