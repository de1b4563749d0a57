"""The executed view: the control pass runs the program and says how often each word ran (spec §6.4)."""

import numpy as np

from .. import isa
from ..config.settings import Settings
from ..kernels.layout import OP_ID
from ..machine.core import Machine
from ..program.decode import Program
from ..running.scout import NoMemory
from ..running.simulation import Simulation


def executed_counts(program: Program, settings: Settings, int_sram: str | None, warnings: list[str]) -> list[int]:
    """Count the executions of each word, from the control pass alone; `int_sram` is a preload file.

    Adds a warning where loads from the int SRAM would need the data pass: they get what integer stores left there.
    Raises `EmuError` when the program does something illegal, with its pc.
    """
    used = set(program.table[:, OP_ID].tolist())
    if {isa.V_TOPK, isa.S_LD_INT} <= used:
        warnings.append("V_TOPK is not computed here: S_LD_INT does not see the indices it would store")
    machine = Machine(settings, program.revision)
    if int_sram is not None:
        machine.load_integers(int_sram)
    simulation = Simulation(program, machine, NoMemory(), data=False)
    with np.errstate(all="ignore"):  # plain Python would warn where compiled code is silent
        more = simulation.step(0) or len(program) > 0
        while more:
            more = simulation.step(None)
    return machine.control.counts.tolist()
