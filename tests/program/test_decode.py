"""Do program files read, decode, cost and describe as §1.3 - §1.8 say, checked against an independent reading?"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.control import CODES
from support import write_settings

from plena_emu import isa
from plena_emu.config.settings import default_settings, load_settings
from plena_emu.errors import EmuError
from plena_emu.kernels import layout
from plena_emu.program import cycle_costs as costs
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode, describe, read_words

REVISIONS = ("base", "moe")
WORDS = st.integers(0, 2**32 - 1)


def bits(word, low, high):
    """Bits [low, high) of a word, read from its binary digits."""
    return int(f"{word:032b}"[::-1][low:high][::-1], 2)


IMM22 = {"S_LUI_INT", "C_LOOP_START"}
IMM18 = {"M_BMM_WO", "M_MV_WO", "M_BMV_WO", "M_MM_WO", "S_LD_FP", "S_ST_FP", "S_MAP_V_FP", "S_ADDI_INT", "S_LD_INT",
         "S_ST_INT"}


def expected_row(word, revision):
    """Table row of a word without its cost."""
    name = CODES[revision].get(bits(word, 0, 6))
    imm = bits(word, 10, 32) if name in IMM22 else bits(word, 14, 32) if name in IMM18 else 0
    op_id = isa.BY_MNEMONIC[name].id if name else 0
    return [op_id] + [bits(word, low, low + 4) for low in (6, 10, 14, 18, 22)] + [imm]


def expected_cycles(word, revision, t, mlen, vlen):
    """Cycles of §1.4 - §1.8, from the tables of the spec; `t` has the latencies under short names."""
    name = CODES[revision].get(bits(word, 0, 6))
    rd, rs3 = bits(word, 6, 10), bits(word, 18, 22)
    fp = {"S_ADD_FP": "basic", "S_SUB_FP": "basic", "S_MUL_FP": "basic", "S_MAX_FP": "basic", "S_EXP_FP": "fexp",
          "S_RECI_FP": "freci", "S_SQRT_FP": "sqrt"}
    reductions = {"V_RED_SUM": "sum", "V_RED_MAX": "max"}
    vector = {"V_ADD_VV": "add", "V_ADD_VF": "add", "V_SUB_VV": "add", "V_SUB_VF": "add", "V_MUL_VV": "mul",
              "V_MUL_VF": "mul", "V_EXP_V": "exp", "V_RECI_V": "reci", "V_SHIFT_V": "mul", "V_MAX_VF": "max",
              "V_MIN_VF": "max"}
    if name is None or name.startswith("H_"):
        return 0
    if name in fp or name in reductions:
        return t[(fp | reductions)[name]] if rd else 0
    if name in vector:
        return t[vector[name]]
    if name == "V_TOPK":
        return t["max"] * {0: 32, 1: 128}.get(rs3, 0)
    if name in ("M_MM", "M_TMM", "M_BMM", "M_BTMM"):
        return t["sys"] + mlen
    if name in ("M_BMV", "M_BTMV"):
        return t["sys"] + 1
    if name in ("M_MV", "M_TMV"):
        return mlen
    if name == "S_MAP_V_FP":
        return 2 * vlen
    return t["int"] if name.endswith("_INT") else 1


SHORT = {"sys": 3, "add": 5, "mul": 7, "exp": 11, "reci": 19, "max": 23, "sum": 29, "basic": 37, "fexp": 41, "sqrt": 43,
         "freci": 47, "int": 53}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return load_settings(write_settings(tmp_path_factory.mktemp("settings") / "s.toml"))


def is_refused(word, revision):
    return CODES[revision].get(bits(word, 0, 6)) in ("M_BMM", "M_BTMM") and bits(word, 6, 10) != 0


def check_rows(words, revision, settings):
    words = [word for word in words if not is_refused(word, revision)]
    program = decode(np.array(words, dtype=np.uint32), revision, settings)
    assert program.table.dtype == np.int64 and program.table.shape == (len(words), layout.OP_WIDTH)
    for word, row in zip(words, program.table.tolist(), strict=True):
        assert row[:-1] == expected_row(word, revision)
        assert row[layout.OP_COST] == 1000 * expected_cycles(word, revision, SHORT, settings.mlen, settings.vlen)
    return program


@given(st.lists(WORDS, max_size=60))
def test_decode_of_any_words(settings, words):
    for revision in REVISIONS:
        check_rows(words, revision, settings)


@pytest.mark.parametrize("revision", REVISIONS)
def test_decode_of_every_code_with_every_field(settings, revision):
    fields = [0, 0xFFFFFFC0] + [15 << low for low in (6, 10, 14, 18, 22)] + [1 << 18, 2 << 18, 1 << 31]
    words = [code | field for code in range(64) for field in fields]
    program = check_rows(words, revision, settings)
    unassigned = 64 - len(CODES[revision])
    assert len(program.invalid) == unassigned * len(fields)
    assert all(program.words[pc] == word for pc, word in program.invalid)


def test_the_codes_of_both_revisions():
    for revision in REVISIONS:
        assert {code: op.mnemonic for code, op in isa.codes(revision).items()} == CODES[revision]
    assert isa.codes("moe")[0x32].name("moe") == "V_SHFT_V"


def test_foreign_words_are_those_the_other_revision_assigns(settings):
    words = np.array([0x31, 0x32, 0x34, 0x37, 0x3F, 0x00, 0x22], dtype=np.uint32)
    assert decode(words, "base", settings).foreign == [(2, 0x34, "C_BREAK"), (3, 0x37, "V_TOPK")]
    assert decode(words, "moe", settings).foreign == [(0, 0x31, "V_SHIFT_V")]
    assert [pc for pc, _ in decode(words, "moe", settings).invalid] == [0, 4, 5]


@pytest.mark.parametrize("code, name", [(3, "M_BMM"), (4, "M_BTMM")])
def test_broadcast_products_with_rd_are_refused(settings, code, name):
    with pytest.raises(EmuError, match=f"pc=2: {name} with rd=5, expected rd=0"):
        decode(np.array([code, 0x22, code | 5 << 6], dtype=np.uint32), "base", settings)


def test_the_empty_program_is_legal(settings, tmp_path):
    path = tmp_path / "empty.mem"
    path.write_bytes(b" \n\t\n")
    assert len(decode(read_words(path), "base", settings)) == 0


@given(WORDS, st.integers(0, 50))
def test_one_cost_for_decoder_and_profiler(word, shift):
    latency = default_settings().latency.by_name() | {"v_add": shift, "systolic": 2 * shift}
    for revision in REVISIONS:
        row = expected_row(word, revision)
        single = costs.cycles(row[layout.OP_ID], row[layout.OP_RD], row[layout.OP_RS3], latency, 128, 64)
        column = [np.array([row[index]]) for index in (layout.OP_ID, layout.OP_RD, layout.OP_RS3)]
        assert [single] == costs.column_cycles(*column, latency, 128, 64).tolist()


def test_describe_follows_the_field_order():
    def prefetch(code, precision):
        return code | 4 << 6 | 3 << 10 | 1 << 18 | precision << 22

    fields = "{ rd: 4, rs1: 3, rs2: 0, rstride: 1, precision: Activation }"
    assert describe(prefetch(0x29, 0), "base") == f"H_PREFETCH_V {fields}"
    assert describe(prefetch(0x2A, 2), "base").endswith("rstride: 1, precision: KeyValue }")
    assert describe(prefetch(0x28, 0), "base").endswith("precision: Weights }")
    assert describe(0x25 | 7 << 6 | 99 << 10, "base") == "S_LUI_INT { rd: 7, imm: 99 }"
    assert describe(0x10 | 1 << 22, "base") == "V_SUB_VF { rd: 0, rs1: 0, rs2: 0, rmask: 0, order: 1 }"
    assert (describe(0x32, "base"), describe(0x34, "moe")) == ("C_BREAK", "C_BREAK")
    assert describe(0x32, "moe") == "V_SHFT_V { rd: 0, rs1: 0, rs2: 0 }"
    assert describe(0xABCDEF3F, "base") == "INVALID { word: 0xABCDEF3F }"


@given(st.lists(st.tuples(WORDS, st.sampled_from(["0x{:08X}", "0x{:x}", "{:X}", "{:08x}", "0X{:x}", "000{:08x}"]),
                          st.sampled_from([" ", "\n", "\r\n", "\t", " \n\n "]))))
def test_any_spelling_of_words_reads(tmp_path_factory, items):
    path = tmp_path_factory.getbasetemp() / "words.mem"
    path.write_text("".join(form.format(word) + gap for word, form, gap in items), newline="")
    words = read_words(path)
    assert words.dtype == np.uint32 and words.tolist() == [word for word, _, _ in items]


BAD_TOKENS = ["0x", "x", "0xG", "zz", "12_3", "+1", "-1", "0x1_0", "100000000", "0x100000000", "1x2", "0x0x1", "0o1",
              "1.0", "f" * 5000, ";", "é", "\x00"]


@pytest.mark.parametrize("token", BAD_TOKENS, ids=lambda token: repr(token[:12]))
def test_bad_tokens_are_named_with_file_and_line(tmp_path, token):
    path = tmp_path / "bad.mem"
    path.write_text(f"0x1 2\n\n3 {token} 4\n", encoding="utf-8")
    with pytest.raises(EmuError) as caught:
        read_words(path)
    message = str(caught.value)
    assert f"{path}, line 3: found" in message
    assert message.isprintable() and len(message) < 250
    if token.isascii() and token.isprintable():
        assert token[:40] in message


def test_words_that_look_like_the_other_revision(settings):
    """0x32 is C_BREAK in base, which has no operands, and V_SHFT_V in moe, which has three."""
    words = np.array([0x32, 0x32 | 1 << 6, 0x31, 0x22, 0x32 | 1 << 31], dtype=np.uint32)
    assert decode(words, "base", settings).lookalikes == [(1, 0x72, "V_SHFT_V")]
    assert decode(words, "moe", settings).lookalikes == [(0, 0x32, "C_BREAK")]
    assert decode(words[3:4], "base", settings).lookalikes == []


@pytest.mark.parametrize("revision, text, hint", [
    ("base", "V_SHFT_V gp1, gp1, gp1", "; --isa moe reads this word as V_SHFT_V { rd: 1, rs1: 1, rs2: 1 }"),
    ("moe", "C_BREAK", "; --isa base reads this word as C_BREAK"),
])
def test_hints_about_the_other_revision(settings, revision, text, hint):
    other = "moe" if revision == "base" else "base"
    words = np.array(assemble(text + "\nS_ADDI_INT gp1, gp0, 1\n", other), dtype=np.uint32)
    program = decode(words, revision, settings)
    assert program.hint(0) == hint and program.hint(1) == ""
    own = decode(np.array(assemble(text, other), dtype=np.uint32), other, settings)
    assert own.hint(0) == ""


def test_a_byte_order_mark_is_no_word(tmp_path):
    (tmp_path / "a.mem").write_bytes(b"\xef\xbb\xbf0x00000032\n")
    assert read_words(tmp_path / "a.mem").tolist() == [0x32]
    (tmp_path / "a.mem").write_bytes(b"0x00000032\n\xef\xbb\xbf")
    with pytest.raises(EmuError, match="line 2"):
        read_words(tmp_path / "a.mem")


def test_unreadable_programs_are_named(tmp_path):
    for path in (tmp_path / "none.mem", tmp_path):
        with pytest.raises(EmuError, match=f"program {path}: cannot read"):
            read_words(path)
