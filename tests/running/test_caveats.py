"""Is there one warning for each thing this machine does otherwise, with what and where, and none for anything else?"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import goldens
from support import settings_document

import plena_emu
from plena_emu.config.settings import default_settings, load_settings
from plena_emu.kernels import layout
from plena_emu.kernels.memory.dma_address import delivered_scales, scale_address
from plena_emu.machine.core import Machine
from plena_emu.program.assembler import assemble, mem_text
from plena_emu.running.caveats import ScaleLines

BUILD = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
WEIGHT = "TRANSACTIONAL.PRECISION.HBM_M_WEIGHT_TYPE"
PREFETCH = "S_ADDI_INT gp1, gp0, 0\nH_PREFETCH_M gp0, gp1, a0, 0, 0\n"


def warnings(folder, changes=(), asm=PREFETCH, document=None, **fields):
    """Warnings of a run with `changes` (dotted key, value) of a settings file; None removes nothing."""
    document = settings_document() if document is None else document
    document["TRANSACTIONAL"]["CONFIG"]["HBM_SIZE"]["value"] = 1 << 16
    for key, value in changes:
        *tables, last = key.split(".")
        table = document
        for name in tables:
            table = table.setdefault(name, {})
        table[last] = value
    (folder / "s.toml").write_text(tomlkit.dumps(document))
    (folder / "p.mem").write_text(mem_text(assemble(asm)))
    (folder / "hbm.bin").write_bytes(bytes(range(256)) * 256)
    (folder / "fp.bin").write_bytes(b"")
    return plena_emu.run(plena_emu.RunRequest(
        opcode=folder / "p.mem", hbm=folder / "hbm.bin", fpsram=folder / "fp.bin", settings_path=folder / "s.toml",
        dump_dir=None, **fields)).warnings


def test_stock_settings_and_sound_programs_have_none(tmp_path):
    assert warnings(tmp_path) == []
    assert plena_emu.run(BUILD).warnings == []


@pytest.mark.parametrize("key, value, words", [
    ("CONFIG.HBM_CHANNELS", {"value": 32}, "HBM_CHANNELS: not used, the model hbm has 8 channels"),
    ("CONFIG.CLOCK_PERIOD_PS", {"value": 2000}, "CLOCK_PERIOD_PS: not used, a cycle takes 1000 ps"),
    ("CONFIG.HBM_GEN", "HBM3", "HBM_GEN: not used, the memory is that of --memory-model"),
    ("CONFIG.LATENCY_PROFILE", {"value": "asap7"}, "LATENCY_PROFILE: not used, latencies are those of TRANSACTIONAL."),
    ("LATENCY_PROFILE", "asap7", "TRANSACTIONAL.LATENCY_PROFILE: not used"),
])
def test_keys_that_are_not_used(tmp_path, key, value, words):
    (line,) = warnings(tmp_path, [(f"TRANSACTIONAL.{key}", value)])
    assert words in line and line.startswith(f"settings {tmp_path}/s.toml: TRANSACTIONAL.")


@pytest.mark.parametrize("key, value", [
    ("HBM_CHANNELS", {"value": 8}), ("CLOCK_PERIOD_PS", {"value": 1000}), ("HBM_GEN", "HBM2"),
    ("HBM_WIDTH", {"value": 9}), ("ANYTHING", {"value": 1}),
])
def test_keys_that_say_what_is_done(tmp_path, key, value):
    assert warnings(tmp_path, [(f"TRANSACTIONAL.CONFIG.{key}", value)]) == []


def test_keys_that_hardware_timing_uses(tmp_path):
    changes = [("TRANSACTIONAL.CONFIG.HBM_CHANNELS", {"value": 32}),
               ("TRANSACTIONAL.CONFIG.CLOCK_PERIOD_PS", {"value": 2000})]
    assert len(warnings(tmp_path, changes)) == 2
    assert warnings(tmp_path, changes, dma="production") == []


def test_amounts_that_another_table_tells_otherwise(tmp_path):
    config = settings_document()["TRANSACTIONAL"]["CONFIG"]
    amount = config["HBM_V_Prefetch_Amount"]["value"]
    same = [("BEHAVIOR.CONFIG.HBM_V_Prefetch_Amount", {"value": amount}), ("BEHAVIOR.CONFIG.MLEN", {"value": 99}),
            ("BEHAVIOR.OTHER", 1)]
    assert warnings(tmp_path, same) == []
    (line,) = warnings(tmp_path, [*same, ("BEHAVIOR.CONFIG.HBM_V_Writeback_Amount", {"value": 77})])
    assert ("BEHAVIOR.CONFIG.HBM_V_Writeback_Amount: found 77, not used:"
            f" TRANSACTIONAL.CONFIG.HBM_V_Writeback_Amount is {config['HBM_V_Writeback_Amount']['value']}") in line


MXINT = {"format": "Mx", "block": 8, "ELEM": {"type": "Int", "width": 8},
         "SCALE": {"type": "Fp", "sign": False, "exponent": 8, "mantissa": 0}}
MXFP4 = {**MXINT, "ELEM": {"type": "Fp", "sign": True, "exponent": 2, "mantissa": 1}}


def test_negative_integers(tmp_path):
    (line,) = warnings(tmp_path, [(WEIGHT, MXINT)])
    assert line == ("pc=1 H_PREFETCH_M: HBM_M_WEIGHT_TYPE has int8 elements, which a prefetch reads as unsigned:"
                    " -1 comes back as 255, times its scale")
    assert warnings(tmp_path, [(WEIGHT, MXINT)], "C_LOOP_START gp1, 1\nC_LOOP_END gp1\n") == []
    assert warnings(tmp_path, [(WEIGHT, MXINT)], PREFETCH.replace("0, 0\n", "0, 1\n")[:-1]) == []  # KV precision


def test_elements_that_are_not_a_byte(tmp_path):
    (line,) = warnings(tmp_path, [(WEIGHT, MXFP4)])
    assert line == ("pc=1 H_PREFETCH_M: HBM_M_WEIGHT_TYPE has 4-bit elements, addressed as bytes: rows are taken"
                    " 16 bytes apart, not 8")
    stride = "S_ADDI_INT gp1, gp0, 8\nC_SET_STRIDE_REG gp1\nH_PREFETCH_M gp0, gp0, a0, 1, 0\n"
    assert warnings(tmp_path, [(WEIGHT, MXFP4)], stride) == []
    assert warnings(tmp_path, [(WEIGHT, MXFP4)], dma="production") == []


def test_a_row_of_scales_that_crosses_a_line(tmp_path):
    """Two scale bytes a row from address 63 on: the second of row 0 is lost. The sound prefetch before is not named."""
    program = (PREFETCH + "S_ADDI_INT gp2, gp0, 63\nC_SET_SCALE_REG gp2\n"
               "C_LOOP_START gp3, 5\nH_PREFETCH_M gp0, gp1, a0, 0, 0\nC_LOOP_END gp3\n")
    (line,) = warnings(tmp_path, asm=program)
    assert line == ("pc=5: a row of scales of HBM_M_WEIGHT_TYPE crosses a 64-byte line, of which only the first is"
                    " read: up to 1 of the 2 scale bytes of a row are taken as 0")
    assert warnings(tmp_path, asm=program, timing_only=True) == []
    assert warnings(tmp_path, asm=program, dma="production") == []


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 130), st.integers(1, 16), st.integers(1, 5),
       st.lists(st.tuples(st.integers(0, 300), st.integers(0, 600)), min_size=1, max_size=6))
def test_crossings_are_those_of_the_transfer(scales, ratio, rows, moves):
    """Against the kernel's own address rule, row by row."""
    descriptors = Machine(default_settings(), "base").descriptors.copy()
    number = layout.DESCRIPTOR_V_KV
    descriptors[number, [layout.DESC_SCALE_BYTES, layout.DESC_RATIO, layout.DESC_ROWS]] = scales, ratio, rows
    events = np.zeros((len(moves), layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DESCRIPTOR] = number
    events[:, layout.MEV_PC] = range(len(moves))
    events[:, layout.MEV_SCALE], events[:, layout.MEV_STEP] = zip(*moves, strict=True)
    missed = [max(scales - delivered_scales(int(scale_address(at, row, step, ratio)), scales) for row in range(rows))
              for at, step in moves]
    watcher = ScaleLines(descriptors)
    watcher.watch(events, len(moves))
    first = next((pc for pc, bytes_ in enumerate(missed) if bytes_), None)
    lines = watcher.warnings()
    assert len(lines) == (first is not None)
    if lines:
        assert lines[0].startswith(f"pc={first}: ") and f"up to {missed[first]} of the {scales} scale bytes" in lines[0]


@pytest.mark.parametrize("archive", goldens.archives(), ids=goldens.name_of)
def test_settings_of_golden_programs_have_none(archive, tmp_path):
    golden = goldens.unpack(archive, tmp_path)
    assert load_settings(golden.directory / "plena_settings.toml").otherwise == ()


def test_a_program_of_the_other_revision(tmp_path, capsys):
    build = shutil.copytree(BUILD, tmp_path / "build")
    words = assemble("S_ADDI_INT gp1, gp0, 0\nC_LOOP_START gp2, 1\nV_SHFT_V gp1, gp1, gp1\n", "moe")
    (build / "generated_machine_code.mem").write_text(mem_text(words))
    result = plena_emu.run(build)
    hint = "1 of 3 words have operands that fit --isa moe better (first: V_SHFT_V at pc=2); this run decodes --isa base"
    assert result.warnings == [hint]
    (build / "generated_machine_code.mem").write_text(mem_text([words[0], words[2]]))
    hint = "pc=1 C_BREAK: no loop is active; --isa moe reads this word as V_SHFT_V"
    with pytest.raises(plena_emu.EmuError, match=hint):
        plena_emu.run(build)
    assert json.loads(result.to_json())["warnings"] == result.warnings
