"""Do loops that are skipped leave what executing them leaves, and fail where executing them fails?"""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.programs import generate
from support import write_settings

from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.kernels.control.loop_skip import skip_loop
from plena_emu.kernels.layout import FP_SRAM_SIZE
from plena_emu.machine.core import Machine
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode
from plena_emu.running.scout import NoMemory
from plena_emu.running.simulation import Simulation

INNER = ("gp1", "gp2", "gp3", "gp4", "gp5", "gp8")  # gp5 counts the inner loop, gp6 the outer one


@pytest.fixture(scope="module", params=range(4))
def config(request, tmp_path_factory):
    """Settings of one of the small geometries."""
    document = generate(0, geometry=request.param, statements=0).document
    return load_settings(write_settings(tmp_path_factory.mktemp("settings") / "s.toml", document))


def outcome(words, config, skips, revision="base", limit=None):
    """Registers, counts and error of a program without data, its loops skipped or not."""
    program = decode(np.array(words, dtype=np.uint32), revision, config)
    machine = Machine(config, revision)
    simulation = Simulation(program, machine, NoMemory(), data=False)
    simulation.ctl[layout.CTL_SKIPS] = int(skips)
    error = None
    try:
        while simulation.step(limit):
            pass
    except EmuError as failure:
        error = str(failure)
    ctl = machine.control.ctl
    kept = [layout.CTL_PC, layout.CTL_TOP_LOOP, layout.CTL_EXECUTED, layout.CTL_COMPUTE, layout.CTL_DELTA,
            *range(layout.CTL_GP, layout.CTL_GP + 16)]
    return error, ctl[kept].tolist(), machine.control.counts.tolist()


def agree(text, config, revision="base", limit=None):
    words = assemble(text, revision)
    executed = outcome(words, config, False, revision, limit)
    assert outcome(words, config, True, revision, limit) == executed
    return executed


def bodies(config):
    """Instructions of a body: gp1 and gp2 walk over rows, gp3 over tiles, gp4 over the fp SRAM; strays are rarer."""
    vlen, mlen, blen = config.vlen, config.mlen, config.blen
    row, fp, any_gp = st.sampled_from(["gp1", "gp2"]), st.sampled_from(["f0", "f1", "f7"]), st.sampled_from(INNER)
    columns = st.sampled_from([blen, mlen * blen, mlen * mlen, mlen * mlen])
    walks = st.one_of(
        st.builds("S_ADDI_INT {0}, {0}, {1}".format, row, st.sampled_from([0, vlen, vlen, 2 * vlen])),
        st.builds("S_ADDI_INT gp3, gp3, {}".format, columns),
        st.builds("S_ADDI_INT gp4, gp4, {}".format, st.integers(0, 30)),
        st.builds("S_ADDI_INT {}, {}, {}".format, row, row, st.just(vlen)),
    )
    work = st.one_of(
        st.builds("{} 0, gp3, {}".format, st.sampled_from(["M_MM", "M_MV", "M_TMV"]), row),
        st.builds("M_TMM 0, {}, gp3".format, row),
        st.builds("M_MM_WO {}, {}, {}".format, row, st.sampled_from(["gp0", "gp0", "gp7"]), st.sampled_from([0, blen])),
        st.builds("M_MV_WO {}, gp0, {}".format, row, st.sampled_from([0, vlen, blen])),
        st.builds("{} {}, {}, {}, 0".format, st.sampled_from(["V_ADD_VV", "V_MUL_VV"]), row, row, row),
        st.builds("V_MUL_VF {}, {}, {}, 0".format, row, row, fp), st.builds("V_EXP_V {}, {}, 0".format, row, row),
        st.builds("V_SUB_VF {}, {}, {}, 0, 1".format, row, row, fp), st.builds("V_RED_SUM {}, {}, 0".format, fp, row),
        st.builds("V_SHIFT_V {}, {}, {}".format, row, row, any_gp),
        st.builds("{} {}, gp4, {}".format, st.sampled_from(["S_LD_FP", "S_ST_FP"]), fp, st.integers(0, 9)),
        st.builds("S_MAP_V_FP {}, gp4, 0".format, row), st.builds("S_ADD_FP {}, {}, {}".format, fp, fp, fp),
        st.builds("S_EXP_FP {}, {}".format, fp, fp),
    )
    strays = st.one_of(
        st.builds("S_ADDI_INT {}, {}, {}".format, any_gp, any_gp, st.sampled_from([0, 1, blen, vlen])),
        st.builds("S_LUI_INT {}, {}".format, any_gp, st.sampled_from([0, 1, 2**20 - 1])),
        st.builds("S_ADD_INT {}, {}, {}".format, any_gp, any_gp, any_gp),
        st.builds("V_ADD_VV {}, {}, {}, 0".format, any_gp, any_gp, any_gp),
    )
    usual = st.lists(st.one_of(walks, work, work), max_size=6)
    return st.one_of(usual, usual, usual, st.lists(st.one_of(walks, work, strays), max_size=6))


@st.composite
def loops(draw, config):
    """Text of a loop, sometimes in another one, whose operands mostly stay where they may be."""
    vlen, size = config.vlen, config.mlen**2
    rows = st.one_of(st.integers(0, 6), st.integers(config.vector_sram_size - 12, config.vector_sram_size))
    lines = [f"S_ADDI_INT gp1, gp0, {vlen * draw(rows)}", f"S_ADDI_INT gp2, gp0, {vlen * draw(rows)}",
             f"S_ADDI_INT gp3, gp0, {size * draw(st.integers(0, 2)) + draw(st.sampled_from([0, 0, config.blen]))}",
             f"S_ADDI_INT gp4, gp0, {draw(st.sampled_from([0, 5, 900, 1010]))}",
             f"S_ADDI_INT gp7, gp0, {draw(st.integers(1, 3))}"]
    # gp8 is a step below zero.
    if draw(st.booleans()):
        lines += [f"S_ADDI_INT gp8, gp0, {vlen}", "S_SUB_INT gp8, gp0, gp8"]
    times = draw(st.sampled_from([1, 2, 3, 3, 4, 4, 5, 9, 40]))
    inner = [f"C_LOOP_START gp5, {times}", *draw(bodies(config)), "C_LOOP_END gp5"]
    if draw(st.booleans()):
        inner = ["C_LOOP_START gp6, 3", *inner, "S_ADD_INT gp1, gp1, gp8", "C_LOOP_END gp6"]
    return "\n".join(lines + inner)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_loops(config, data):
    text = data.draw(loops(config))
    limit = data.draw(st.sampled_from([2000, 2000, 50, 111]))  # a body may keep its loop from ending
    agree(text, config, data.draw(st.sampled_from(["base", "moe"])), limit)


def test_a_plain_loop_is_skipped(config):
    text = f"C_LOOP_START gp5, 9\nS_ADDI_INT gp1, gp1, {config.vlen}\nV_EXP_V gp1, gp1, 0\nC_LOOP_END gp5"
    error, values, _ = agree(text, config)
    assert error is None and values[2] == 1 + 9 * 3
    program = decode(np.array(assemble(text), dtype=np.uint32), "base", config)
    control = Machine(config, "base").control._replace(counts=np.zeros(len(program), dtype=np.int64))
    control.ctl[: layout.CFG_WIDTH] = Machine(config, "base").cfg
    words, cost = skip_loop(program.table, control.ctl, control.affine, control.counts, 0, 9, 10**6)
    assert words == 3 and cost == program.table[1:, layout.OP_COST].sum()
    assert control.counts.tolist() == [0, 9, 9, 9]  # C_LOOP_START is the caller's
    assert control.gp[1] == 9 * config.vlen and control.gp[5] == 0
    assert skip_loop(program.table, control.ctl, control.affine, control.counts, 0, 9, 26) == (0, 0)


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


# An instruction whose operand gp1 walks towards the end of what it addresses.
ROWS = ("V_EXP_V gp1, gp0, 0", "V_EXP_V gp0, gp1, 0", "V_ADD_VV gp0, gp0, gp1, 0", "V_RED_SUM f1, gp1, 0",
        "S_MAP_V_FP gp1, gp0, 0", "M_MM 0, gp0, gp1", "M_TMM 0, gp1, gp0", "M_MV 0, gp0, gp1", "M_TMV 0, gp0, gp1",
        "M_MM_WO gp1, gp0, 0", "M_MM_WO gp1, gp7, 0", "M_MV_WO gp1, gp0, 0")
TILES = ("M_MM 0, gp1, gp0", "M_TMM 0, gp0, gp1", "M_MV 0, gp1, gp0", "M_TMV 0, gp1, gp0")
FP_WORDS = ("S_LD_FP f1, gp1, 0", "S_ST_FP f1, gp1, 0", "S_MAP_V_FP gp0, gp1, 0")


@pytest.mark.parametrize("revision", ["base", "moe"])
@pytest.mark.parametrize("text", [*ROWS, *TILES, *FP_WORDS])
def test_operands_near_an_end(config, revision, text):
    """Whatever the step and however near the end: some loops end, in others a later iteration fails."""
    size = config.mlen**2
    end = (config.vector_sram_size * config.vlen if text in ROWS else
           config.matrix_sram_size * config.mlen if text in TILES else FP_SRAM_SIZE)
    units = {1, config.blen, config.vlen, config.vlen * config.blen, size}
    errors = []
    for unit in sorted(units):
        for left in (0, 1, 2, 3, config.blen + 2, config.blen + 3):
            for offset in (0, config.blen):
                start = end - left * unit + offset
                if start < 0:
                    continue
                loop = f"C_LOOP_START gp5, 3\n{text}\nS_ADDI_INT gp1, gp1, {unit}\nC_LOOP_END gp5"
                setup = f"S_ADDI_INT gp1, gp0, {start}\nS_ADDI_INT gp7, gp0, 2\n"
                errors.append(agree(setup + loop, config, revision)[0])
    assert None in errors and any(errors)


@pytest.mark.parametrize(
    "text", ["V_EXP_V gp1, gp0, 0", "M_TMV 0, gp1, gp0", "M_MM 0, gp1, gp0", "M_MV_WO gp1, gp0, 0"]
)
def test_a_later_iteration_is_misaligned(config, text):
    error, values, _ = agree(f"C_LOOP_START gp5, 4\n{text}\nS_ADDI_INT gp1, gp1, 1\nC_LOOP_END gp5", config)
    assert "pc=1" in error and values[2] == 1 + 3 + 1


@pytest.mark.parametrize("words", [2, 3])
def test_a_body_as_long_as_the_limit(config, words):
    """A loop whose body has just as many instructions as MAX_LOOP_INSTRUCTIONS allows, or one more."""
    limited = msgspec.structs.replace(config, max_loop_instructions=2)
    body = "S_ADDI_INT gp1, gp1, 1\n" * (words - 1)
    error, _, _ = agree(f"C_LOOP_START gp5, 5\n{body}C_LOOP_END gp5", limited)
    assert (error is None) == (words == 2)


@pytest.mark.parametrize("slack", [-1, 0, 1])
def test_an_inner_loop_up_to_the_limit_of_the_outer_one(config, slack):
    """The outer loop's count is at its limit just before, at or just behind the last instruction of the inner one."""
    times = 20
    limited = msgspec.structs.replace(config, max_loop_instructions=1 + 2 * times + slack)
    error, _, _ = agree(
        f"C_LOOP_START gp6, 2\nC_LOOP_START gp5, {times}\nS_ADDI_INT gp1, gp1, 1\nC_LOOP_END gp5\nC_LOOP_END gp6",
        limited)
    assert (error is None) == (slack == 1)


def test_a_register_that_does_not_exist(config):
    program = "C_LOOP_START gp5, 9\nS_ADD_FP f1, f1, f1\nC_LOOP_END gp5"
    words = assemble(program)
    words[1] |= 8 << 6  # f9
    outcomes = [outcome(words, config, skips) for skips in (False, True)]
    assert outcomes[0] == outcomes[1] and outcomes[0][0] is not None
