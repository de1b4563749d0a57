"""Programs and machines the benchmarks share."""

import pathlib

import msgspec
import numpy as np

from plena_emu.config.settings import Settings, default_settings
from plena_emu.machine.core import Machine
from plena_emu.manifests.schema import Manifest
from plena_emu.memory.models import RegimeModel
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode
from plena_emu.running.simulation import Simulation

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT.parent / "shared" / "golden" / "programs"
ITERATIONS = 2000
REPEATS = 16  # copies of the instruction in the loop body


def bench_settings(mlen: int = 64, blen: int = 16) -> Settings:
    """Built-in defaults at another geometry, with a small HBM and loops without limit."""
    return msgspec.structs.replace(
        default_settings(), mlen=mlen, vlen=mlen, blen=blen, hlen=mlen // 4, broadcast=4, hbm_size=1 << 24,
        matrix_sram_size=4 * mlen, vector_sram_size=8 * mlen, max_loop_instructions=10**12,
    )


def loop_of(instruction: str, iterations: int = ITERATIONS) -> str:
    """Assembly of a loop whose body repeats one instruction; gp3 holds the address of row 8."""
    body = f"{instruction}\n" * REPEATS
    return f"S_ADDI_INT gp3, gp0, 512\nC_LOOP_START gp1, {iterations}\n{body}C_LOOP_END gp1\n"


class Workload:
    """A program on a machine of its own, ready to run from reset."""

    def __init__(self, text: str, settings: Settings, model: str = "resident"):
        self.program = decode(np.array(assemble(text), dtype=np.uint32), "base", settings)
        self.settings = settings
        self.model = model

    def simulation(self) -> Simulation:
        """A fresh machine with its kernels loaded."""
        machine = Machine(self.settings, "base")
        memory = RegimeModel(self.model, Manifest(activation_ceiling=0), machine.descriptors, 0, 1)
        simulation = Simulation(self.program, machine, memory)
        simulation.prepare()
        return simulation


def drive(simulation: Simulation) -> int:
    """Run to the end; the instructions executed."""
    while simulation.step(None):
        pass
    simulation.finish()
    return simulation.executed
