"""Random programs through the emulator and the oracle: the same dumps, or an error at the same instruction."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import programs
from oracle.state import OracleError
from oracle.writer import ILLEGAL, ILLEGAL_MOE
from product import disagreements

from plena_emu.program.assembler import assemble

TESTS = Path(__file__).resolve().parents[1]
PROGRAMS = st.builds(
    programs.generate,
    seed=st.integers(0, 2**32),
    geometry=st.integers(0, programs.SMALL_GEOMETRIES - 1),
    revision=st.sampled_from(["base", "moe"]),
    flavour=st.sampled_from(programs.FLAVOURS),
    statements=st.integers(1, 40),
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(PROGRAMS)
def test_small_programs(program):
    assert disagreements(program) == []


@pytest.mark.parametrize("revision", ["base", "moe"])
@pytest.mark.parametrize("geometry", range(len(programs.GEOMETRIES)))
def test_every_geometry(geometry, revision):
    for flavour in programs.FLAVOURS:
        assert disagreements(programs.generate(0, geometry, revision, flavour, statements=25)) == []


@pytest.mark.parametrize(
    "revision, kind", [("base", kind) for kind in ILLEGAL] + [("moe", kind) for kind in ILLEGAL_MOE]
)
def test_illegal_programs(revision, kind):
    program = programs.generate(len(kind), 0, revision, statements=12, illegal=kind)
    with pytest.raises(OracleError):
        program.machine().run(program.words)
    assert disagreements(program) == []


def test_plain_types_are_stored_and_read_back():
    """Finite rows only: the bits a plain type keeps of a NaN are free."""
    for seed in range(4):
        program = plain_copy(seed)
        machine = program.machine().run(program.words)
        rows = machine.cfg.store_v
        assert all(np.array_equal(machine.rows[i], machine.rows[rows + i]) for i in range(rows))
        assert disagreements(program) == []


def plain_copy(seed: int) -> programs.Program:
    """A program that stores rows 0… as bf16 and reads them back into the rows after them."""
    made = programs.generate(seed, geometry=0, statements=0)
    document = made.document
    config = document["TRANSACTIONAL"]["CONFIG"]
    bf16 = {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}
    for key in ("HBM_V_ACT_TYPE", "HBM_V_KV_TYPE", "VECTOR_SRAM_TYPE"):
        document["TRANSACTIONAL"]["PRECISION"][key] = {"format": "Plain", "DATA_TYPE": bf16}
    vlen, rows = config["VLEN"]["value"], config["HBM_V_Writeback_Amount"]["value"]
    config["HBM_V_Prefetch_Amount"]["value"] = rows
    text = f"""
        S_ADDI_INT gp1, gp0, {2 * vlen}
        C_SET_STRIDE_REG gp1
        S_ADDI_INT gp2, gp0, {37 * seed}
        S_ADDI_INT gp3, gp0, {rows * vlen}
        H_STORE_V gp0, gp2, a0, 1, {seed % 2}
        H_PREFETCH_V gp3, gp2, a0, 1, {seed % 2}
    """
    codes = programs.bf16_codes(np.random.default_rng(seed), rows * vlen, "tame").astype("<u2")
    return dataclasses.replace(
        made, words=assemble(text, "base"), preloads={**made.preloads, "vram": codes.tobytes()}
    )


def with_text(geometry: int, text: str, **config: int) -> programs.Program:
    """A program of one's own with random preloads; `config` replaces values of the settings."""
    made = programs.generate(1, geometry, statements=0)
    for key, value in config.items():
        made.document["TRANSACTIONAL"]["CONFIG"][key]["value"] = value
    return dataclasses.replace(made, words=assemble(text, "base"))


@pytest.mark.parametrize("limit", [2**62, 2**63 - 2, 2**63 - 1])
def test_a_loop_limit_that_stands_for_none(limit):
    """The largest limits the settings take are not passed by adding to them what was executed."""
    assert disagreements(with_text(0, """
        C_LOOP_START gp1, 3
        C_LOOP_START gp2, 5
        S_ADDI_INT gp3, gp3, 7
        C_LOOP_END gp2
        C_LOOP_END gp1
        S_ST_INT gp3, gp0, 0
    """, MAX_LOOP_INSTRUCTIONS=limit)) == []


@pytest.mark.parametrize("geometry, block", [(0, 16), (2, 8), (7, 8)])
def test_scales_that_end_within_a_byte(geometry, block):
    """Of an odd number of 4-bit scales only whole bytes are read (§3.2): the last scale is 0, not what was before."""
    program = with_text(geometry, """
        H_STORE_V gp0, gp0, a0, 0, 0
        H_PREFETCH_V gp0, gp0, a0, 0, 1
        H_PREFETCH_M gp0, gp0, a0, 0, 1
    """)
    types = program.document["TRANSACTIONAL"]["PRECISION"]
    element = {"type": "Fp", "sign": True, "exponent": 4, "mantissa": 3}
    for keys, bits in ((("HBM_M_WEIGHT_TYPE", "HBM_V_ACT_TYPE"), 8), (("HBM_M_KV_TYPE", "HBM_V_KV_TYPE"), 4)):
        scale = {"type": "Fp", "sign": False, "exponent": bits, "mantissa": 0}
        for key in keys:
            types[key] = {"format": "Mx", "block": block, "ELEM": element, "SCALE": scale}
    assert disagreements(program) == []


@pytest.mark.parametrize("variable, seeds", [("NUMBA_DISABLE_JIT", range(5)), ("NUMBA_BOUNDSCHECK", range(100, 120))])
def test_other_modes_of_numba(variable, seeds):
    """Pure Python gives the same results; nothing is read or written outside an array."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    run = subprocess.run(
        [sys.executable, str(TESTS / "product.py"), *map(str, seeds)],
        env={**os.environ, variable: "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"checked {len(seeds)} programs, 0 failed" in run.stdout
