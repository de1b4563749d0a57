"""Do settings load exactly what the file says, and refuse everything else by file and key (§5.3)?"""

import tarfile

import pytest
from support import LATENCY, MISSING, SHARED, changed, settings_document, write_settings

from plena_emu.config.settings import (
    BF16,
    Fp,
    Int,
    Mx,
    Plain,
    default_settings,
    find_settings,
    load_settings,
    with_hbm_size,
)
from plena_emu.errors import EmuError

CONFIG = "TRANSACTIONAL.CONFIG"
PRECISION = "TRANSACTIONAL.PRECISION"


def load(tmp_path, document=None):
    return load_settings(write_settings(tmp_path / "s.toml", document))


def test_every_value_arrives(tmp_path):
    s = load(tmp_path)
    assert (s.blen, s.hlen, s.mlen, s.vlen, s.broadcast) == (4, 4, 16, 16, 4)
    assert (s.hbm_size, s.matrix_sram_size, s.vector_sram_size) == (4096, 64, 64)
    assert (s.pm, s.pv, s.sv, s.max_loop_instructions, s.dc_en) == (16, 4, 4, 1000, 1)
    assert s.matrix_sram_type == s.vector_sram_type == Plain(BF16)
    assert s.hbm_m_weight_type == s.hbm_v_kv_type == Mx(Fp(True, 4, 3), Fp(False, 8, 0), 8)
    assert s.hbm_v_int_type == Plain(Int(32))
    assert s.source.endswith("s.toml") and s.origin == "--settings"
    assert s.warnings == []


@pytest.mark.parametrize("dc_en, column", [(1, 0), (7, 0), (0, 1)])
def test_dc_en_selects_the_latency_column(tmp_path, dc_en, column):
    s = load(tmp_path, changed(f"{CONFIG}.DC_EN.value", dc_en))
    assert list(s.latency.by_name().values()) == [both[column] for both in LATENCY.values()]


def test_type_arithmetic():
    e4m3, e8m0 = Fp(True, 4, 3), Fp(False, 8, 0)
    assert (e4m3.size_in_bits, e8m0.size_in_bits, Int(12).size_in_bits) == (8, 8, 12)
    assert Plain(BF16).ratio == 1
    assert Mx(e4m3, e8m0, 8).ratio == 8
    assert Mx(Fp(True, 2, 1), e8m0, 32).ratio == 16
    assert (str(BF16), str(e8m0), str(Mx(e4m3, e8m0, 8))) == ("e8m7", "ue8m0", "mx(e4m3 x 8, ue8m0)")


@pytest.mark.parametrize("amount, effective, word", [
    (0, 16, "raised"), (15, 16, "raised"), (16, 16, None),
    (17, 32, "rounded up"), (48, 48, None), (63, 64, "rounded up"),
])
def test_matrix_prefetch_corrections(tmp_path, amount, effective, word):
    s = load(tmp_path, changed(f"{CONFIG}.HBM_M_Prefetch_Amount.value", amount))
    assert s.pm == effective
    assert len(s.warnings) == (word is not None)
    assert word is None or (word in s.warnings[0] and str(amount) in s.warnings[0])


def test_defaults_are_those_of_the_contract():
    s = default_settings()
    assert (s.blen, s.hlen, s.mlen, s.vlen, s.broadcast, s.hbm_size) == (32, 16, 32, 32, 2, 2**30)
    assert (s.matrix_sram_size, s.vector_sram_size, s.max_loop_instructions, s.dc_en) == (1024, 1024, 10000, 1)
    assert (s.hbm_m_prefetch_amount, s.pm, s.pv, s.sv) == (16, 32, 16, 16)
    assert list(s.latency.by_name().values()) == [0, 2, 1, 1, 9, 1, 2, 4, 8, 4, 1, 1, 1, 1, 1]
    assert any("built-in defaults" in line for line in s.warnings)


SOUND = settings_document()["TRANSACTIONAL"]

# Dotted key, value put there, words the message must hold besides the key.
BAD_VALUES = [
    ("TRANSACTIONAL", MISSING, "nothing"),
    ("TRANSACTIONAL", 3, "a table"),
    (CONFIG, MISSING, "nothing"),
    (PRECISION, MISSING, "nothing"),
    ("TRANSACTIONAL.LATENCY", MISSING, "nothing"),
    *[(f"{CONFIG}.{key}", MISSING, "nothing") for key in SOUND["CONFIG"] if key != "HBM_WIDTH"],
    *[(f"{PRECISION}.{key}", MISSING, "nothing") for key in SOUND["PRECISION"]],
    *[(f"TRANSACTIONAL.LATENCY.{key}", MISSING, "nothing") for key in LATENCY],
    (f"{CONFIG}.MLEN.value", MISSING, "nothing"),
    (f"{CONFIG}.MLEN", 16, "found 16, expected a table"),
    (f"{CONFIG}.MLEN.value", True, "found true, expected an integer"),
    (f"{CONFIG}.MLEN.value", 16.0, "found 16.0, expected an integer"),
    (f"{CONFIG}.MLEN.value", "16", "found '16', expected an integer"),
    (f"{CONFIG}.MLEN.value", [16], "found a list"),
    (f"{CONFIG}.MLEN.value", 0, "1 to 65535"),
    (f"{CONFIG}.MLEN.value", -16, "1 to 65535"),
    (f"{CONFIG}.MLEN.value", 65536, "1 to 65535"),
    (f"{CONFIG}.VLEN.value", 0, "1 to 65535"),
    (f"{CONFIG}.BLEN.value", 0, "1 to 65535"),
    (f"{CONFIG}.HLEN.value", 0, "1 to 65535"),
    (f"{CONFIG}.HLEN.value", 5, "divisor of VLEN 16"),
    (f"{CONFIG}.BROADCAST_AMOUNT.value", 0, "1 to 65535"),
    (f"{CONFIG}.HBM_SIZE.value", 0, "1 to"),
    (f"{CONFIG}.HBM_SIZE.value", 2**63, "1 to 9223372036854775807"),
    (f"{CONFIG}.MATRIX_SRAM_SIZE.value", 0, "1 to"),
    (f"{CONFIG}.VECTOR_SRAM_SIZE.value", 2**32, "1 to 4294967295"),
    (f"{CONFIG}.HBM_V_Prefetch_Amount.value", -1, "0 to"),
    (f"{CONFIG}.HBM_V_Writeback_Amount.value", 2**40, "0 to"),
    (f"{CONFIG}.HBM_V_Prefetch_Amount.value", 2**20 + 1, "0 to 1048576"),
    (f"{CONFIG}.DC_EN.value", True, "found true"),
    (f"{CONFIG}.DC_EN.value", -1, "0 to"),
    (f"{CONFIG}.MAX_LOOP_INSTRUCTIONS.value", -1, "0 to"),
    ("TRANSACTIONAL.LATENCY.VECTOR_ADD_CYCLES.dc_lib_en", MISSING, "nothing"),
    ("TRANSACTIONAL.LATENCY.VECTOR_ADD_CYCLES.dc_lib_dis", MISSING, "nothing"),
    ("TRANSACTIONAL.LATENCY.VECTOR_ADD_CYCLES.dc_lib_en", -1, "0 to"),
    ("TRANSACTIONAL.LATENCY.VECTOR_ADD_CYCLES.dc_lib_en", 2**32, "0 to"),
    (f"{PRECISION}.HBM_M_WEIGHT_TYPE.format", MISSING, "nothing"),
    (f"{PRECISION}.HBM_M_WEIGHT_TYPE.format", "mx", "'mx'"),
    (f"{PRECISION}.HBM_M_WEIGHT_TYPE.block", MISSING, "nothing"),
    (f"{PRECISION}.HBM_M_WEIGHT_TYPE.block", 0, "1 to"),
    (f"{PRECISION}.HBM_M_WEIGHT_TYPE.block", 3, "divisor of MLEN 16"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.block", 32, "divisor of VLEN 16"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM", MISSING, "nothing"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.SCALE", MISSING, "nothing"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.type", "Float", "'Float'"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.sign", 1, "true or false"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.exponent", 0, "1 to 8"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.exponent", 9, "1 to 8"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.exponent", True, "found true"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.mantissa", 24, "0 to 23"),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.mantissa", -1, "0 to 23"),
    (f"{PRECISION}.HBM_V_INT_TYPE.DATA_TYPE.width", 0, "1 to 32"),
    (f"{PRECISION}.HBM_V_INT_TYPE.DATA_TYPE.width", 33, "1 to 32"),
    (f"{PRECISION}.SCALAR_FP.mantissa", MISSING, "nothing"),
    (f"{PRECISION}.MATRIX_SRAM_TYPE.DATA_TYPE.exponent", 5, "8 exponent bits"),
    (f"{PRECISION}.VECTOR_SRAM_TYPE.DATA_TYPE.sign", False, "8 exponent bits"),
    (f"{PRECISION}.VECTOR_SRAM_TYPE.DATA_TYPE", {"type": "Int", "width": 16}, "8 exponent bits"),
    (f"{PRECISION}.VECTOR_SRAM_TYPE", SOUND["PRECISION"]["HBM_V_ACT_TYPE"], "8 exponent bits"),
]


@pytest.mark.parametrize("key, value, words", BAD_VALUES, ids=lambda part: str(part)[:60])
def test_refusals_name_file_key_found_and_expected(tmp_path, key, value, words):
    with pytest.raises(EmuError) as caught:
        load(tmp_path, changed(key, value))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path / "s.toml") in message
    # An SRAM type is refused as a whole, not by its exponent or sign alone.
    assert (key.partition(".DATA_TYPE")[0] if "SRAM_TYPE" in key else key) in message
    assert words in message
    assert "found" in message and "expected" in message


def test_a_block_needs_a_whole_ratio(tmp_path):
    document = changed(f"{PRECISION}.HBM_V_KV_TYPE.ELEM", {"type": "Int", "width": 3})
    document["TRANSACTIONAL"]["PRECISION"]["HBM_V_KV_TYPE"]["block"] = 4
    with pytest.raises(EmuError, match="HBM_V_KV_TYPE.block.*whole ratio"):
        load(tmp_path, document)


def test_a_row_must_be_whole_bytes(tmp_path):
    document = changed(f"{PRECISION}.HBM_M_KV_TYPE", {"format": "Plain", "DATA_TYPE": {"type": "Int", "width": 3}})
    for key in ("MLEN", "VLEN", "HLEN"):
        document["TRANSACTIONAL"]["CONFIG"][key] = {"value": 4}
    for key in ("HBM_M_WEIGHT_TYPE", "HBM_V_ACT_TYPE", "HBM_V_KV_TYPE"):
        document["TRANSACTIONAL"]["PRECISION"][key]["block"] = 4
    with pytest.raises(EmuError, match="HBM_M_KV_TYPE.*whole number of bytes"):
        load(tmp_path, document)


@pytest.mark.parametrize("key, value", [
    (f"{CONFIG}.HBM_SIZE.value", 128 * 2**30),
    (f"{CONFIG}.HBM_V_Prefetch_Amount.value", 0),
    (f"{CONFIG}.MAX_LOOP_INSTRUCTIONS.value", 0),
    (f"{CONFIG}.BROADCAST_AMOUNT.value", 9),
    (f"{CONFIG}.HLEN.value", 64),
    (f"{CONFIG}.BLEN.value", 6),
    (f"{CONFIG}.HBM_WIDTH", MISSING),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM", {"type": "Int", "width": 4}),
    (f"{PRECISION}.HBM_V_ACT_TYPE.ELEM.mantissa", 11),
    (f"{PRECISION}.VECTOR_SRAM_TYPE.DATA_TYPE.mantissa", 23),
    ("TRANSACTIONAL.LATENCY.VECTOR_BASIC_CYCLES", {"dc_lib_en": "x"}),
    ("BEHAVIOR", {"CONFIG": 1}),
])
def test_legal_values_are_not_refused(tmp_path, key, value):
    document = settings_document() if value == MISSING else changed(key, value)
    load(tmp_path, document)


def test_an_unused_scalar_type_is_warned_about(tmp_path):
    s = load(tmp_path, changed(f"{PRECISION}.SCALAR_FP.mantissa", 10))
    assert any("SCALAR_FP" in line for line in s.warnings)


@pytest.mark.parametrize("content, words", [
    (b"[TRANSACTIONAL\n", "not valid TOML"),
    (b"x = 1\nx = 2\n", "not valid TOML"),
    (b"\xff\xfe\x00", "not UTF-8"),
    (b"x = " + b"1" * 5000, "not valid TOML"),
    (b"x = " + b"[" * 5000, "not valid TOML"),
    (b"", "TRANSACTIONAL: found nothing"),
], ids=["cut", "twice", "binary", "digits", "nested", "empty"])
def test_what_is_no_settings_file(tmp_path, content, words):
    path = tmp_path / "s.toml"
    path.write_bytes(content)
    with pytest.raises(EmuError) as caught:
        load_settings(path)
    assert words in str(caught.value) and str(path) in str(caught.value)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(EmuError, match="none.toml.*cannot read"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(EmuError, match="cannot read"):
        load_settings(tmp_path)


def test_search_order(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    flag = write_settings(tmp_path / "flag.toml")
    variable = write_settings(tmp_path / "variable.toml")
    environ = {"PLENA_SETTINGS_TOML": variable}
    assert find_settings(None, {}, work) is default_settings()
    assert find_settings(None, {"PLENA_SETTINGS_TOML": ""}, work) is default_settings()
    near = write_settings(tmp_path / "plena_settings.toml")
    assert find_settings(None, {}, work).source == near
    assert find_settings(None, environ, work).source == variable
    assert find_settings(flag, environ, work).source == flag
    assert find_settings(None, environ, work).origin == "$PLENA_SETTINGS_TOML"


def test_nothing_named_or_found_falls_back(tmp_path):
    """Only "no file at all" means defaults; a file that is named or lies there must be sound."""
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(EmuError, match=r"gone.toml \(--settings\)"):
        find_settings(str(tmp_path / "gone.toml"), {}, work)
    with pytest.raises(EmuError, match=r"gone.toml \(\$PLENA_SETTINGS_TOML\)"):
        find_settings(None, {"PLENA_SETTINGS_TOML": str(tmp_path / "gone.toml")}, work)
    (tmp_path / "plena_settings.toml").write_text("broken")
    with pytest.raises(EmuError, match="plena_settings.toml"):
        find_settings(None, {}, work)


def test_hbm_size_override(tmp_path):
    s = load(tmp_path)
    assert with_hbm_size(s, 777).hbm_size == 777
    assert with_hbm_size(s, None) is s


def test_every_golden_settings_file_loads(tmp_path):
    archives = sorted(SHARED.glob("*.tar.xz"))
    if not archives:
        pytest.skip(f"golden programs not found at {SHARED}")
    seen = set()
    for archive in archives[::8]:
        with tarfile.open(archive) as tar:
            name = next(name for name in tar.getnames() if name.endswith("plena_settings.toml"))
            text = tar.extractfile(name).read()
        if text not in seen:
            seen.add(text)
            path = tmp_path / "golden.toml"
            path.write_bytes(text)
            assert load_settings(path).mlen % 16 == 0
    assert len(seen) > 5


@pytest.mark.parametrize("length, amount, rows, total", [
    ("MLEN", "HBM_M_Prefetch_Amount", 16, 65528 * 65528 * 9 // 8),  # at least a tile
    ("VLEN", "HBM_V_Prefetch_Amount", 2**20, 65528 * 9 * 2**17), ("VLEN", "HBM_V_Writeback_Amount", 7282, None),
    ("VLEN", "HBM_V_Writeback_Amount", 7283, 7283 * 65528 * 9 // 8),
])
def test_the_largest_transfers(tmp_path, length, amount, rows, total):
    """What a run lists before it times it has a limit; within it nothing is said."""
    document = changed(f"{CONFIG}.{amount}.value", rows)
    document["TRANSACTIONAL"]["CONFIG"][length]["value"] = document["TRANSACTIONAL"]["CONFIG"]["HLEN"]["value"] = 65528
    if total is None:
        assert load(tmp_path, document).sv == rows
        return
    with pytest.raises(EmuError, match=rf"{amount}.value: found \d+ rows of {length} 65528 of HBM_\w+, {total} bytes a"
                                       r" transfer, expected at most 536870912 bytes a transfer$"):
        load(tmp_path, document)
