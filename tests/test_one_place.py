"""Are numbers that a layer must restate those of their one place: `plena_emu.kernels.limits`, the kernels' records?"""

import re

import numpy as np
from tiny_package import ROOT

from plena_emu import isa
from plena_emu.boards import dram_checks, dram_schema, dram_timing
from plena_emu.inputs import choices
from plena_emu.kernels import layout, limits
from plena_emu.kernels.dram import state as dram_state
from plena_emu.kernels.memory import regimes
from plena_emu.manifests import footprint


def test_sizes_of_the_manifests():
    assert footprint.LINE == limits.ACCESS_BYTES
    assert set(footprint.REGIMES) < set(choices.MEMORY_MODELS)


def test_bounds_of_a_dram_description_are_those_of_the_kernels_records():
    assert dram_checks.MAX_BANKS == dram_state.BANKS
    assert dram_checks.MAX_CHANNELS == dram_state.CHANNELS
    assert dram_checks.MAX_RANKS == dram_state.RANKS
    assert dram_timing.MAX_WINDOW == dram_state.WINDOW and dram_checks.MAX_WINDOWED == dram_state.WINDOWED
    assert dram_schema.MAX_QUEUE < dram_state.SLOTS


def test_the_mask_is_that_of_the_widest_register():
    assert np.iinfo(np.uint32).max == limits.U32_MASK and limits.TIME_LIMIT < limits.NEVER


def test_kernel_codes_are_distinct():
    """Columns and slots of one array never share a number."""
    groups = ("MEV_", "DESC_", "OP_", "CFG_", "LOOP_", "FMT_")
    for prefix in groups:
        values = [value for name, value in vars(layout).items() if name.startswith(prefix) and "WIDTH" not in name]
        assert len(values) == len(set(values)) > 2, prefix
    assert len({regimes.RESIDENT, regimes.STREAM, regimes.SWAP}) == 3
    assert isa.REVISIONS == ("base", "moe")


def test_types_are_converted_to_in_one_module():
    """Msgspec's own function crashes when two threads use a type for the first time: its one caller holds a lock.

    `boards/parsed.py` takes plain values of no type.
    """
    folders = ("emu", "boards", "manifests", "models", "kernels")
    sources = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    callers = {path.relative_to(ROOT).as_posix() for path in sources
               if re.search(r"msgspec\.(convert|\w+\.(decode|Decoder))\b", path.read_text())}
    assert callers == {"emu/inputs/schema.py", "boards/parsed.py"}
    assert "msgspec.json.decode(kept)" in (ROOT / "boards" / "parsed.py").read_text()
