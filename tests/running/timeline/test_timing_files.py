"""Timing files: what their schema refuses, what a changed file changes, and the shipped `serialized` (spec §7.7)."""

import copy
import re
from pathlib import Path

import pytest
import scoreboard_streams as streams
import yaml
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st
from scoreboard_streams import Instruction

from plena_emu import isa
from plena_emu.boards import timing_schema
from plena_emu.boards.timing_formula import FormulaError, evaluate
from plena_emu.boards.timing_schema import load_timing, timing_names, to_timing
from plena_emu.errors import EmuError
from plena_emu.inputs.number_formats import parse_format
from plena_emu.kernels.hardware.scoreboard import layout as sl
from plena_emu.running.timeline.rules import make_rules

FOLDER = Path(timing_schema.__file__).parent / "timing"
DOCUMENT = yaml.safe_load((FOLDER / "rtl_v1.yaml").read_text())
BASE = [op.mnemonic for op in isa.OPS if op.base is not None]


def changed(**values):
    """The shipped file with keys of its top level replaced."""
    return to_timing(copy.deepcopy(DOCUMENT) | values, "test.yaml")


def with_class(name, **values):
    classes = copy.deepcopy(DOCUMENT["classes"])
    classes[name] |= values
    return changed(classes=classes)


def cost(**values):
    """The shipped file with one more cost entry, for an operation of the later revision."""
    return changed(costs=[*DOCUMENT["costs"], {"ops": ["V_TOPK"], **values}])


def test_names():
    assert timing_names() == ["rtl-v1", "serialized"]


@pytest.mark.parametrize("name", timing_names())
def test_a_shipped_file_has_a_cost_for_every_operation_of_the_base_revision(name):
    rules = make_rules(load_timing(name), streams.settings())
    assert set(BASE) <= set(rules.by_op)
    listed = [op for some in rules.timing.classes.values() for op in some.ops]
    assert sorted(listed) == sorted(set(listed)) and set(listed) <= set(BASE)


@pytest.mark.parametrize("make, message", [
    (lambda: changed(extra=1), "extra"),
    (lambda: changed(name=3), "name: found 3"),
    (lambda: cost(), "found no cycles, expected cycles alone, or ready, busy and interval"),
    (lambda: cost(cycles=3, ready=2), "found ready, expected cycles alone"),
    (lambda: cost(ready=1, busy=2), "found ready, busy, expected cycles alone"),
    (lambda: cost(cycles="MLEN +"), "'MLEN +' is no formula"),
    (lambda: cost(cycles="MLENS + 1"), "unknown name 'MLENS'"),
    (lambda: cost(cycles="__import__('os')"), "expected numbers"),
    (lambda: cost(ready="service", busy=1, interval=1), "service is expected as `cycles`"),
    (lambda: cost(cycles=1, measured="nowhere"), "measured: found 'nowhere', expected one of"),
    (lambda: cost(cycles=1, in_domain="nowhere"), "in_domain: found 'nowhere', expected one of"),
    (lambda: cost(cycles=1, supported=False, in_domain=True), "an unsupported operation has no"),
    (lambda: changed(costs=[*DOCUMENT["costs"], {"ops": ["M_MM"], "cycles": 1}]), "M_MM has a cost for Fp weights"),
    (lambda: with_class("break", ops=["M_MM"]), "M_MM is in classes.matrix already"),
    (lambda: with_class("break", waits=[["nothing", "why"]]), "found 'nothing', expected one of hbm_port"),
    (lambda: with_class("break", holds={"hbm_port": "soon"}), "soon"),
    (lambda: with_class("write_out", holds={}), "starts_after needs a unit of one copy"),
    (lambda: changed(measurements={"vector": {"points": [{"VLEN": "e8m7"}]}}), "expected a number"),
    (lambda: changed(measurements={"vector": {"formats": {"what": "e8m7"}}}), "found 'what', expected one of weight"),
    (lambda: changed(measurements={"vector": {"formats": {"weight": "e4q3"}}}),
     "measurements.vector.formats.weight: found 'e4q3', expected a format such as e4m3 or int8"),
    (lambda: changed(measurements={"vector": {"points": [{"vector_sram": "bogus"}]}}),
     "measurements.vector.points[0].vector_sram: found 'bogus', expected a format such as"),
    (lambda: changed(measurements={"vector": {"points": [{"vector_sram": 8}]}}), "found 8, expected a format such as"),
    (lambda: changed(measurements={"vector": {"points": [{"BLEN": 4, "MLEN": -16}]}}),
     "points[0].MLEN: found -16, expected a number, at least 1"),
    (lambda: changed(measurements={"vector": {"at_most": {"MLEN": 0}}}), "at_most.MLEN: found 0, expected a number"),
    (lambda: with_class("break", waits=[["vector_dma", 'Bad, "reason']]), "classes.break: reason: found"),
    (lambda: with_class("break", waits=[["vector_dma", "a" * 65]]), "expected at most 64 small letters"),
    (lambda: with_class("break", waits=[["vector_dma", "line\n"]]), "expected at most 64 small letters"),
    (lambda: with_class("break", waits=[["vector_dma", "pipeline_recovery"]]), "which reports use for something else"),
    (lambda: with_class("write_out", starts_after=["matrix_compute", "pipeline_recovery"]), "which reports use"),
    (lambda: load_timing("rtl-v2"), "unknown timing 'rtl-v2'"),
    (lambda: load_timing("./no.yaml"), "no.yaml"),
    (lambda: make_rules(cost(cycles=1, ops=["V_NOTHING"]), streams.settings()), "unknown operation 'V_NOTHING'"),
    (lambda: streams.scoreboard(streams.settings(), cost(cycles="MLEN - 64")), "is 0 cycles, expected 1 to"),
    (lambda: streams.scoreboard(streams.settings(), cost(cycles="service")), "service is the cost of a memory"),
])  # fmt: skip
def test_what_a_file_may_not_say(make, message):
    with pytest.raises(EmuError, match=re.escape(message)) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["e4m3", "ue8m0", "e8m23", "int1", "int32"])
def test_formats(text):
    assert str(parse_format(text)) == text


@pytest.mark.parametrize("text", ["", "e4", "e0m3", "e9m3", "e4m24", "e04m3", "int0", "int33", "int08", "E4M3", "e4m3 ",
                                  "e4m3\n", "uint8", "e4m\u0663"])
def test_what_is_no_format(text):
    assert parse_format(text) is None


@pytest.mark.parametrize("formula, value", [
    (7, 7), ("2 * BLEN + 13", 21), ("5 + 7 * ceil_log2(VLEN + 1)", 54), ("max(MLEN, 100) // 3", 33), ("min(3, 4)", 3),
    ("ceil_log2(1) + 1", 1), ("ceil_log2(64)", 6), ("ceil_log2(65)", 7),
])  # fmt: skip
def test_formulas(formula, value):
    assert evaluate(formula, {"MLEN": 64, "VLEN": 64, "BLEN": 4, "HLEN": 16, "BROADCAST": 4}) == value


NO_FORMULAS = ["BLEN / 2", "BLEN ** 9", "1 // (BLEN - BLEN)", "True", "'a'", "BLEN if 1 else 2", ""]


@pytest.mark.parametrize("formula", NO_FORMULAS)
def test_what_is_no_formula(formula):
    with pytest.raises(FormulaError):
        evaluate(formula, {"MLEN": 64, "VLEN": 64, "BLEN": 4, "HLEN": 16, "BROADCAST": 4})


def test_two_ports_let_two_loads_run_at_once():
    units = copy.deepcopy(DOCUMENT["units"]) | {"hbm_port": {"copies": 2}, "matrix_dma": {"copies": 2}}
    loads = [Instruction("H_PREFETCH_M", rd=1, gp={"rd": 4096 * k}, took=50_000) for k in range(3)]
    one = streams.events_of(loads)
    two = streams.events_of(loads, timing=changed(units=units))
    assert [event[1] for event in one] == [0, 51, 102]
    assert [event[1] for event in two] == [0, 1, 51]
    assert two[2][7] == 0  # the first of the two was free first


def test_dependences_that_are_not_tracked_do_not_count():
    program = [Instruction("H_PREFETCH_M", rd=1, gp={"rd": 0}, took=50_000),
               Instruction("M_MV", rs1=1, rs2=2, gp={"rs1": 0})]
    assert streams.events_of(program)[1][6] == "matrix_sram_operand_not_ready"
    free = changed(tracks={"matrix_sram": False})
    assert streams.events_of(program, timing=free)[1][1] == 1


def test_an_operation_without_a_cost_is_an_error_with_its_pc():
    costs = [entry for entry in DOCUMENT["costs"] if "C_BREAK" not in entry["ops"]]
    with pytest.raises(AssertionError):  # the kernel stops there
        streams.place([Instruction("C_BREAK")], timing=changed(costs=costs))


COMPUTE = [name for name in BASE if not name.startswith("H_")]


@given(st.lists(st.sampled_from(COMPUTE), max_size=30))
@configure(max_examples=40, deadline=None)
def test_serialized_without_loads_is_the_sum_of_its_costs(ops):
    _, state, placed = streams.place([Instruction(op) for op in ops], timing="serialized")
    costs = [int(state.rules[isa.BY_MNEMONIC[op].id, sl.RULE_BUSY]) for op in ops]
    assert int(state.reg[sl.SB_MAKESPAN]) == sum(costs)
    assert [int(row[sl.PLACED_START]) for row in placed] == [sum(costs[:k]) for k in range(len(costs))]


def test_serialized_loads_run_behind_what_does_not_read_them():
    load = Instruction("H_PREFETCH_M", rd=1, gp={"rd": 0}, took=100_000)
    add, product = Instruction("V_ADD_VV"), Instruction("M_MM")
    events = streams.events_of([load, add, product], timing="serialized")
    assert [event[3] for event in events] == [0, 1, 100]
    assert events[2][6] == "matrix_load_in_progress"
