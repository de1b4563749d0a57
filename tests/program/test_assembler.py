"""Are assembler and disassembler exact inverses, and does every refusal name file, line and token (§1.9)?"""

import random
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import SHARED

from plena_emu import isa
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.program.assembler import assemble, disassemble, mem_text

REVISIONS = ("base", "moe")

# Lines in every form of the table of §1.9 and the word each stands for, put together by hand from §1.3.
LINES = [
    ("M_MM 0, gp1, gp2", 0x01 | 1 << 10 | 2 << 14),
    ("M_TMM 3, gp15, gp0", 0x02 | 3 << 6 | 15 << 10),
    ("M_BMM 0, gp1, gp2", 0x03 | 1 << 10 | 2 << 14),
    ("M_BTMV 7, gp1, gp2", 0x0A | 7 << 6 | 1 << 10 | 2 << 14),
    ("M_BMM_WO gp4, 262143", 0x05 | 4 << 6 | 0x3FFFF << 14),
    ("M_BMM_WO gp4, gp0, 5", 0x05 | 4 << 6 | 5 << 14),
    ("M_BMV_WO gp4, gp0, 0", 0x0C | 4 << 6),
    ("M_MV_WO gp4, 0x10", 0x0B | 4 << 6 | 16 << 14),
    ("M_MM_WO gp1, gp2, 3", 0x06 | 1 << 6 | 2 << 10 | 3 << 14),
    ("S_ADD_INT gp1, gp2, gp3", 0x21 | 1 << 6 | 2 << 10 | 3 << 14),
    ("S_MAX_FP f1, f2, f7", 0x19 | 1 << 6 | 2 << 10 | 7 << 14),
    ("C_SET_ADDR_REG a15, gp2, gp3", 0x2B | 15 << 6 | 2 << 10 | 3 << 14),
    ("S_ADDI_INT gp1, gp0, 64", 0x22 | 1 << 6 | 64 << 14),
    ("S_LD_FP f3, gp2, 1", 0x1E | 3 << 6 | 2 << 10 | 1 << 14),
    ("S_MAP_V_FP gp3, gp2, 1", 0x20 | 3 << 6 | 2 << 10 | 1 << 14),
    ("S_LUI_INT gp1, 4194303", 0x25 | 1 << 6 | 0x3FFFFF << 10),
    ("C_LOOP_START gp5, 7", 0x2F | 5 << 6 | 7 << 10),
    ("C_LOOP_END gp5", 0x30 | 5 << 6),
    ("C_SET_V_MASK_REG gp5", 0x2E | 5 << 6),
    ("S_EXP_FP f1, f2", 0x1B | 1 << 6 | 2 << 10),
    ("S_RECI_FP f1, f2, 0", 0x1C | 1 << 6 | 2 << 10),
    ("V_EXP_V gp1, gp2", 0x13 | 1 << 6 | 2 << 10),
    ("V_RECI_V gp1, gp2, 1", 0x14 | 1 << 6 | 2 << 10 | 1 << 18),
    ("V_RED_SUM f1, gp2, 1, 0", 0x15 | 1 << 6 | 2 << 10 | 1 << 18),
    ("V_ADD_VV gp1, gp2, gp3", 0x0D | 1 << 6 | 2 << 10 | 3 << 14),
    ("V_MUL_VF gp1, gp2, f3, 1", 0x12 | 1 << 6 | 2 << 10 | 3 << 14 | 1 << 18),
    ("V_SUB_VF gp1, gp2, f3, 1, 15", 0x10 | 1 << 6 | 2 << 10 | 3 << 14 | 1 << 18 | 15 << 22),
    ("H_PREFETCH_M gp1, gp2, a3, 1, 0", 0x28 | 1 << 6 | 2 << 10 | 3 << 14 | 1 << 18),
    ("H_STORE_V gp1, gp2, a3, 0, 1, 0", 0x2A | 1 << 6 | 2 << 10 | 3 << 14 | 1 << 22),
    ("V_SHIFT_V gp1, gp2, gp3", 0x31 | 1 << 6 | 2 << 10 | 3 << 14),
    ("C_BREAK", 0x32),
    (".word 0xFFFFFFFF", 0xFFFFFFFF),
    (".word 98", 98),
]
MOE_LINES = [
    ("V_SHFT_V gp1, gp2, gp3", 0x32 | 1 << 6 | 2 << 10 | 3 << 14),
    ("V_SHIFT_V gp1, gp2, gp3", 0x32 | 1 << 6 | 2 << 10 | 3 << 14),
    ("C_BREAK", 0x34),
    ("V_MAX_VF gp1, gp2, f3", 0x35 | 1 << 6 | 2 << 10 | 3 << 14),
    ("V_MIN_VF gp1, gp2, f3, 1", 0x36 | 1 << 6 | 2 << 10 | 3 << 14 | 1 << 18),
    ("V_TOPK gp1, gp2, gp3, 1", 0x37 | 1 << 6 | 2 << 10 | 3 << 14 | 1 << 18),
]


ALL_LINES = [("base", *row) for row in LINES] + [("moe", *row) for row in MOE_LINES]


@pytest.mark.parametrize("revision, line, word", ALL_LINES)
def test_each_form_of_a_line(revision, line, word):
    assert assemble(line, revision) == [word]
    assert assemble(disassemble([word], revision)[0], revision) == [word]


@pytest.mark.parametrize("line, same", [
    ("M_BTMM gp0, gp1, gp2", "M_BTMM 0, gp1, gp2"), ("M_MV gp0, gp1, gp2", "M_MV 0, gp1, gp2"),
    ("M_BTMV gp0, gp15, 2", "M_BTMV 0, gp15, gp2"), ("M_BMV gp3, gp1, gp2", "M_BMV 3, gp1, gp2"),
    ("M_MM_WO 1, gp0, 0", "M_MM_WO gp1, gp0, 0"), ("M_MM 0x3, 1, 2", "M_MM gp3, gp1, gp2"),
    ("S_ADD_FP 1, f2, 7", "S_ADD_FP f1, f2, f7"), ("C_SET_ADDR_REG 15, 2, gp3", "C_SET_ADDR_REG a15, gp2, gp3"),
    ("H_STORE_V 1, 2, 3, 0, 1", "H_STORE_V gp1, gp2, a3, 0, 1"), ("C_LOOP_END 5", "C_LOOP_END gp5"),
    ("M_BMM_WO 4, gp0, 5", "M_BMM_WO gp4, gp0, 5"), ("V_RED_SUM 1, 2, 1", "V_RED_SUM f1, gp2, 1"),
])
def test_a_register_number_has_two_spellings(line, same):
    assert assemble(line) == assemble(same)
    assert disassemble(assemble(line)) == disassemble(assemble(same))


@pytest.mark.parametrize("mnemonic, code", [("V_EXP_V", 0x13), ("V_RECI_V", 0x14), ("V_RED_SUM", 0x15),
                                            ("V_RED_MAX", 0x16)])
def test_masks_as_older_assemblers_of_the_reference_put_them(mnemonic, code, tmp_path, capsys):
    line = f"{mnemonic} {'f1' if 'RED' in mnemonic else 'gp1'}, gp2, 1\n"
    here, there = code | 1 << 6 | 2 << 10 | 1 << 18, code | 1 << 6 | 2 << 10 | 1 << 14
    others = "V_ADD_VV gp1, gp2, gp3, 1\nV_SUB_VF gp1, gp2, f3, 1, 1\n"
    assert assemble(line) == [here] and assemble(line, reference_masks=True) == [there]
    assert assemble(others, reference_masks=True) == assemble(others)
    assert assemble(line.replace(", 1", ""), reference_masks=True) == assemble(line.replace(", 1", ""))
    (tmp_path / "a.asm").write_text(line)
    assert main(["asm", str(tmp_path / "a.asm"), "--reference-masks"]) == 0
    assert capsys.readouterr().out == mem_text([there])


def test_a_byte_order_mark_is_no_text(tmp_path, capsys):
    (tmp_path / "a.asm").write_bytes(b"\xef\xbb\xbfC_BREAK\n")
    assert main(["asm", str(tmp_path / "a.asm")]) == 0
    assert capsys.readouterr().out == "0x00000032\n"


@pytest.mark.parametrize("call", [
    lambda: assemble(5), lambda: assemble(None), lambda: assemble("", "v9"), lambda: assemble("", ["base"]),
    lambda: disassemble([-1]), lambda: disassemble([2**32]), lambda: disassemble([1.5]), lambda: disassemble(["1"]),
    lambda: disassemble([1], "v9"), lambda: mem_text([-1]), lambda: mem_text([2**40]), lambda: mem_text([None]),
])
def test_arguments_of_the_wrong_type(call):
    with pytest.raises(UsageError, match="(text|revision|words): found .*, expected"):
        call()


def test_comments_blank_lines_and_spacing():
    text = "; a comment\n\n  // another\n\tS_ADDI_INT\tgp1 ,gp0,  64 ; tail\r\nC_BREAK//x\n"
    assert assemble(text) == [0x22 | 1 << 6 | 64 << 14, 0x32]
    assert assemble("") == []


def interesting_words():
    """For every code: all single fields at their extremes, every single bit, and random words."""
    rng = random.Random(1)
    for code in range(64):
        yield code
        for low in range(6, 32):
            yield code | 1 << low
        for low, width in ((6, 4), (10, 4), (14, 4), (18, 4), (22, 4), (26, 6), (10, 22), (14, 18)):
            yield code | ((1 << width) - 1) << low
        for _ in range(300):
            yield code | rng.getrandbits(26) << 6 & ~(63 << 26) | rng.choice((0, rng.getrandbits(6) << 26))
            yield code | sum(rng.getrandbits(width) << low for low, width in ((6, 4), (10, 3), (14, 3), (18, 1)))


@pytest.mark.parametrize("revision", REVISIONS)
def test_round_trip_over_every_code(revision):
    words = list(interesting_words())
    lines = disassemble(words, revision)
    assert assemble("\n".join(lines), revision) == words
    assert disassemble(assemble("\n".join(lines), revision), revision) == lines
    mnemonics = {line.split()[0] for line in lines}
    assert mnemonics == {op.name(revision) for op in isa.codes(revision).values()} | {".word"}


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50), st.sampled_from(REVISIONS))
def test_round_trip_of_any_words(words, revision):
    assert assemble("\n".join(disassemble(words, revision)), revision) == words


def test_only_words_that_no_line_produces_are_written_as_words():
    for word in (0x00, 0x3F, 0x37, 0x0D | 1 << 22, 0x17 | 8 << 6, 0x32 | 1 << 6, 0x01 | 1 << 31):
        assert disassemble([word]) == [f".word 0x{word:08X}"]
    assert not disassemble([0x01 | 5 << 6])[0].startswith(".word")


BAD_LINES = [
    ("NOP", "'NOP'", "a mnemonic"),
    ("m_mm 0, gp1, gp2", "'m_mm'", "a mnemonic"),
    ("V_TOPK gp1, gp2, gp3, 0", "'V_TOPK'", "revision base does not have"),
    ("M_MM f0, gp1, gp2", "'f0'", "rd, a number from 0 to 15 or a register gp0 to gp15"),
    ("M_MM gp16, gp1, gp2", "'gp16'", "rd, a number"),
    ("M_MM 0, 16, gp2", "'16'", "rs1, a register gp0 to gp15"),
    ("S_ADD_FP 1, 2, 8", "'8'", "f0 to f7"),
    ("V_EXP_V gp1, gp2, gp3", "'gp3'", "rmask, a number"),
    ("M_MM 0, gp1", "end of the line", "rs2, a register gp0 to gp15"),
    ("M_MM 0, gp1, gp2, gp3", "'gp3'", "end of the line"),
    ("M_MM 0 gp1 gp2", "'0 gp1 gp2'", "rd, a number from 0 to 15"),
    ("M_MM 16, gp1, gp2", "'16'", "0 to 15"),
    ("M_MM 0, gp16, gp2", "'gp16'", "gp0 to gp15"),
    ("M_MM 0, gp, gp2", "'gp'", "gp0 to gp15"),
    ("M_MM 0, gp-1, gp2", "'gp-1'", "gp0 to gp15"),
    ("M_MM 0, x1, gp2", "'x1'", "gp0 to gp15"),
    ("M_MM 0, , gp2", "''", "gp0 to gp15"),
    ("M_BMM_WO gp1, gp2, 3", "'gp2'", "gp0"),
    ("M_BMM_WO gp1, gp0", "end of the line", "imm18"),
    ("S_ADD_FP f1, f2, f8", "'f8'", "f0 to f7"),
    ("S_ADD_FP f1, f2, gp3", "'gp3'", "f0 to f7"),
    ("C_SET_ADDR_REG gp0, gp1, gp2", "'gp0'", "a0 to a15"),
    ("S_ADDI_INT gp1, gp0, 262144", "'262144'", "0 to 262143"),
    ("S_ADDI_INT gp1, gp0, -1", "'-1'", "0 to 262143"),
    ("S_ADDI_INT gp1, gp0, 1_0", "'1_0'", "0 to 262143"),
    ("S_ADDI_INT gp1, gp0, 0x", "'0x'", "0 to 262143"),
    ("S_ADDI_INT gp1, gp0, 1e3", "'1e3'", "0 to 262143"),
    ("S_LUI_INT gp1, 4194304", "'4194304'", "0 to 4194303"),
    ("S_EXP_FP f1, f2, 1", "'1'", "0"),
    ("V_EXP_V gp1, gp2, 16", "'16'", "rmask"),
    ("V_SUB_VF gp1, gp2, f3, 0", "end of the line", "order"),
    ("V_SUB_VF gp1, gp2, f3", "end of the line", "rmask"),
    ("H_STORE_V gp1, gp2, a3, 0, 1, 1", "'1'", "0"),
    ("C_BREAK gp1", "'gp1'", "end of the line"),
    (".word", "0 operands", ".word"),
    (".word 1, 2", "2 operands", ".word"),
    (".word 0x100000000", "'0x100000000'", "32 bits"),
    (".word " + "9" * 5000, "'999", "32 bits"),
]


@pytest.mark.parametrize("line, found, expected", BAD_LINES, ids=[row[0][:30] for row in BAD_LINES])
def test_refusals_name_file_line_and_token(line, found, expected):
    with pytest.raises(EmuError) as caught:
        assemble(f"C_BREAK\n\n{line}\nNONSENSE\n", "base", "prog.asm")
    message = str(caught.value)
    assert message.startswith("assembly prog.asm, line 3: found ")
    assert found in message and expected in message and "\n" not in message


def test_command_line_round_trip(tmp_path, capsys):
    source, words, text = tmp_path / "a.asm", tmp_path / "a.mem", tmp_path / "b.asm"
    source.write_text("S_ADDI_INT gp1, gp0, 64\n.word 0xDEADBEFF\n")
    assert main(["asm", str(source), "-o", str(words)]) == 0
    assert words.read_text() == mem_text([0x00100062, 0xDEADBEFF])
    assert main(["disasm", str(words), "-o", str(text)]) == 0
    assert text.read_text() == "S_ADDI_INT gp1, gp0, 64\n.word 0xDEADBEFF\n"
    assert main(["disasm", str(words)]) == 0
    assert capsys.readouterr().out == text.read_text()


def test_command_line_errors_leave_no_output(tmp_path, capsys, monkeypatch):
    source, words = tmp_path / "a.asm", tmp_path / "a.mem"
    source.write_text("C_BREAK\nWRONG\n")
    assert main(["asm", str(source), "-o", str(words)]) == 101
    assert f"{source}, line 2: found 'WRONG'" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == [source]
    source.write_text("C_BREAK\n")
    assert main(["asm", str(source), "-o", str(tmp_path / "none" / "a.mem")]) == 101
    assert main(["asm", str(tmp_path / "none.asm")]) == 101
    source.write_bytes(b"\xff\xfe")
    assert main(["asm", str(source)]) == 101
    monkeypatch.setenv("PLENA_ISA", "next")
    assert main(["asm", str(source)]) == 2
    assert "Traceback" not in capsys.readouterr().err


GOLDEN = sorted(SHARED.glob("*.tar.xz"))


# The random programs (fz, sp, st) have no text.
COMPILED = [path for path in GOLDEN if path.name.split("_")[1] not in ("fz", "sp", "st")]


@pytest.mark.parametrize("archive", COMPILED[::5], ids=lambda path: path.name.split(".")[0])
def test_golden_assembly_gives_golden_words(archive):
    revision = archive.name.split("_")[0]
    with tarfile.open(archive) as tar:
        files = {name.rsplit("/", 1)[-1]: name for name in tar.getnames()}
        text = tar.extractfile(files["generated_asm_code.asm"]).read().decode()
        words = [int(token, 16) for token in tar.extractfile(files["generated_machine_code.mem"]).read().split()]
    assert assemble(text, revision) == words


@pytest.mark.skipif(not GOLDEN, reason=f"golden programs not found at {SHARED}")
def test_both_revisions_have_golden_text():
    assert {path.name.split("_")[0] for path in COMPILED[::5]} == set(REVISIONS)
