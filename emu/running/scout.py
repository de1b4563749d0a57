"""A run of the control pass alone: how often each word runs, when the program comes to one."""

import numpy as np

from .. import isa
from ..config.settings import Settings
from ..errors import EmuError
from ..kernels import layout
from ..machine.core import Machine
from ..program.decode import Program
from .simulation import Simulation


class NoMemory:
    """Memory model of a run whose transfers take no time."""

    now_ps = last_event_ps = 0

    def advance(self, events, count):
        """Let `count` transfers pass."""


def instructions_before(program: Program, settings: Settings, int_sram: str | None, pc: int) -> int:
    """Count the instructions that run before the first execution of word `pc`.

    Parameters
    ----------
    int_sram : str or None
        Preload file.

    Returns
    -------
    int

    Raises
    ------
    EmuError
        The word never runs, the way to it depends on data (§1.8), or the program fails before.
    """
    if program.waits_for_data:
        raise EmuError("the program holds V_TOPK and S_LD_INT, so where it goes can depend on data: give"
                       " count=N as the place")
    table = program.table.copy()
    table[pc] = 0
    table[pc, layout.OP_ID] = isa.INVALID  # the control pass stops there
    machine = Machine(settings, program.revision)
    if int_sram is not None:
        machine.load_integers(int_sram)
    stopping = Program(program.words, table, program.revision, program.invalid, program.foreign, program.lookalikes)
    simulation = Simulation(stopping, machine, NoMemory(), data=False)
    with np.errstate(all="ignore"):  # plain Python would warn where compiled code is silent
        simulation.prepare_control()
        try:
            while simulation.step(None):
                pass
        except EmuError:
            if int(machine.control.ctl[layout.CTL_PC]) != pc:
                raise
            return int(machine.control.counts.sum())
    raise EmuError(f"word {pc} never runs")
