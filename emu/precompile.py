"""Having kernels compiled before they are needed, and the calls that compile them.

A command asks for the modules it will use before it imports anything heavy: what is not kept yet is compiled by child
processes, one a module, so that a cold start uses every CPU, and the command itself need not import numba. An entry
that nobody asked for is compiled when it is first called (`kernels.compiler.obtaining`). Nothing heavy is imported
here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import EmuError
from .interrupts import at_interrupt
from .kernels.compiler import modes

if TYPE_CHECKING:
    from .request import RunRequest

# Every module with entry kernels. Those that others call come first, then those that take longest to compile.
MODULES = (
    "data.tables", "dram.timing", "dram.replay", "data.data", "hardware.dma_engine.timing",
    "hardware.dma_engine.simple_timing", "simple.timing", "control.control", "simple.foresight",
    "hardware.scoreboard.timeline", "simple.batch", "dram.trace_text", "data.plan",
)
EXECUTED = ("data.tables", "control.control")  # what executes a program without data and without memory


def kernels_of(request: RunRequest) -> tuple[str, ...]:
    """List the modules that a run uses; a board is opened for what its memory is.

    Raises
    ------
    EmuError
        There is no such board, or its file is wrong.
    """
    with_dram = _uses_dram(request)
    if request.dma == "production":
        engine = "hardware.dma_engine.timing" if with_dram else "hardware.dma_engine.simple_timing"
    else:
        engine = "dram.timing" if with_dram else "simple.timing"
    modules: tuple[str, ...] = ("data.tables", "data.data", "data.plan", engine, "control.control")
    if engine == "simple.timing" and request.timing_only:
        modules = (*modules, "simple.foresight")
    return modules if request.timing == "serial" else (*modules, "hardware.scoreboard.timeline")


def _uses_dram(request):
    """Tell whether a DRAM's controller times the memory of a run (§10.1)."""
    if request.dram is not None or request.memory_model == "hbm":
        return True
    if request.board is None:
        return False
    from .boards import load_board

    board = load_board(request.board)
    if board.memory.dram is not None and not request.reference_timing:
        return True
    return request.memory_model is None and not request.has_regions


def kernel_mode() -> str:
    """Tell how kernels run in this process (`kernels.compiler.modes`).

    Raises
    ------
    EmuError
        A variable of the environment that decides about it holds nonsense.
    """
    try:
        return modes.mode()
    except modes.KernelError as error:
        raise EmuError(str(error)) from None


def make_ready(needed) -> None:
    """Have the kernels of the modules `needed` at hand as object code, compiled by child processes where need be.

    Where that is not possible, numba compiles them in this process as they are called, if no kernel module is
    imported yet.

    Raises
    ------
    EmuError
        As `kernel_mode`, or nothing can compile the kernels.
    """
    if kernel_mode() in (modes.PLAIN, modes.PYTHON):
        return
    from .kernels.compiler.obtaining import obtain, remove_temporary, say_last

    try:
        with at_interrupt(remove_temporary):
            obtain(needed)
    except modes.KernelError as error:
        if not modes.choose(modes.PLAIN):
            raise EmuError(f"kernels: {error}") from None
        say_last(f"the kernels cannot be had as object code ({error}): numba compiles them in this process, for a few"
                 " minutes")


def warm() -> None:
    """Have every entry kernel compiled that is not kept yet, also where numba alone compiles them."""
    make_ready(MODULES)
    if modes.mode() == modes.PLAIN:
        for module in MODULES:
            _first_call(module)


def compile_module(module: str) -> None:
    """Compile the entry kernels of one module of `MODULES` in this process, unless another did or does."""
    from .kernels.compiler.compiling import compile_here

    compile_here(module, lambda: _first_call(module))


def _first_call(module):
    if module == "dram.replay":
        from .memory.dram_replay import replay

        replay("hbm2", time_ps=[0], is_write=[0], address=[0])
        replay("hbm2", time_ps=None, is_write=[0], address=[0], outstanding=1)
    elif module == "dram.trace_text":
        import numpy as np

        from .memory.dram_trace_csv import PADDING, CsvAccesses, completion_lines
        from .memory.dram_window import NOTHING

        CsvAccesses("", 1).feed(np.frombuffer(bytearray(b"0,read,0\n" + bytes(PADDING)), dtype=np.uint8), 9)
        completion_lines(NOTHING)
    elif module == "simple.batch":
        from .memory.simple import DdrTiming

        memory = DdrTiming()
        memory.read([0])
        memory.store([0])
    else:
        _first_call_of_a_run(module)


def _first_call_of_a_run(module):
    import numpy as np

    from .config.settings import default_settings, with_hbm_size
    from .machine.core import Machine
    from .machine.formats import prepare_tables
    from .manifests.schema import Manifest
    from .memory.models import RegimeModel
    from .program.decode import decode
    from .running.simulation import Simulation

    if module == "data.tables":
        prepare_tables()
        return
    settings = with_hbm_size(default_settings(), 1 << 16)
    dma = "production" if module.startswith("hardware.dma_engine.") else "reference"
    machine = Machine(settings, "base", packed=dma == "production")
    program = decode(np.zeros(0, dtype=np.uint32), "base", settings)
    if module == "hardware.scoreboard.timeline":
        _first_call_of_a_timeline(program, settings)
        return
    model = "hbm" if module in ("dram.timing", "hardware.dma_engine.timing") else "resident"
    memory = RegimeModel(model, Manifest(activation_ceiling=0), machine.descriptors, 0, 1, dma=dma)
    if module == "simple.foresight":
        memory.warm_follower()
        return
    simulation = Simulation(program, machine, memory)
    if module == "control.control":
        simulation.prepare_control()
    elif module == "data.data":
        simulation.prepare_data()
    elif module == "data.plan":
        simulation.prepare_plan()
    else:
        memory.warm()
        if module == "dram.timing":
            memory.warm_follower()


def _first_call_of_a_timeline(program, settings):
    from .boards.timing_schema import load_timing
    from .running.timeline.rules import make_rules
    from .running.timeline.scoreboard import ScoreboardPass

    ScoreboardPass(make_rules(load_timing("rtl-v1"), settings), program, settings, 1000).prepare()
