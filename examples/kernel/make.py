"""Writes a kernel with the builder: the softmax of 100 rows of VLEN numbers, as a build directory that runs.

    python examples/kernel/make.py [DIRECTORY]

writes to `build` beside this script by default. docs/kernels.md walks through it.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from plena_emu.assembler import mem_text
from plena_emu.models.builder import Builder
from plena_emu.models.constants import Constants
from plena_emu.models.number_formats import round_bf16
from plena_emu.models.passes.stages import assembly_text, stages_json
from plena_emu.models.presets import find_preset, settings_text

HERE = Path(__file__).resolve().parent
ROWS = 100
PRESET = find_preset("m64b16")


def scores() -> np.ndarray:
    """f32[ROWS, VLEN], exact in bf16."""
    return round_bf16(np.random.default_rng(0).standard_normal((ROWS, PRESET.mlen), dtype=np.float32) * 3)


def write_softmax(b: Builder, constants: Constants, rows: int, vlen: int) -> None:
    """Replace `rows` rows from the first on by their softmax: rows stay in place, two fp registers hold the state."""
    lowest = constants.address(-60000.0)
    with b.stage("attn.softmax"), b.register(0) as row, b.loop(rows, unroll=4):
        b.emit("S_LD_FP", 1, 0, lowest)
        b.emit("S_ADD_FP", 2, 0, 0)
        b.emit("V_RED_MAX", 1, row)
        b.emit("V_SUB_VF", row, row, 1, 0, 0)
        b.emit("V_EXP_V", row, row)
        b.emit("V_RED_SUM", 2, row)
        b.emit("S_RECI_FP", 2, 2)
        b.emit("V_MUL_VF", row, row, 2)
        b.advance(row, vlen)


def expected() -> np.ndarray:
    """The same by numpy, f32[ROWS, VLEN]."""
    weights = np.exp(scores() - scores().max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def make(directory: Path) -> None:
    """Write the build directory."""
    directory.mkdir(parents=True, exist_ok=True)
    b, constants = Builder(max_loop_instructions=100_000), Constants()
    write_softmax(b, constants, ROWS, PRESET.mlen)
    program = b.finish()
    files = {
        "generated_asm_code.asm": assembly_text(program).encode(),
        "generated_machine_code.mem": mem_text(program.words).encode(),
        "stages.json": stages_json(program),
        "fp_sram.bin": constants.image(),
        "vram_preload.bin": (scores().view(np.uint32) >> 16).astype("<u2").tobytes(),
        "hbm_for_behave_sim.bin": b"",
        "hbm_size.txt": b"64\n",
        "hbm_addrs.json": json.dumps({}).encode(),
        "plena_settings.toml": settings_text(PRESET, 64).encode(),
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the build directory of this example.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE / "build", help="where (default: %(default)s)")
    make(parser.parse_args().directory)
