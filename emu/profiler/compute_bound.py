"""What a build's program computes on a board, in its layers and around them: a bound of `plena-emu plan` (§10.1)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from .. import isa
from ..config.apply_board import settings_for_board
from ..config.settings import Settings
from ..errors import EmuError
from ..kernels.layout import OP_COST, OP_ID
from ..machine.core import Machine
from ..program.cycle_costs import PS_PER_CYCLE
from ..program.decode import Program, decode, read_words
from ..running.attribution.labels import labels_of
from ..running.planning import ComputeCycles
from ..running.scout import NoMemory
from ..running.simulation import Simulation
from .sources import MACHINE_CODE, find_sources, settings_of

if TYPE_CHECKING:
    from ..boards.schema import Board


def has_program(build: str) -> bool:
    """Tell whether a build directory holds machine code."""
    return os.path.isdir(build) and os.path.lexists(os.path.join(build, MACHINE_CODE))


def compute_cycles_of(build: str, board: Board, revision: str = "base") -> tuple[ComputeCycles | None, list[str]]:
    """Count the core cycles that a build directory's program computes on a board; control alone is executed.

    Returns
    -------
    (ComputeCycles or None, list of str)
        None where there is no program, or none that can run; then a warning says why.
    """
    if not has_program(build):
        return None, []
    try:
        return _count(build, board, revision)
    except EmuError as error:
        return None, [f"compute time is not part of the bounds: {error}"]


def _count(build, board, revision):
    files = find_sources(build)
    settings = settings_for_board(settings_of(None, files), board)[0]
    program = decode(read_words(files.words), revision, settings)
    counts, warnings = executed_counts(program, settings, files.int_sram)
    cycles = counts.astype(object) * (program.table[:, OP_COST] // PS_PER_CYCLE)  # Python integers: no overflow
    labels = labels_of(program, build)
    layer_of = np.array([-1 if stage.layer is None else stage.layer for stage in labels.stages])
    inside = layer_of[labels.of_word] >= 0
    layers = len(set(layer_of[layer_of >= 0].tolist()))
    return ComputeCycles(int(cycles.sum()), int(cycles[inside].sum()) if layers else None, layers), warnings


def executed_counts(program: Program, settings: Settings, int_sram: str | None) -> tuple[np.ndarray, list[str]]:
    """Count the executions of each word, from the control pass alone; `int_sram` is a preload file.

    Returns
    -------
    int64[words], list of str
        The counts, and a warning where loads from the int SRAM would need the data pass: they get what integer stores
        left there.

    Raises
    ------
    EmuError
        The program does something illegal, with its pc.
    """
    used = set(program.table[:, OP_ID].tolist())
    warnings = []
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
    return machine.control.counts, warnings
