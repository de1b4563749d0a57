"""The ISA profiler (spec §6.4): the static view, the executed view, and the tables of both."""

import itertools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import control, goldens
from support import changed, write_settings

from plena_emu.boards import load_board
from plena_emu.cli.main import main
from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.logs import Log
from plena_emu.profiler.executed import executed_profile
from plena_emu.profiler.model import make_machine, match_loops, profile_static
from plena_emu.profiler.sources import static_profile
from plena_emu.profiler.static import read_assembly, read_program, static_counts
from plena_emu.program.assembler import assemble, mem_text
from plena_emu.program.decode import decode
from plena_emu.request import RunRequest
from plena_emu.running.runner import execute

A7, NEXYS, V80 = load_board("custom_a7"), load_board("nexys_video"), load_board("v80")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """(settings, oracle settings) with MLEN = VLEN = 16 and latencies that all differ."""
    path = write_settings(tmp_path_factory.mktemp("settings") / "s.toml")
    return load_settings(path), control.Settings.load(path)


def profile_of_text(text, config, board=A7, latencies="settings"):
    listing = read_assembly(text)
    return profile_static(listing, static_counts(listing), make_machine(board, config[0], latencies))


# --- golden programs -----------------------------------------------------------------------------

def archives():
    return goldens.archives() + [path for path in goldens.archives(shared=True) if path.name.startswith("base_aten")]


@pytest.fixture(scope="module", params=archives(), ids=goldens.name_of)
def golden(request, tmp_path_factory):
    """A golden program and what the control oracle counted in it."""
    golden = goldens.unpack(request.param, tmp_path_factory.mktemp("golden"))
    folder = golden.directory
    words, ints = folder / "generated_machine_code.mem", folder / "int_sram.bin"
    oracle = control.Control(
        control.read_words(words), control.Settings.load(folder / "plena_settings.toml"), golden.isa,
        control.read_ints(ints), topk=lambda *_: range(8))
    return golden, oracle.run()


def check_against(found, outcome, golden):
    """Counts by opcode and compute time are those of the oracle, and the published number of instructions."""
    names = {"V_SHFT_V": "V_SHIFT_V"}
    assert {names.get(name, name): row.count for name, row in found.by_opcode.items() if row.count} == outcome.counts
    assert 1000 * found.compute_cycles == outcome.compute_ps
    expected = golden.expected
    assert found.static_instructions == expected["static_instructions"]
    assert expected["dynamic_instructions"] in (None, found.dynamic_instructions)


def test_static_view_of_golden_programs(golden):
    golden, outcome = golden
    source = str(golden.directory / "generated_machine_code.mem")
    found = static_profile(source, A7, revision=golden.isa, latencies="settings")
    if outcome.counts["C_BREAK"]:
        assert any("C_BREAK" in warning for warning in found.warnings)
    else:
        check_against(found, outcome, golden)


def fields_of_golden(golden):
    size = int(golden.flag("--hbm-size") or 0)
    return {"isa": golden.isa} | ({"hbm_size": size} if size else {})


def test_executed_view_of_golden_programs(golden):
    golden, outcome = golden
    found = executed_profile(str(golden.directory), fields_of_golden(golden))
    assert found.view == "executed"
    check_against(found, outcome, golden)
    check_sums(found)


def test_executed_view_is_the_run(golden, tmp_path):
    """Counts by mnemonic and every total are those of a run with its data."""
    golden, outcome = golden
    folder = golden.directory
    run = execute(RunRequest(
        opcode=str(folder / "generated_machine_code.mem"), hbm=str(folder / "hbm_for_behave_sim.bin"),
        fpsram=str(folder / "fp_sram.bin"), intsram=str(folder / "int_sram.bin"),
        settings_path=str(folder / "plena_settings.toml"), dump_dir=None, **fields_of_golden(golden)), Log("off"))
    found = executed_profile(str(folder), fields_of_golden(golden))
    assert run.instruction_counts == {name: row.count for name, row in found.by_opcode.items() if row.count}
    for name in ("latency_ps", "compute_ps", "memory_ps", "housekeeping_ps", "model", "regime", "board_time_ps"):
        assert getattr(run, name) == getattr(found, name), name
    assert run.instructions == found.dynamic_instructions


def check_sums(found):
    """Every figure is the sum of its parts, and loops hold at most what is around them."""
    for rows in (found.by_type, found.by_opcode):
        assert sum(row.count for row in rows.values()) == found.dynamic_instructions
        assert sum(row.compute_cycles for row in rows.values()) == found.compute_cycles
        assert sum(row.compute_ps for row in rows.values()) == found.compute_ps
        assert sum(row.memory_ps for row in rows.values()) == found.memory_ps
        for row in rows.values():
            assert row.memory_cycles * found.core_period_ps == pytest.approx(row.memory_ps, rel=1e-12)
    check_tree(found.loops, found.dynamic_instructions, found.compute_ps, found.memory_ps, -1, 2**63)
    assert found.compute_ps == found.compute_cycles * found.core_period_ps
    assert found.latency_ps == found.compute_ps + found.memory_ps + found.housekeeping_ps
    assert found.seconds == pytest.approx(found.latency_ps / 1e12, rel=1e-12)


def check_tree(loops, instructions, compute, memory, start, end):
    assert sum(loop.instructions for loop in loops) <= instructions
    assert sum(loop.compute_ps for loop in loops) <= compute
    assert sum(loop.memory_ps for loop in loops) <= memory
    for before, after in itertools.pairwise(loops):
        assert before.end_pc < after.pc
    for loop in loops:
        assert start < loop.pc < loop.end_pc < end
        check_tree(loop.loops, loop.instructions, loop.compute_ps, loop.memory_ps, loop.pc, loop.end_pc)


# --- the static view -----------------------------------------------------------------------------

def nested(draw, depth):
    """Lines of a random block: instructions and closed loops, of registers that differ where they nest."""
    lines = []
    for _ in range(draw(st.integers(0, 3))):
        if depth < 4 and draw(st.booleans()):
            trips = draw(st.integers(1, 4))
            body = nested(draw, depth + 1)
            lines += [f"C_LOOP_START gp{depth + 1}, {trips}", *body, f"C_LOOP_END gp{depth + 1}"]
        else:
            lines.append(draw(st.sampled_from(PLAIN)))
    return lines


PLAIN = ["S_ADDI_INT gp10, gp0, 3", "S_ADD_FP f0, f1, f2", "S_ADD_FP f1, f1, f2", "V_ADD_VV gp0, gp0, gp0",
         "V_RED_SUM f0, gp0", "V_RED_SUM f3, gp0", "M_MM 0, gp0, gp0", "S_MAP_V_FP gp0, gp0, 0", "M_MM_WO gp0, gp0, 0",
         "V_EXP_V gp0, gp0, 0, 0", "C_SET_STRIDE_REG gp0", "H_PREFETCH_V gp0, gp0, a0, 0, 0", "S_SQRT_FP f0, f1, 0"]
programs = st.composite(lambda draw: nested(draw, 0))()


@settings(max_examples=150, deadline=None)
@given(programs)
def test_static_counts_are_those_of_execution(config, lines):
    text = "\n".join(lines)
    outcome = control.Control(assemble(text), config[1]).run()
    found = profile_of_text(text, config)
    assert {name: row.count for name, row in found.by_opcode.items() if row.count} == outcome.counts
    assert 1000 * found.compute_cycles == outcome.compute_ps
    check_sums(found)
    words = read_program(decode(assemble(text), "base", config[0]), "words")
    assert static_counts(words) == static_counts(read_assembly(text))


def test_loops_as_a_tree(config):
    text = """; fill
C_LOOP_START gp1, 3
S_ADDI_INT gp10, gp0, 1
; inner part
C_LOOP_START gp2, 4 ; not this
V_ADD_VV gp0, gp0, gp0
H_PREFETCH_M gp0, gp0, a0, 0, 0
C_LOOP_END gp2
C_LOOP_END gp1
C_LOOP_START gp1, 1
C_LOOP_END gp1
"""
    found = profile_of_text(text, config)
    outer, last = found.loops
    (inner,) = outer.loops
    assert (outer.label, outer.line, outer.pc, outer.end_pc, outer.trips) == ("fill", 2, 0, 6, 3)
    assert (inner.label, inner.line, inner.register, inner.trips) == ("inner part", 5, 2, 4)
    assert (outer.entered, outer.iterations, inner.entered, inner.iterations) == (1, 3, 3, 12)
    assert (inner.instructions, outer.instructions, last.instructions) == (3 + 3 * 12, 1 + 2 * 3 + 39, 2)
    assert inner.compute_cycles == 3 + 12 * (5 + 1) and inner.memory_cycles == 12 * 400
    assert outer.compute_cycles == 1 + 3 * (53 + 1) + inner.compute_cycles
    assert inner.share == (inner.compute_cycles + 4800) / (found.compute_cycles + 4800)
    assert (found.source_lines, found.static_instructions) == (11, 9)


def test_text_that_would_not_assemble_still_counts(config):
    text = """.section text
start:
  C_LOOP_START gp3, 0x5
    V_ADD_VV gp{dst}, gp1
    S_FANCY f1, f2
    jump start
    V_RED_SUM f0, gp1
    V_RED_SUM fX, gp1
  C_LOOP_END gp3
"""
    found = profile_of_text(text, config)
    counts = {name: row.count for name, row in found.by_opcode.items()}
    assert counts == {"C_LOOP_START": 1, "V_ADD_VV": 5, "S_FANCY": 5, "V_RED_SUM": 10, "C_LOOP_END": 5}
    assert found.by_opcode["V_RED_SUM"].compute_cycles == 5 * 29  # the one into f0 is free
    assert found.warnings == ["S_FANCY is no known operation: counted 5 times at 0 cycles"]
    assert found.by_type["unknown"].count == 5


def test_loops_that_do_not_match(config):
    text = "C_LOOP_END gp4\nC_LOOP_START gp1, 10\nC_LOOP_START gp2, 5\nS_ADDI_INT gp9, gp0, 1\nC_LOOP_END gp1\n"
    listing = read_assembly(text)
    assert match_loops(listing.entries) == ([(1, 4)], [0])
    assert static_counts(listing) == [1, 1, 10, 10, 10]
    assert listing.warnings == ["line 1: C_LOOP_END gp4 closes no open loop: ignored"]


def test_a_loop_without_a_readable_count():
    for line in ("C_LOOP_START gp1, n", "C_LOOP_START gp1", "C_LOOP_START x, 3"):
        with pytest.raises(EmuError, match="a.asm, line 2: C_LOOP_START"):
            read_assembly(f"\n{line}\n", "a.asm")


def test_break_is_said(config):
    listing = read_assembly("C_LOOP_START gp1, 3\nC_BREAK\nC_LOOP_END gp1\n")
    assert static_counts(listing) == [1, 3, 3] and "C_BREAK" in listing.warnings[0]


# --- the executed view ---------------------------------------------------------------------------

MAX_LOOP = "TRANSACTIONAL.CONFIG.MAX_LOOP_INSTRUCTIONS"


def executed_text(text, tmp_path, revision="base"):
    (tmp_path / "p.asm").write_text(text)
    write_settings(tmp_path / "plena_settings.toml", changed(MAX_LOOP, {"value": 100000}))
    return executed_profile(str(tmp_path / "p.asm"), {"isa": revision})


WILD = PLAIN + ["S_ADDI_INT gp1, gp1, 1", "S_ADDI_INT gp2, gp0, 0", "C_BREAK"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(
    st.sampled_from(WILD), st.builds("C_LOOP_START gp{}, {}".format, st.integers(1, 3), st.integers(1, 4)),
    st.builds("C_LOOP_END gp{}".format, st.integers(1, 3))), max_size=14))
def test_executed_counts_of_wild_loops(tmp_path_factory, lines):
    """Early exits, loop registers that are written, loops that close in any order: the counts are the oracle's."""
    folder = tmp_path_factory.mktemp("wild")
    text = "\n".join(lines) + "\n"
    write_settings(folder / "s.toml", changed(MAX_LOOP, {"value": 60}))
    try:
        outcome = control.Control(assemble(text), control.Settings.load(folder / "s.toml")).run(3000)
    except control.ProgramError as error:
        outcome = error
    assume(not isinstance(outcome, control.Outcome) or sum(outcome.counts.values()) < 3000)  # else it may run for ever
    (folder / "p.asm").write_text(text)
    try:
        found = executed_profile(str(folder / "p.asm"), {"settings_path": str(folder / "s.toml")})
    except EmuError as error:
        assert isinstance(outcome, control.ProgramError) and str(error).startswith(f"pc={outcome.pc} ")
        return
    assert not isinstance(outcome, control.ProgramError)
    assert {name: row.count for name, row in found.by_opcode.items() if row.count} == outcome.counts
    assert 1000 * found.compute_cycles == outcome.compute_ps
    check_sums(found)


def test_break_leaves_a_loop_early(tmp_path):
    found = executed_text("C_LOOP_START gp1, 3\nS_ADDI_INT gp2, gp0, 1\nC_BREAK\nS_ADDI_INT gp2, gp0, 1\n", tmp_path)
    assert found.dynamic_instructions == 4 and found.loops == [] and found.warnings == []


def test_loads_of_the_int_sram_preload(tmp_path):
    """The preload holds -1, which the body adds to the loop register: 3 iterations in place of 5."""
    folder = build(tmp_path, "S_LD_INT gp3, gp0, 0\nC_LOOP_START gp1, 5\nS_ADD_INT gp1, gp1, gp3\nC_LOOP_END gp1\n")
    assert executed_profile(folder, {}).dynamic_instructions == 2 + 2 * 5
    (tmp_path / "int_sram.bin").write_bytes(b"\xff" * 4)
    assert executed_profile(folder, {}).dynamic_instructions == 2 + 2 * 3
    assert static_profile(folder, A7).dynamic_instructions == 2 + 2 * 5


def test_topk_needs_its_data(tmp_path):
    """Timing can depend on the indices that V_TOPK stores, so the program is run with its preloads."""
    folder = build(tmp_path, "V_TOPK gp0, gp0, gp0, 0\nS_LD_INT gp1, gp0, 0\n", "moe")
    with pytest.raises(EmuError, match="can depend on data.*but the data is not there.*hbm_for_behave_sim.bin"):
        executed_profile(folder, {"isa": "moe"})
    (tmp_path / "hbm_for_behave_sim.bin").write_bytes(b"")
    (tmp_path / "fp_sram.bin").write_bytes(b"")
    found = executed_profile(folder, {"isa": "moe"})
    assert found.dynamic_instructions == 2 and found.by_opcode["V_TOPK"].compute_cycles == 23 * 32


def test_long_programs_run_in_slices(tmp_path):
    """More instructions than a slice, more events than a chunk, loops deeper than the first stack."""
    deep = 70
    text = "".join(f"C_LOOP_START gp{1 + k % 15}, 1\n" for k in range(deep))
    text += "C_LOOP_START gp1, 9000\nV_ADD_VV gp0, gp0, gp0\nS_ADDI_INT gp9, gp9, 1\nC_LOOP_END gp1\n"
    found = executed_text(text, tmp_path)
    assert found.dynamic_instructions == deep + 1 + 3 * 9000
    assert found.by_opcode["V_ADD_VV"].count == 9000


def test_illegal_programs_are_named(tmp_path):
    with pytest.raises(EmuError, match="pc=1 V_ADD_VV .*row address 1"):
        executed_text("S_ADDI_INT gp1, gp0, 1\nV_ADD_VV gp1, gp0, gp0\n", tmp_path)


# --- machine -------------------------------------------------------------------------------------

def test_latencies_of_board_and_settings(config):
    text = "V_EXP_V gp0, gp0\nS_SQRT_FP f1, f1\nM_MM 0, gp0, gp0\nM_BMV 0, gp0, gp0\nS_ADDI_INT gp1, gp0, 1\n"
    assert profile_of_text(text, config, A7, "board").compute_cycles == 15 + 2 + (8 + 16) + (8 + 1) + 1
    assert profile_of_text(text, config, V80, "board").compute_cycles == 1 + 1 + 16 + 1 + 1
    assert profile_of_text(text, config, A7, "settings").compute_cycles == 11 + 43 + (3 + 16) + (3 + 1) + 53
    fast = load_board("nexys_video", "nexys_video_150mhz")
    found = profile_of_text(text, config, fast, "board")
    assert found.compute_cycles == 18 + 2 + 24 + 9 + 1 and found.seconds == pytest.approx(54 / 150e6)


def test_memory_cycles_of_the_board(config):
    text = "H_PREFETCH_M gp0, gp0, a0, 0, 0\nH_PREFETCH_V gp0, gp0, a0, 0, 0\nH_STORE_V gp0, gp0, a0, 0, 0\n"
    found = profile_of_text(text, config)
    assert (found.memory_cycles, found.compute_cycles, found.memory_charged) == (450, 0, True)
    found = profile_of_text(text, config, V80)
    assert (found.memory_cycles, found.memory_charged) == (0, False)


# --- command -------------------------------------------------------------------------------------

BUILD = "C_LOOP_START gp1, 4\nV_ADD_VV gp0, gp0, gp0\nH_PREFETCH_V gp0, gp0, a0, 0, 0\nC_LOOP_END gp1\n"


def build(tmp_path, text=BUILD, revision="base"):
    """A build directory with both forms of a program."""
    write_settings(tmp_path / "plena_settings.toml")
    (tmp_path / "generated_asm_code.asm").write_text(f"; add\n{text}")
    (tmp_path / "generated_machine_code.mem").write_text(mem_text(assemble(text, revision)))
    return str(tmp_path)


def run_json(capsys, *flags):
    assert main(["profile", *flags, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_default_board_is_nexys_video(tmp_path, capsys):
    found = run_json(capsys, build(tmp_path), "--static")
    assert found["board"] == "nexys_video" and found["latencies_from"] == "board nexys_video"
    assert found["compute_cycles"] == 1 + 4 * (9 + 1) and found["memory_cycles"] == 100 and found["clock_mhz"] == 100


def test_a_run_has_no_board_unless_one_is_named(tmp_path, capsys):
    """Its latencies are the settings' then, its memory the hbm2 of chapter 4; with one all is the board's (§10.1)."""
    source = build(tmp_path)
    found = run_json(capsys, source)
    assert (found["board"], found["clock_mhz"], found["board_time_ps"], found["model"]) == (None, None, None, "hbm")
    assert found["latencies_from"] == f"settings {tmp_path}/plena_settings.toml"
    assert main(["run", source, "--timing-only", "--quiet", "--json", str(tmp_path / "r.json")]) == 0
    record = json.loads((tmp_path / "r.json").read_text())
    assert found["latency_ps"] == record["latency_ps"] and found["memory_ps"] == record["memory_ps"]
    assert main(["profile", source]) == 0
    text = capsys.readouterr().out
    assert " ms on " not in text and f"{found['latency_ps'] / 1000:.3f} ns, cycles of 1000 ps" in text
    flags = ["--board", "custom_a7", "--memory-model", "hbm"]
    found = run_json(capsys, source, *flags)
    assert found["latencies_from"] == "board custom_a7" and found["compute_ps"] == 10_000 * (1 + 4 * (9 + 1))
    assert main(["run", source, "--timing-only", "--quiet", "--json", str(tmp_path / "r.json"), *flags]) == 0
    assert found["board_time_ps"] == json.loads((tmp_path / "r.json").read_text())["board_time_ps"]
    assert main(["profile", source, *flags]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == f"{found['board_time_ps'] / 1e9:.9f} ms on custom_a7 at 100 MHz"
    found = run_json(capsys, source, *flags, "--reference-timing")
    assert found["core_period_ps"] == 1000 and found["compute_ps"] == 41_000 and found["board_time_ps"] is None


@pytest.mark.parametrize("static", [["--static"], []])
@pytest.mark.parametrize("name", ["", "generated_asm_code.asm", "generated_machine_code.mem"])
def test_all_kinds_of_source(static, name, tmp_path, capsys):
    found = run_json(capsys, f"{build(tmp_path)}/{name}", "--board", "custom_a7", "--clock-mhz", "50", *static)
    assert found["dynamic_instructions"] == 13 and found["mlen"] == 16 and found["compute_cycles"] == 41
    if static:
        assert found["seconds"] == pytest.approx(141 / 50e6)
    assert found["board_time_ps"] == found["compute_ps"] + found["memory_ps"] and found["compute_ps"] == 41 * 20_000
    (loop,) = found["loops"]
    assert loop["iterations"] == 4 and loop["share"] == 1.0
    assert loop.get("label") == (None if name.endswith(".mem") else "add")


def test_the_text(tmp_path, capsys):
    assert main(["profile", build(tmp_path), "--static"]) == 0
    text = capsys.readouterr().out
    for words in ("(static)", "4 static, 13 dynamic", "41 cycles", "100 cycles, as board nexys_video charges",
                  "H_PREFETCH_V", "100.0 %", "line 2: gp1 x 4  ; add", "0.001410 ms at 100 MHz"):
        assert words in text, words
    assert main(["profile", str(tmp_path), "--static", "--board", "v80"]) == 0
    assert "not charged: board v80 states no transfer cycles" in capsys.readouterr().out


def test_an_empty_program(tmp_path, capsys):
    found = run_json(capsys, build(tmp_path, ""), "--static")
    assert (found["dynamic_instructions"], found["seconds"], found["loops"]) == (0, 0.0, [])
    assert main(["profile", str(tmp_path), "--static"]) == 0


@pytest.mark.parametrize("static", [["--static"], []])
def test_built_in_defaults_are_said(static, tmp_path, capsys, monkeypatch):
    """MLEN and VLEN decide about cycles: a program without settings is not profiled without a word."""
    monkeypatch.delenv("PLENA_SETTINGS_TOML", raising=False)
    empty = tmp_path / "a" / "b"
    empty.mkdir(parents=True)
    monkeypatch.chdir(empty)
    (empty / "p.asm").write_text("V_ADD_VV gp0, gp0, gp0\n")
    found = [line for line in run_json(capsys, "p.asm", *static)["warnings"] if "no settings file was named" in line]
    assert len(found) == 1
    assert main(["profile", "p.asm", *static]) == 0
    assert "no settings file was named" in capsys.readouterr().out


def test_the_hbm_size_of_the_build_counts(tmp_path, capsys):
    """As for a run: hbm_size.txt of a build directory stands above HBM_SIZE."""
    source = build(tmp_path, "S_ADDI_INT gp1, gp0, 4032\nH_STORE_V gp0, gp1, a0, 0, 0\n")
    assert run_json(capsys, source)["by_opcode"]["H_STORE_V"]["count"] == 1  # HBM_SIZE is 4096
    (tmp_path / "hbm_size.txt").write_text("4032\n")
    assert main(["profile", source]) == 101
    assert "pc=1 H_STORE_V" in capsys.readouterr().err
    (tmp_path / "hbm_size.txt").write_text("many\n")
    assert main(["profile", source]) == 101
    assert "hbm_size.txt: found 'many'" in capsys.readouterr().err


@pytest.mark.parametrize("name, content, words", [
    ("gone.mem", None, "cannot read"), ("gone.asm", None, "cannot read"), ("bad.mem", "12 zz", "'zz'"),
    ("bad.asm", "C_LOOP_START gp1", "bad.asm, line 1"), ("", None, "found neither"),
    ("page.html", "<html>\n", "expected a 32-bit"),
    ("page.asm", "<html>\n", "found no instruction, expected lines that"),
])
def test_malformed_sources(name, content, words, tmp_path, capsys):
    write_settings(tmp_path / "plena_settings.toml")
    if content is not None:
        (tmp_path / name).write_text(content)
    assert main(["profile", str(tmp_path / name), "--static"]) == 101
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.mark.parametrize("flags", [["--clock-mhz", "0"], ["--clock-mhz", "nan"], ["--clock-mhz", "fast"],
                                   ["--board", "nexys_a7"], ["--latencies", "mine"]])
def test_usage_errors(flags, tmp_path, capsys):
    try:
        status = main(["profile", build(tmp_path), "--static", *flags])
    except SystemExit as stop:
        status = stop.code
    assert status == 2 and capsys.readouterr().err


# --- hostile programs ------------------------------------------------------------------------------

def test_never_closed_loops_and_strays_take_linear_time():
    """60,000 lines of which each was compared with every other one; a count of comparisons, not of seconds."""
    class Counted(int):
        compared = 0

        def __eq__(self, other):
            Counted.compared += 1
            return int(self) == int(other)

        __hash__ = int.__hash__

    text = "C_LOOP_START gp1, 2\n" * 3000 + "C_LOOP_END gp2\n" * 3000
    entries = [entry._replace(rd=Counted(entry.rd)) for entry in read_assembly(text).entries]
    spans, strays = match_loops(entries)
    assert spans == [] and len(strays) == 3000
    assert Counted.compared < 20 * len(entries)


def by_search(entries):
    """The rule of §1.7, told naively."""
    open_loops, spans, strays = [], [], []
    for index, entry in enumerate(entries):
        if entry.mnemonic == "C_LOOP_START":
            open_loops.append(index)
        else:
            mine = [at for at in open_loops if entries[at].rd == entry.rd]
            if mine:
                spans.append((mine[-1], index))
                open_loops = [at for at in open_loops if at < mine[-1]]
            else:
                strays.append(index)
    return sorted(spans), strays


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
def test_loops_match_as_the_rule_says(lines):
    text = "".join(f"C_LOOP_START gp{r}, 2\n" if start else f"C_LOOP_END gp{r}\n" for start, r in lines)
    entries = read_assembly(text).entries
    assert match_loops(entries) == by_search(entries)


@pytest.mark.parametrize("count, depth", [(9999999999, 34), (4194303, 100), (4194303, 3)])
def test_endless_trip_counts_are_one_line(tmp_path, capsys, count, depth):
    (tmp_path / "a.asm").write_text(f"C_LOOP_START gp1, {count}\n" * depth + "C_LOOP_END gp1\n" * depth)
    assert main(["profile", str(tmp_path / "a.asm"), "--static", "--json"]) == 101
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "expected at most" in message and "a.asm, line " in message


@pytest.mark.parametrize("depth", [99, 100, 101, 500, 3000])
@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_deeply_nested_loops(tmp_path, capsys, depth, json_flag):
    (tmp_path / "a.asm").write_text("C_LOOP_START gp1, 1\n" * depth + "C_LOOP_END gp1\n" * depth)
    assert main(["profile", str(tmp_path / "a.asm"), "--static", *json_flag]) == 0
    text = capsys.readouterr().out
    left = max(0, depth - 100)
    assert (f"{left} loops lie within more than 100 others" in " ".join(text.split())) == (left > 0)
    if json_flag:
        loops, found = json.loads(text)["loops"], 0
        while loops:
            assert loops[0]["instructions"] == 2 * (depth - found)
            loops, found = loops[0].get("loops", []), found + 1
        assert found == min(depth, 100)


@pytest.mark.parametrize("ending", ["asm", "isa", "s", "ISA"])
def test_assembly_by_its_ending(tmp_path, capsys, ending):
    (tmp_path / f"a.{ending}").write_text("C_BREAK\n")
    assert main(["profile", str(tmp_path / f"a.{ending}"), "--static"]) == 0
    assert "C_BREAK" in capsys.readouterr().out


def test_ctrl_c_leaves_no_directory_of_assembled_words(tmp_path):
    """The words of an assembly text lie in a temporary directory while they run."""
    (tmp_path / "p.asm").write_text("S_ADDI_INT gp1, gp0, 1\n")
    write_settings(tmp_path / "plena_settings.toml")
    (tmp_path / "t").mkdir()
    code = ("import os, signal, sys; from plena_emu.cli import entry; import plena_emu.profiler.executed as e\n"
            "def press(*_):\n    assert os.listdir(os.environ['TMPDIR'])\n    signal.raise_signal(signal.SIGINT)\n"
            "e._profile = press\nsys.argv[1:] = ['profile', 'p.asm']\nsys.exit(entry.plena_emu())")
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                         env={**os.environ, "TMPDIR": str(tmp_path / "t")})
    assert (ran.returncode, ran.stderr) == (130, "plena-emu profile: error: interrupted\n")
    assert list((tmp_path / "t").iterdir()) == []
