"""Do loops that are skipped leave what executing them leaves, and fail where executing them fails?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.programs import generate
from support import write_settings

from plena_emu.assembler import assemble
from plena_emu.errors import EmuError
from plena_emu.kernels import layout as at
from plena_emu.kernels.loop_skip import skip_loop
from plena_emu.machine import Machine
from plena_emu.profile_executed import _NoMemory
from plena_emu.program import decode
from plena_emu.settings import load_settings
from plena_emu.simulation import Simulation

INNER = ("gp1", "gp2", "gp3", "gp4", "gp5")  # gp5 counts the inner loop, gp6 the outer one


@pytest.fixture(scope="module", params=range(4))
def config(request, tmp_path_factory):
    """Settings of one of the small geometries."""
    document = generate(0, geometry=request.param, statements=0).document
    return load_settings(write_settings(tmp_path_factory.mktemp("settings") / "s.toml", document))


def outcome(words, config, skips, revision="base", limit=None):
    """Registers, counts and error of a program without data, its loops skipped or not."""
    program = decode(np.array(words, dtype=np.uint32), revision, config)
    machine = Machine(config, revision)
    simulation = Simulation(program, machine, _NoMemory(), data=False)
    simulation.ctl[at.CTL_SKIPS] = int(skips)
    error = None
    try:
        while simulation.step(limit):
            pass
    except EmuError as failure:
        error = str(failure)
    ctl = machine.control.ctl
    kept = [at.CTL_PC, at.CTL_DEPTH, at.CTL_EXECUTED, at.CTL_COMPUTE, at.CTL_DELTA, *range(at.CTL_GP, at.CTL_GP + 16)]
    return error, ctl[kept].tolist(), machine.control.counts.tolist()


def agree(text, config, revision="base", limit=None):
    words = assemble(text, revision)
    executed = outcome(words, config, False, revision, limit)
    assert outcome(words, config, True, revision, limit) == executed
    return executed


@st.composite
def loops(draw, config):
    """Text of a loop, sometimes in another one, whose operands mostly stay where they may be."""
    vlen, mlen, blen = config.vlen, config.mlen, config.blen
    units = st.sampled_from([vlen, vlen, mlen * mlen, blen, mlen * blen, 0, 1])
    numbers = st.builds(lambda unit, n: unit * n, units, st.integers(0, 5))
    edges = st.sampled_from([config.vector_sram_size * vlen, config.matrix_sram_size * mlen * mlen // vlen, 1024])
    register, fp = st.sampled_from(INNER), st.sampled_from(["f0", "f1", "f5", "f7"])
    starts = st.one_of(numbers, st.builds(lambda edge, n: max(0, edge - n), edges, numbers))
    moves = st.builds("S_ADDI_INT {}, {}, {}".format, register, register, numbers)
    own = register.flatmap(lambda x: st.builds("S_ADDI_INT {0}, {0}, {1}".format, st.just(x), numbers))
    others = st.one_of(
        st.builds("M_MM 0, {}, {}".format, register, register), st.builds("M_TMM 0, {}, {}".format, register, register),
        st.builds("M_MV 0, {}, {}".format, register, register), st.builds("M_TMV 0, {}, {}".format, register, register),
        st.builds("M_MM_WO {}, {}, {}".format, register, st.sampled_from(["gp0", "gp4"]), numbers),
        st.builds("M_MV_WO {}, gp0, {}".format, register, numbers),
        st.builds("V_ADD_VV {}, {}, {}, 0".format, register, register, register),
        st.builds("V_MUL_VF {}, {}, {}, 0".format, register, register, fp),
        st.builds("V_SUB_VF {}, {}, {}, 0, 1".format, register, register, fp),
        st.builds("V_EXP_V {}, {}, 0".format, register, register),
        st.builds("V_RED_SUM {}, {}, 0".format, fp, register),
        st.builds("V_SHIFT_V {}, {}, {}".format, register, register, register),
        st.builds("S_LD_FP {}, {}, {}".format, fp, register, numbers),
        st.builds("S_MAP_V_FP {}, {}, {}".format, register, register, numbers),
        st.builds("S_ADD_FP {}, {}, {}".format, fp, fp, fp), st.builds("S_EXP_FP {}, {}".format, fp, fp),
        st.builds("S_LUI_INT {}, {}".format, register, st.sampled_from([0, 1, 2**20 - 1])),
        st.builds("S_ADD_INT {}, {}, {}".format, register, register, register),
    )
    lines = [f"S_ADDI_INT {x}, gp0, {draw(starts)}" for x in INNER[:4]]
    # A step below zero: gp4 counts down from 2^32.
    if draw(st.booleans()):
        lines += [f"S_ADDI_INT gp7, gp0, {draw(numbers)}", "S_SUB_INT gp4, gp0, gp7"]
    body = draw(st.lists(st.one_of(own, own, moves, others, others), max_size=7))
    inner = [f"C_LOOP_START gp5, {draw(st.sampled_from([1, 2, 3, 4, 9, 40]))}", *body, "C_LOOP_END gp5"]
    if draw(st.booleans()):
        inner = ["C_LOOP_START gp6, 3", *inner, *draw(st.lists(own, max_size=2)), "C_LOOP_END gp6"]
    return "\n".join(lines + inner)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_loops(config, data):
    text = data.draw(loops(config))
    limit = data.draw(st.sampled_from([None, None, 50, 111]))
    agree(text, config, data.draw(st.sampled_from(["base", "moe"])), limit)


def test_a_plain_loop_is_skipped(config):
    text = f"C_LOOP_START gp5, 9\nS_ADDI_INT gp1, gp1, {config.vlen}\nV_EXP_V gp1, gp1, 0\nC_LOOP_END gp5"
    error, values, _ = agree(text, config)
    assert error is None and values[2] == 1 + 9 * 3
    program = decode(np.array(assemble(text), dtype=np.uint32), "base", config)
    control = Machine(config, "base").control
    control.ctl[: at.CFG_WIDTH] = Machine(config, "base").cfg
    words, cost = skip_loop(program.table, control.ctl, control.lines, control.counts, 0, 9, 10**6)
    assert words == 3 and cost == program.table[1:, at.OP_COST].sum()
    assert control.gp[1] == 9 * config.vlen and control.gp[5] == 0
    assert skip_loop(program.table, control.ctl, control.lines, control.counts, 0, 9, 26) == (0, 0)


@pytest.mark.parametrize("iterations", [5, 6])
def test_the_last_iteration_fails(config, iterations):
    vlen = config.vlen
    start = (config.vector_sram_size - 5) * vlen
    error, values, _ = agree(
        f"S_ADDI_INT gp1, gp0, {start}\nC_LOOP_START gp5, {iterations}\nV_EXP_V gp1, gp1, 0\n"
        f"S_ADDI_INT gp1, gp1, {vlen}\nC_LOOP_END gp5", config)
    assert (error is None) == (iterations == 5)
    assert error is None or "pc=2" in error


def test_the_limit_of_an_outer_loop(config):
    """The outer loop reaches MAX_LOOP_INSTRUCTIONS within the inner one, at the same instruction."""
    times = config.max_loop_instructions // 2
    error, values, _ = agree(
        f"C_LOOP_START gp6, 2\nS_ADDI_INT gp1, gp0, 0\nC_LOOP_START gp5, {times}\nS_ADDI_INT gp1, gp1, 1\n"
        "C_LOOP_END gp5\nC_LOOP_END gp6", config)
    assert error is not None


def test_a_register_that_does_not_exist(config):
    program = "C_LOOP_START gp5, 9\nS_ADD_FP f1, f1, f1\nC_LOOP_END gp5"
    words = assemble(program)
    words[1] |= 8 << 6  # f9
    outcomes = [outcome(words, config, skips) for skips in (False, True)]
    assert outcomes[0] == outcomes[1] and outcomes[0][0] is not None
