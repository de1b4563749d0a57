"""Applying a board to a settings file (spec §6.2): what changes, what stays, and that twice is once."""

import pathlib
import re
import tomllib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.boards import load_board
from plena_emu.cli.main import main
from plena_emu.config.apply_board import Change, apply_board, apply_board_with_changes, settings_for_board
from plena_emu.config.settings import default_settings, load_settings
from plena_emu.errors import EmuError

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests"  # settings of golden programs
EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples/linear/build/plena_settings.toml"
BOARDS = {name: load_board(name) for name in ("nexys_video", "custom_a7", "v80")}
FAST = load_board("nexys_video", "nexys_video_150mhz")

# LATENCY keys by the keys of a board's latency section, written out (§5.3, §6.1).
KEYS = {
    "systolic_processing_overhead": "SYSTOLIC_PROCESSING_OVERHEAD",
    "vector_add": "VECTOR_ADD_CYCLES", "vector_mul": "VECTOR_MUL_CYCLES", "vector_exp": "VECTOR_EXP_CYCLES",
    "vector_reci": "VECTOR_RECI_CYCLES", "vector_max": "VECTOR_MAX_CYCLES", "vector_sum": "VECTOR_SUM_CYCLES",
    "vector_shift": "VECTOR_SHIFT_CYCLES", "vector_prefix_scan": "VECTOR_PREFIX_SCAN_CYCLES",
    "scalar_fp_basic": "SCALAR_FP_BASIC_CYCLES", "scalar_fp_exp": "SCALAR_FP_EXP_CYCLES",
    "scalar_fp_sqrt": "SCALAR_FP_SQRT_CYCLES", "scalar_fp_reci": "SCALAR_FP_RECI_CYCLES",
    "scalar_int_basic": "SCALAR_INT_BASIC_CYCLES",
}
OTHERS = ("VECTOR_BASIC_CYCLES", "SCALAR_FP_LONGEST_OPERATE_CYCLES")  # no board names these
GEOMETRY = ("MLEN", "VLEN", "BLEN", "HLEN", "BROADCAST_AMOUNT")
AMOUNTS = ("HBM_M_Prefetch_Amount", "HBM_V_Prefetch_Amount", "HBM_V_Writeback_Amount")


def expected(data, board, geometry):
    """What applying must give, on plain dicts: an independent restatement of §6.2."""
    column = "dc_lib_en" if board.latency.dc_lib_en else "dc_lib_dis"
    for top in ("TRANSACTIONAL", "ANALYTIC"):
        config, latency = data.get(top, {}).get("CONFIG", {}), data.get(top, {}).get("LATENCY", {})
        if "DC_EN" in config:
            config["DC_EN"]["value"] = 1 if board.latency.dc_lib_en else 0
        for unit, key in KEYS.items():
            if key in latency:
                latency[key][column] = getattr(board.latency, unit)
    if geometry:
        config = data["TRANSACTIONAL"]["CONFIG"]
        mirror = data.setdefault("BEHAVIOR", {}).setdefault("CONFIG", {})
        wanted = dict(geometry)
        if "MLEN" in geometry:
            wanted["HBM_M_Prefetch_Amount"] = geometry["MLEN"]
            wanted["HBM_WIDTH"] = max(8 * geometry["MLEN"], config.get("HBM_WIDTH", {}).get("value", 0))
        if "BLEN" in geometry:
            wanted["HBM_V_Prefetch_Amount"] = wanted["HBM_V_Writeback_Amount"] = geometry["BLEN"]
        for key, value in wanted.items():
            config.setdefault(key, {})["value"] = value
            mirror.setdefault(key, {})["value"] = value
    return data


number = st.integers(0, 70000).flatmap(lambda n: st.sampled_from([str(n), hex(n), f"{n:_}"]))
comment = st.sampled_from(["", "  # why", " # 16 GiB (was 128)", "# tight"])


@st.composite
def entry(draw, name, fields):
    """One entry of a table of tables as lines: header, inline or dotted style, with comments."""
    top, _, leaf = name.rpartition(".")
    pairs = [(field, draw(number)) for field in fields]
    if draw(st.booleans()):
        pairs.append(("note", draw(st.sampled_from(['"kept"', "1.5", "[1, 2]", "true"]))))
    if draw(st.booleans()):
        body = draw(st.sampled_from(["", f"# about {leaf}\n"]))
        return f"[{name}]{draw(comment)}\n" + body + "".join(f"{k} = {v}{draw(comment)}\n" for k, v in pairs)
    inline = ", ".join(f"{k} = {v}" for k, v in pairs)
    return (top, f"{leaf} = {{ {inline} }}{draw(comment)}\n")


@st.composite
def settings_text(draw):
    """A settings file in a random layout: order, styles, blank lines, comments, line ends."""
    parts, plain = [], {}
    tops = ["TRANSACTIONAL"] + (["ANALYTIC"] if draw(st.booleans()) else [])
    for top in tops:
        keep = list(KEYS.values()) if top == "TRANSACTIONAL" else [k for k in KEYS.values() if draw(st.booleans())]
        entries = [(f"{top}.LATENCY.{key}", ("dc_lib_en", "dc_lib_dis")) for key in [*keep, *OTHERS]]
        entries += [(f"{top}.CONFIG.{key}", ("value",)) for key in ("DC_EN", *GEOMETRY, *AMOUNTS, "HBM_SIZE")]
        if draw(st.booleans()):
            entries.append((f"{top}.CONFIG.HBM_WIDTH", ("value",)))
        for name, fields in entries:
            made = draw(entry(name, fields))
            if isinstance(made, str):
                parts.append(made)
            else:
                plain.setdefault(made[0], []).append(made[1])
    if draw(st.booleans()):
        parts += ["[BEHAVIOR.CONFIG.MLEN]\nvalue = 3 # old\n", "[BEHAVIOR.CONFIG.OTHER]\nvalue = 4\n"]
    if draw(st.booleans()):
        parts.append('[MODE]\nactive = "analytic" # or not\n')
    for _ in range(draw(st.integers(0, 3))):  # a few tables out of order
        parts.append(parts.pop(draw(st.integers(0, len(parts) - 1))))
    # The entries of a table in inline style must stand before its sub-tables.
    head = [f"[{name}]\n" + "".join(lines) for name, lines in plain.items()]
    blank = draw(st.sampled_from(["", "\n", "\n# ----\n\n"]))
    text = "# settings\n\n" + blank.join(head + parts)
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


length = st.integers(1, 65535)
geometries = st.dictionaries(st.sampled_from(GEOMETRY), length, max_size=5)
any_board = st.sampled_from([*BOARDS.values(), FAST])


@settings(max_examples=20, deadline=None)
@given(settings_text(), any_board, geometries)
def test_only_what_the_board_names_changes_and_twice_is_once(text, board, geometry):
    after, changes = apply_board_with_changes(text, board, geometry)
    assert tomllib.loads(after) == expected(tomllib.loads(text), board, geometry)
    assert re.findall("#.*", after) == re.findall("#.*", text), "comments"
    assert apply_board_with_changes(after, board, geometry) == (after, [])
    assert (after == text) == (not changes)
    for data, attribute in ((tomllib.loads(text), "before"), (tomllib.loads(after), "after")):
        for change in changes:
            assert value_at(data, change.key) == getattr(change, attribute)


def value_at(data, key):
    for name in key.split("."):
        data = data.get(name, {})
    return data if data != {} else None


@settings(max_examples=10, deadline=None)
@given(settings_text())
def test_lines_stay_where_they_are(text):
    """Without geometry no line comes or goes, and a line differs only in its numbers."""
    after = apply_board(text, BOARDS["custom_a7"])
    before_lines, after_lines = text.splitlines(keepends=True), after.splitlines(keepends=True)
    assert len(before_lines) == len(after_lines)
    for before, now in zip(before_lines, after_lines, strict=True):
        assert NUMBER.sub("N", before) == NUMBER.sub("N", now)


NUMBER = re.compile(r"(?<=[ =])(?:0x[0-9a-f]+|[0-9_]+)")


@settings(max_examples=5, deadline=None)
@given(settings_text(), geometries)
def test_the_last_board_of_a_column_counts(text, geometry):
    """nexys_video and its 150 MHz profile write the same entries."""
    board = BOARDS["nexys_video"]
    assert apply_board(apply_board(text, FAST, geometry), board, geometry) == apply_board(text, board, geometry)


STOCK = GOLDEN / "base_clm60m_dec_L4_m64b16" / "plena_settings.toml"


def test_the_stock_file_with_custom_a7_is_that_of_the_golden_program():
    """Applying the board reproduces the settings the a7 goldens ran with, byte for byte."""
    base = STOCK.read_text()
    target = (GOLDEN / "base_clm60m_dec_L1_m64b16_a7" / "plena_settings.toml").read_text()
    assert apply_board(base, BOARDS["custom_a7"]) == target


def test_geometry_of_the_m256_golden(tmp_path):
    base = STOCK.read_text()
    path = tmp_path / "out.toml"
    geometry = {"MLEN": 256, "VLEN": 256, "BLEN": 64, "HLEN": 64, "BROADCAST_AMOUNT": 4}
    path.write_text(apply_board(base, BOARDS["custom_a7"], geometry))
    got, want = load_settings(path), load_settings(GOLDEN / "base_clm60m_dec_L1_m256b64_a7" / "plena_settings.toml")
    fields = [name for name in got.__struct_fields__ if name not in ("source", "origin")]
    assert {name: getattr(got, name) for name in fields} == {name: getattr(want, name) for name in fields}
    data = tomllib.loads(path.read_text())
    for key, entry in data["BEHAVIOR"]["CONFIG"].items():
        assert data["TRANSACTIONAL"]["CONFIG"][key] == entry
    assert data["BEHAVIOR"]["CONFIG"]["HBM_WIDTH"] == {"value": 2048}


@pytest.mark.parametrize("number", ["0x" + "F" * 4000, "9" * 4000, str(2**63), str(-(2**63) - 1)])
def test_integers_beyond_toml_are_refused(number):
    pattern = r"(HBM_WIDTH[^=]*= *(?:\{ *value *= *)?)[0-9]+"
    assert re.search(pattern, STOCK.read_text())
    with pytest.raises(EmuError, match="CONFIG.HBM_WIDTH.value: found .*, expected an integer of 64 bits"):
        apply_board(re.sub(pattern, rf"\g<1>{number}", STOCK.read_text()), BOARDS["custom_a7"], {"MLEN": 64})
    largest = re.sub(pattern, rf"\g<1>{2**63 - 1}", STOCK.read_text())
    assert str(2**63 - 1) in apply_board(largest, BOARDS["custom_a7"], {"MLEN": 64})


def test_a_board_alone_leaves_sizes_and_amounts():
    before = tomllib.loads(STOCK.read_text())["TRANSACTIONAL"]
    after = tomllib.loads(apply_board(STOCK.read_text(), BOARDS["nexys_video"]))["TRANSACTIONAL"]
    assert after["PRECISION"] == before["PRECISION"]
    assert after["CONFIG"] == before["CONFIG"] | {"DC_EN": {"value": 0}}


# --- the settings of a run -----------------------------------------------------------------------

@pytest.mark.parametrize("name", ["base_clm60m_dec_L1_m256b64_a7", "base_clm60m_dec_L4_m64b16"])
@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_settings_for_a_board_are_those_of_the_applied_file(name, board, tmp_path):
    base = load_settings(GOLDEN / name / "plena_settings.toml")
    found, changes = settings_for_board(base, board)
    path = tmp_path / "out.toml"
    path.write_text(apply_board((GOLDEN / name / "plena_settings.toml").read_text(), board))
    want = load_settings(path)
    assert found == msgspec.structs.replace(want, source=base.source, origin=base.origin)
    assert (found == base) == (not changes)
    assert found.mlen == base.mlen and found.hbm_size == base.hbm_size


def test_built_in_defaults_for_a_board():
    found, changes = settings_for_board(default_settings(), BOARDS["custom_a7"])
    assert (found.dc_en, found.latency.v_add, found.latency.systolic, found.latency.fp_longest) == (0, 9, 8, 4)
    assert Change("dc_en", 1, 0) in changes and Change("v_add", 2, 9) in changes
    assert settings_for_board(default_settings(), BOARDS["v80"])[0].latency.v_add == 1


# --- refusals ------------------------------------------------------------------------------------

SMALL = "[TRANSACTIONAL.CONFIG.DC_EN]\nvalue = 1\n" + "".join(
    f"[TRANSACTIONAL.LATENCY.{key}]\ndc_lib_en = 1\ndc_lib_dis = 1\n" for key in KEYS.values())


@pytest.mark.parametrize("text, words", [
    ("", "TRANSACTIONAL: found nothing"),
    ("[TRANSACTIONAL]\n", "TRANSACTIONAL.CONFIG.DC_EN.value: found nothing"),
    ("x = [1\n", "not valid TOML"),
    ("TRANSACTIONAL = 3\n", "TRANSACTIONAL: found 3"),
    (SMALL.replace("value = 1", "value = true"), "DC_EN.value: found true, expected an integer"),
    (SMALL.replace("value = 1", "value = 1.0"), "DC_EN.value: found 1.0"),
    (SMALL.replace("VECTOR_EXP_CYCLES]\ndc_lib_en = 1\ndc_lib_dis = 1", "VECTOR_EXP_CYCLES]\ndc_lib_en = 1"),
     "TRANSACTIONAL.LATENCY.VECTOR_EXP_CYCLES.dc_lib_dis: found nothing"),
    (SMALL.replace("[TRANSACTIONAL.LATENCY.VECTOR_EXP_CYCLES]", "[X]"), "VECTOR_EXP_CYCLES.dc_lib_dis"),
    (SMALL + "[ANALYTIC.LATENCY]\nVECTOR_EXP_CYCLES = 3\n", "ANALYTIC.LATENCY.VECTOR_EXP_CYCLES: found 3"),
    ("a = 1\na = 2\n", "not valid TOML"),
])
def test_files_that_are_no_settings(text, words):
    with pytest.raises(EmuError, match=re.escape(words)) as caught:
        apply_board(text, BOARDS["custom_a7"], source="mine.toml")
    assert str(caught.value).startswith("settings mine.toml: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("geometry", [{"MLEN": 0}, {"MLEN": 65536}, {"MLEN": "64"}, {"MLEN": True}, {"LEN": 4}])
def test_impossible_geometry(geometry):
    with pytest.raises(EmuError, match=f"geometry {next(iter(geometry))}"):
        apply_board(SMALL, BOARDS["custom_a7"], geometry)


def test_geometry_entry_that_is_no_table():
    with pytest.raises(EmuError, match="TRANSACTIONAL.CONFIG.MLEN: found 3"):
        apply_board(SMALL + "[TRANSACTIONAL.CONFIG]\nMLEN = 3\n", BOARDS["custom_a7"], {"MLEN": 4})


# --- command -------------------------------------------------------------------------------------

def test_the_command_writes_a_file(tmp_path, capsys):
    base, out = tmp_path / "base.toml", tmp_path / "out.toml"
    base.write_bytes(SMALL.replace("\n", "\r\n").encode())
    assert main(["board-settings", str(base), "--board", "v80", "-o", str(out), "--mlen", "64"]) == 0
    assert "VECTOR_RECI_CYCLES.dc_lib_en: 1 -> 2" in capsys.readouterr().out
    assert b"dc_lib_en = 2\r\n" in out.read_bytes()
    assert tomllib.loads(out.read_text())["BEHAVIOR"]["CONFIG"]["HBM_WIDTH"] == {"value": 512}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.toml", "out.toml"]
    assert main(["board-settings", str(base), "--board", "v80"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["TRANSACTIONAL"]["CONFIG"]["DC_EN"] == {"value": 1}


def test_the_command_leaves_an_old_file_when_it_fails(tmp_path, capsys):
    base, out = tmp_path / "base.toml", tmp_path / "out.toml"
    base.write_text("nonsense")
    out.write_text("old")
    assert main(["board-settings", str(base), "--board", "custom_a7", "-o", str(out)]) == 101
    error = capsys.readouterr().err
    assert "base.toml: not valid TOML" in error and error.count("\n") == 1
    assert out.read_text() == "old"
    base.write_text(SMALL)
    assert main(["board-settings", str(base), "--board", "custom_a7", "-o", str(tmp_path / "no" / "out.toml")]) == 101
    assert main(["board-settings", str(tmp_path / "gone"), "--board", "custom_a7"]) == 101
    assert "cannot read" in capsys.readouterr().err


def test_a_change_is_readable():
    change = apply_board_with_changes(SMALL, BOARDS["custom_a7"])[1][0]
    assert change == Change("TRANSACTIONAL.CONFIG.DC_EN.value", 1, 0)


def test_a_base_that_no_run_takes_is_told(tmp_path, capsys):
    """It may be one that another tool completes: written, with one line."""
    base, out = tmp_path / "base.toml", tmp_path / "out.toml"
    base.write_text(re.sub(r"(?m)^MLEN = .*$", "MLEN = { value = 0 }", EXAMPLE.read_text()))
    assert main(["board-settings", str(base), "--board", "custom_a7", "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "warning: no run takes these settings yet" in said and "MLEN.value: found 0" in said
    assert said.count("\n") == 1 and out.exists()
