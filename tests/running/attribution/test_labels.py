"""Stages of a program: the table of comment rules, stages.json, loops (spec §9.6)."""

import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu import isa
from plena_emu.config.settings import default_settings
from plena_emu.errors import EmuError
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode
from plena_emu.running.attribution import operators as o
from plena_emu.running.attribution.assembly_lines import read_lines
from plena_emu.running.attribution.comment_rules import (
    NEXT,
    RULES,
    SAME,
    TENSORS,
    _alternatives,
    answer_to,
    operator_of_tensor,
)
from plena_emu.running.attribution.labels import Stage, _indexed, comment_stages, labels_of, read_stages
from plena_emu.running.attribution.loops import Span, loop_paths, static_total

NAMES = {value for name, value in vars(o).items() if name.isupper()}


def stages_of(text):
    """(layer, operator) of each instruction of assembly text."""
    lines = read_lines(text.encode())
    labels = _indexed(comment_stages(lines), len(lines.instructions), "text", [])
    return [tuple(labels.stages[k]) for k in labels.of_word]


@pytest.mark.parametrize("comment, operator", [
    ("Load_Batch X -> X", o.EMBED),
    ("Load_Batch COS -> COS", o.ROPE),
    ("Load SubMatrix Col W_q_0[:][1] -> MRAM[0]", o.QKV),
    ("Load SubMatrix Col W_v_11_h3[:][0] -> MRAM[0]", o.QKV),
    ("Load SubMatrix Row K_stored_0_h1[0][:] -> MRAM[0]", o.SCORES),
    ("VRAM Sub Projection To: X[0][:] @ W_q_0[:][0] -> Q_0[0][0]", o.QKV),
    ("VRAM Sub Projection T To: Q_h2_0[0][:] @ K_stored_0_h1[0][:]^T -> S[0][0]", o.SCORES),
    ("VRAM Sub Projection: Q_h0_0[0][:] @ R_rope[:][0]", o.ROPE),
    ("VRAM Sub Projection: O_full_0[0][:] @ W_o_0[:][1]", o.ATTENTION_OUT),
    ("VRAM Sub Projection: up_e0[0][:] @ W_down_e0[:][0]", o.DOWN),
    ("VRAM Sub Projection: X[0][:] @ W_gate_up_e3[:][0]", o.GATE_UP),
    ("VRAM Sub Projection: X[0][:] @ W_lm_head[:][7]", o.LM_HEAD),
    ("VRAM Matrix Add: residual_scratch[0:64] += X[0:64]", o.RESIDUAL),
    ("VRAM Matrix Add: O_proj_0[0:64] += residual_scratch[0:64]", o.RESIDUAL),
    ("VRAM Matrix Add: S[0:64] += CAUSAL_MASK[0:64]", o.SOFTMAX),
    ("VRAM Matrix Add: _packed_O_head0[0:64] += _packed_PV[0:64]", o.VALUES),
    ("VRAM Matrix Add: X[0:64] += POS[0:64]", o.EMBED),
    ("Store K_0_h0 from VRAM to HBM", o.KV_STORE),
    ("FFN Upsize Linear Generation (Loop)", o.GATE_UP),
    ("FFN Downsize Linear (inlined) (k_size=1, out_size=2)", o.DOWN),
    ("SILU Generation (Loop)", o.ACTIVATION),
    ("SubBlock [0][0]: HBM offset = 0", SAME),
    ("Reset MRAM", NEXT),
    ("something nobody wrote down", o.OTHER),
    ("VRAM Matrix Add: A[0:4] += B[0:4]", o.OTHER),
    ("Load SubMatrix Col unheard_of[:][0] -> MRAM[0]", o.OTHER),
])
def test_vocabulary(comment, operator):
    assert answer_to(comment, after_layers=False, undecided=False) == operator


def test_every_answer_is_an_operator_of_the_table():
    for _, answer, *where in RULES:
        assert answer in NAMES | {SAME, NEXT, "by tensor"}
        assert where in ([], ["after layers"], ["undecided"])
    assert {operator for _, operator in TENSORS} <= NAMES
    assert operator_of_tensor("V_W_fc1_3") == o.FC1
    assert operator_of_tensor("V_POST_LN_weight") == o.POST_NORM


def test_layers_and_preparation():
    """Preparation goes to what it prepares; a norm behind the last layer is the final one."""
    text = """
    ; Load_Batch X -> X
    S_ADDI_INT gp1, gp0, 1
    ; === LAYER 0/2 START ===
    ; Normalize (rms) X, logical=(4, 4)
    S_ADDI_INT gp1, gp0, 2
    ; === Reset MRAM ===
    S_ADDI_INT gp1, gp0, 3
    ; Load SubMatrix Col W_q_0[:][0] -> MRAM[0]
    S_ADDI_INT gp1, gp0, 4  ; Load_Batch COS -> COS
    ; === LAYER 0/2 COMPLETE ===
    ; === LAYER 1/2 START ===
    ; === VRAM Fill Zero: VRAM[0] rows [0] = 0 ===
    S_ADDI_INT gp1, gp0, 5
    ; nothing anybody knows
    S_ADDI_INT gp1, gp0, 6
    ; === LAYER 1/2 COMPLETE ===
    ; Normalize (rms) X, logical=(4, 4)
    ; RMS Norm generation
    S_ADDI_INT gp1, gp0, 7
    ; Allocate VRAM Matrix Y: logical=(4, 4)
    S_ADDI_INT gp1, gp0, 8
    """
    assert stages_of(text) == [
        (None, o.EMBED), (0, o.NORM), (0, o.QKV), (0, o.QKV), (1, o.OTHER), (1, o.OTHER), (None, o.FINAL_NORM),
        (None, o.OTHER),
    ]


def test_comments_of_this_project():
    """The compiler of this project writes a layer and an operator as they are (§9.6)."""
    comments = ("layer 0 attn.qkv", "layer 11 ffn.gate_up", "final_norm", "layer 1 mine", "norms")
    text = "".join(f"; {comment}\nV_A\n" for comment in comments)
    assert stages_of(text) == [(0, o.QKV), (11, o.GATE_UP), (None, o.FINAL_NORM), (None, o.OTHER), (None, o.OTHER)]


def test_work_behind_a_reset_is_nobodys(tmp_path):
    """A comment about resetting registers covers as many words as it names registers, and no more."""
    text = """
    ; Preload Activation Generation
    S_ADDI_INT gp1, gp0, 1
    ; Reset Registers [[1, 2]]
    S_ADDI_INT gp1, gp0, 0
    S_ADDI_INT gp2, gp0, 0
    V_SHIFT_V gp1, gp1, gp2
    ; Column block 1
    V_SHIFT_V gp1, gp1, gp2
    ; RoPE: x
    V_SHIFT_V gp1, gp1, gp2
    ; Reset Registers [[1]]
    S_ADDI_INT gp1, gp0, 0
    ; Column block 2
    V_SHIFT_V gp1, gp1, gp2
    """
    assert [operator for _, operator in stages_of(text)] == [o.EMBED] * 3 + [o.OTHER] * 2 + [o.ROPE] * 3
    undecided = """
    ; Reset Registers [[1]]
    S_ADDI_INT gp1, gp0, 0
    C_SET_SCALE_REG gp8
    ; Preload Activation Generation
    S_ADDI_INT gp1, gp0, 1
    """
    assert [operator for _, operator in stages_of(undecided)] == [o.EMBED, o.OTHER, o.EMBED]


def line_by_line(lines):
    """The same, one line after the other, written down once more."""
    found, layer, seen, state = [], None, False, NEXT
    for line in lines:
        if line.startswith("V_"):
            found.append((layer, state))
        elif line.startswith(";"):
            comment = line.strip("; =")
            if "START" in comment:
                layer, seen, answer = 3, True, NEXT
            elif "COMPLETE" in comment:
                layer, answer = None, NEXT
            else:
                answer = answer_to(comment, seen and layer is None, state == NEXT)
            if answer not in (SAME, NEXT) and state == NEXT:
                found = [(its, answer if operator == NEXT else operator) for its, operator in found]
            state = state if answer == SAME else answer
    return [(its, o.OTHER if operator == NEXT else operator) for its, operator in found]


LINES = st.sampled_from([
    "; === Reset MRAM ===", "; SubBlock [0]", "; RoPE: x", "; ???", "; === LAYER 3/4 START ===", "; Normalize (rms) X",
    "; === LAYER 3/4 COMPLETE ===", "; Preload Activation Generation", "V_ADD_VV gp1, gp2, gp3, 0", "label:", "",
])


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=30))
def test_any_text_has_a_stage_for_each_instruction(lines):
    stages = stages_of("\n".join(lines))
    assert len(stages) == lines.count("V_ADD_VV gp1, gp2, gp3, 0")
    assert all(operator in NAMES for _, operator in stages)
    assert stages == line_by_line(lines)
    # What no comment names is other: nothing before it may spill over an unknown comment.
    for at, line in enumerate(lines):
        if line == "; ???":
            following = next((k for k, later in enumerate(lines[at:]) if later.startswith(";") and later != "; ???"), 0)
            after = lines[at : at + following] if following else []
            count = after.count("V_ADD_VV gp1, gp2, gp3, 0")
            first = lines[:at].count("V_ADD_VV gp1, gp2, gp3, 0")
            assert all(operator == o.OTHER for _, operator in stages[first : first + count])


def program(text):
    return decode(np.array(assemble(text, "base", "text"), dtype=np.uint32), "base", default_settings())


LOOPS = """
S_ADDI_INT gp1, gp0, 1
C_LOOP_START gp2, 3
C_LOOP_START gp3, 4
S_ADDI_INT gp1, gp1, 1
C_LOOP_END gp3
C_LOOP_END gp2
C_LOOP_START gp2, 2
C_LOOP_END gp2
"""


def test_instructions_known_ahead():
    """Loops multiply what is inside; a C_LOOP_START runs once for each time its loop is entered."""
    assert static_total(program(LOOPS).table) == 1 + (1 + 3 * (1 + 4 * 2 + 1)) + (1 + 2 * 1)
    assert static_total(program("S_ADDI_INT gp1, gp0, 1").table) == 1
    assert static_total(program(LOOPS + "C_BREAK").table) is None


def test_loops_stand_in_for_comments(tmp_path):
    paths, of_word = loop_paths(program(LOOPS).table)
    outer, inner, last = Span(1, 5), Span(2, 4), Span(6, 7)
    assert paths == [(), (outer,), (outer, inner), (last,)]
    assert of_word.tolist() == [0, 1, 2, 2, 2, 1, 3, 3]
    labels = labels_of(program(LOOPS), str(tmp_path))
    assert labels.source == "loops"
    assert [labels.stages[k].operator for k in labels.of_word] == [
        "no loop", "loop 1-5", *["loop 1-5 / loop 2-4"] * 3, "loop 1-5", *["loop 6-7"] * 2]


def test_assembly_of_another_program_is_not_used(tmp_path):
    (tmp_path / "generated_asm_code.asm").write_text("; Load_Batch X -> X\nS_ADDI_INT gp1, gp0, 1\n")
    labels = labels_of(program(LOOPS), str(tmp_path))
    assert labels.source == "loops"
    assert "are not those of the program" in labels.warnings[0]


def test_stages_file_comes_first(tmp_path):
    (tmp_path / "generated_asm_code.asm").write_text("; Load_Batch X -> X" + LOOPS)
    rows = [{"layer": None, "operator": "embed", "first_pc": 0, "last_pc": 2},
            {"layer": 1, "operator": "mine", "first_pc": 3, "last_pc": 7}]
    (tmp_path / "stages.json").write_text(json.dumps({"stages": rows}))
    labels = labels_of(program(LOOPS), str(tmp_path))
    assert labels.stages == [Stage(None, "embed"), Stage(1, "mine")]
    assert labels.of_word.tolist() == [0] * 3 + [1] * 5


ROW = {"layer": 0, "operator": "norm", "first_pc": 0, "last_pc": 3}


@pytest.mark.parametrize("document, message", [
    ("{", "not JSON"),
    ("[]", "found an empty list, expected a table"),
    ({"stages": 3}, "stages: found 3"),
    ({"stages": []}, "cover 0 words, the program has 4"),
    ({"stages": [ROW | {"last_pc": 2}]}, "cover 3 words, the program has 4"),
    ({"stages": [ROW | {"last_pc": 4}]}, "stages[0].last_pc: found 4, expected an integer from 0 to 3"),
    ({"stages": [ROW | {"first_pc": 1}]}, "stages[0].first_pc: found 1, expected 0"),
    ({"stages": [ROW | {"layer": -1}]}, "stages[0].layer: found -1"),
    ({"stages": [ROW | {"layer": True}]}, "stages[0].layer: found true"),
    ({"stages": [ROW | {"operator": ""}]}, "stages[0].operator: found '', expected a name"),
    ({"stages": [ROW, ROW]}, "stages[1].first_pc: found 0, expected 4"),
    ({"stages": [7]}, "stages[0]: found 7"),
])
def test_malformed_stages_files(document, message, tmp_path):
    path = tmp_path / "stages.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(EmuError) as error:
        read_stages(str(path), 4)
    assert message in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_stages_file_that_is_no_text(tmp_path):
    (tmp_path / "stages.json").write_bytes(b"\xff\xfe")
    with pytest.raises(EmuError, match="not UTF-8"):
        labels_of(program(LOOPS), str(tmp_path))


NAMES_OF_OPS = [op.name("base") for op in isa.OPS if op.name("base")]
LOOKALIKES = st.sampled_from(NAMES_OF_OPS + ["S_ADDI_INTX", "S_ADDI", "S", "H_PREFETCH_W", "H_PREFETCH_MM", "V_ADD"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(NAMES_OF_OPS) - 1), LOOKALIKES, st.booleans(), st.sampled_from(" \t\r\n")),
                max_size=12))
def test_mnemonics_are_compared_whole(lines):
    """Each instruction is that of the program or not, however much of the name is the same."""
    names = [b"", *(name.encode() for name in NAMES_OF_OPS)]
    shown = [names[at + 1].decode() if same else other for at, other, same, _ in lines]
    text = "".join(f"{name}{end}gp1\n" for name, (*_, end) in zip(shown, lines, strict=True)).replace("\ngp1", "")
    found = read_lines(text.encode())
    ids = np.array([at + 1 for at, *_ in lines], dtype=np.int64)
    expected = [k for k, name in enumerate(shown) if name.encode() != names[ids[k]]]
    assert found.others_than(names, ids).tolist() == expected


@pytest.mark.parametrize("row", RULES, ids=lambda row: row[0])
def test_alternatives_are_the_pattern(row):
    """A pattern that is cut at its bars begins the same comments, and no part of it begins with a bracket."""
    parts = _alternatives(row[0])
    assert "|".join(parts) == row[0]
    for part in parts:
        re.compile(part)


def test_rules_are_tried_in_order():
    """The one pattern that is searched answers as the table does, rule by rule."""
    comments = [row[0] for row in RULES] + [re.sub(r"\\(.)", r"\1", row[0]) for row in RULES] + [
        "V column block 3", "Column block", "Reset FP SRAM", "", "KV head 3", "x", "Scale O by", "FFN Test Generation",
        "Some Test Generation", "Load_Batch X -> X", "Normalize a", "VRAM Matrix Add: S[0:64] += CAUSAL_MASK[0]"]
    for comment, after, undecided in itertools.product(comments, (False, True), (False, True)):
        places = {None} | ({"after layers"} if after else set()) | ({"undecided"} if undecided else set())
        expected = o.OTHER
        for pattern, answer, *where in RULES:
            match = re.match(pattern, comment)
            if match and (where[0] if where else None) in places:
                expected = operator_of_tensor(match[1]) if answer == "by tensor" else answer
                break
        assert answer_to(comment, after, undecided) == expected, comment


CHARACTERS = st.text(st.sampled_from("\nA;z \t\r\x0b\u2003\u00e9,0_"), max_size=60)


@settings(max_examples=300, deadline=None)
@given(CHARACTERS)
def test_lines_of_any_text(text):
    found = read_lines(text.encode())
    mnemonics, comments, above = [], [], []
    for row in text.split("\n"):
        line = row.strip()
        if line.startswith(";"):
            comments.append(line)
            above.append(len(mnemonics))
        elif "A" <= line[:1] <= "Z":
            line = row.lstrip()
            ascii_end = next((k for k, letter in enumerate(line) if letter in " \t\r\x0b"), len(line))
            mnemonics.append(line[:ascii_end].encode())
    assert [found.mnemonic(k) for k in range(len(found.instructions))] == mnemonics
    assert (found.comments, found.word_of_comment) == (comments, above)
