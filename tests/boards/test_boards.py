"""Board files: the table of spec §6.1, the schema's refusals, and drift against the golden settings."""

import copy
import json
import pathlib
import re

import pytest
import yaml

from plena_emu.boards import DEFAULT_BOARD, board_names, load_board, loader, profile_names, schema
from plena_emu.cli.main import main
from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError, UsageError

FOLDER = pathlib.Path(loader.__file__).parent
GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests"  # settings of golden programs
GIB = 2**30

BF16 = {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 8, "mantissa": 7}}
MXFP8 = {
    "format": "Mx",
    "block": 8,
    "ELEM": {"type": "Fp", "sign": True, "exponent": 4, "mantissa": 3},
    "SCALE": {"type": "Fp", "sign": False, "exponent": 8, "mantissa": 0},
}
PRECISION = {"MATRIX_SRAM_TYPE": BF16, "VECTOR_SRAM_TYPE": BF16, "HBM_M_WEIGHT_TYPE": MXFP8, "HBM_V_ACT_TYPE": MXFP8}

UNITS = ("systolic_processing_overhead", "vector_add", "vector_mul", "vector_exp", "vector_reci", "vector_max",
         "vector_sum", "vector_shift", "vector_prefix_scan", "scalar_fp_basic", "scalar_fp_exp", "scalar_fp_sqrt",
         "scalar_fp_reci", "scalar_int_basic")
A7_LATENCY = {"dc_lib_en": False, **dict(zip(UNITS, (8, 9, 7, 15, 8, 4, 30, 1, 9, 1, 2, 2, 2, 1), strict=True))}
V80_LATENCY = {"dc_lib_en": True, **dict(zip(UNITS, (0, 1, 1, 1, 2, 4, 8, 1, 9, 1, 1, 1, 1, 1), strict=True))}

SRAM = {"matrix_sram_size": 4096, "vector_sram_size": 4194304, "prefetch_m_amount": 64, "prefetch_v_amount": 4,
        "writeback_v_amount": 4}
A7_MEMORY = {
    "type": "ddr3_1600", "device": "MT41K256M16HA", "dram": "ddr3_800_x16",
    "physical_size_bytes": 536870912, "capacity_bytes": 536870912,
    "modeled_size_bytes": 137438953472, "bus_width_bits": 512, "peak_bandwidth_gbps": 1.6,
    "effective_bandwidth_gbps": 1.0, "ddr3_burst_cycles": 5, "ddr3_row_miss_penalty": 3, "prefetch_v_cycles": 25,
    "prefetch_m_cycles": 400, "store_v_cycles": 25, **SRAM,
}


def a7(name, link, hints):
    return {
        "name": name, "vendor": "xilinx", "family": "artix7", "part": "xc7a200t", "clock_mhz": 100,
        "memory": A7_MEMORY, "host_link": link, "precision": PRECISION, "latency": A7_LATENCY,
        "power": {"tdp_watts": 7.5, "io_volts": 3.3},
        "resources": {"luts": 134600, "ffs": 269200, "bram_36k": 365, "dsp48": 740}, "tile_hints": hints,
    }


TABLE = {
    "nexys_video": a7(
        "nexys_video", {"type": "usb2", "bandwidth_bytes_per_sec": 4750000},
        [(64, 64, 4, 1, "proven"), (64, 64, 16, 1, "proven"), (64, 64, 16, 2, "proven"), (128, 128, 64, 1, "untested"),
         (256, 256, 64, 1, "exceeds_resources")]),
    "custom_a7": a7(
        "custom_a7", {"type": "pcie_gen2_x4", "bandwidth_bytes_per_sec": 1500000000,
                      "theoretical_bytes_per_sec": 2000000000},
        [(64, 64, 4, 1, "proven"), (64, 64, 16, 1, "proven"), (256, 256, 64, 1, "exceeds_resources")]),
    "v80": {
        "name": "v80", "vendor": "amd", "family": "versal", "part": "v80", "clock_mhz": 400,
        "memory": {"type": "hbm2e", "dram": "hbm2e_3200", "hbm_size_bytes": 34359738368, "bus_width_bits": 512,
                   "peak_bandwidth_gbps": 819.2, **SRAM},
        "precision": PRECISION, "latency": V80_LATENCY, "power": {"tdp_watts": 75, "io_volts": 1.8},
        "resources": {"luts": 899840, "ffs": 1799680, "bram_36k": 967, "dsp58": 1968, "uram": 463, "aie_tiles": 304},
        "tile_hints": [(64, 64, 16, 1, "proven"), (128, 128, 64, 1, "proven"), (256, 256, 64, 1, "proven"),
                       (256, 256, 64, 2, "untested")]},
}


def test_the_boards_that_ship():
    assert board_names() == ["custom_a7", "nexys_video", "v80"]
    assert profile_names() == ["nexys_video_150mhz"]
    assert DEFAULT_BOARD == "nexys_video"


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_table_of_the_spec(name):
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert data.pop("description")
    data["tile_hints"] = [tuple(hint[key] for key in ("mlen", "vlen", "blen", "batch", "status"))
                          for hint in data["tile_hints"]]
    assert data == TABLE[name]


def test_every_latency_line_names_its_origin():
    for path in list(FOLDER.glob("*.yaml")) + list(FOLDER.glob("profiles/*.yaml")):
        block = path.read_text().partition("\nlatency:\n")[2]
        lines = re.match(r"(?:  .*\n)+", block)[0].splitlines()
        assert len(lines) >= 4
        for line in lines:
            assert re.fullmatch(r"  \w+: +\w+ +# \S.{7,}", line), f"{path.name}: {line}"


def test_capacity_and_bandwidth_of_a_board():
    found = {name: (load_board(name).ddr_capacity_bytes, load_board(name).host_bandwidth) for name in board_names()}
    assert found == {"custom_a7": (GIB // 2, 1500000000), "nexys_video": (GIB // 2, 4750000), "v80": (32 * GIB, None)}
    assert load_board("v80").seconds(400_000_000) == 1.0
    assert [hint.status for hint in load_board("nexys_video").hints(64, 64, 16)] == ["proven", "proven"]
    assert load_board("nexys_video").hints(32, 32, 4) == []


def test_latency_profile():
    plain, fast = load_board("nexys_video"), load_board("nexys_video", "nexys_video_150mhz")
    changed = {name for name in UNITS if getattr(plain.latency, name) != getattr(fast.latency, name)}
    assert changed == {"scalar_fp_exp", "scalar_fp_reci", "vector_add", "vector_exp"}
    latency = fast.latency
    assert (latency.scalar_fp_exp, latency.scalar_fp_reci, latency.vector_add, latency.vector_exp) == (18, 6, 11, 18)
    assert (fast.clock_mhz, fast.latency_profile, plain.latency_profile) == (150, "nexys_video_150mhz", None)


SETTINGS_UNIT = {
    "systolic": "systolic_processing_overhead", "v_add": "vector_add", "v_mul": "vector_mul", "v_exp": "vector_exp",
    "v_reci": "vector_reci", "v_max": "vector_max", "v_sum": "vector_sum", "v_shift": "vector_shift",
    "v_prefix_scan": "vector_prefix_scan", "fp_basic": "scalar_fp_basic", "fp_exp": "scalar_fp_exp",
    "fp_sqrt": "scalar_fp_sqrt", "fp_reci": "scalar_fp_reci", "int_basic": "scalar_int_basic",
}


@pytest.mark.parametrize("program, board", [
    ("base_clm60m_dec_L1_m256b64_a7", "custom_a7"), ("base_clm60m_dec_L1_m64b16_a7", "custom_a7"),
    ("base_clm60m_dec_L4_m64b16", "v80"),  # stock settings: the DesignWare column
])
def test_golden_settings_have_the_latencies_of_the_board(program, board):
    settings = load_settings(GOLDEN / program / "plena_settings.toml")
    latency = load_board(board).latency
    assert bool(settings.dc_en) == latency.dc_lib_en
    assert {name: getattr(settings.latency, name) for name in SETTINGS_UNIT} == {
        name: getattr(latency, unit) for name, unit in SETTINGS_UNIT.items()}


# --- refusals ------------------------------------------------------------------------------------

REFUSED_NAMES = [
    ("nexys_a7", None, "nexys_video"),
    ("nexys_a7_150mhz", None, "nexys_video_150mhz"),
    ("nexys_video_150mhz", None, "latency profile"),
    ("nexys_video", "nexys_a7_150mhz", "nexys_video_150mhz"),
    ("nexys_video", "fast", "nexys_video_150mhz"),
    ("v80", "nexys_video_150mhz", "xc7a200t"),
    ("zedboard", None, "custom_a7, nexys_video, v80"),
    ("", None, "custom_a7"),
]


@pytest.mark.parametrize("board, profile, hint", REFUSED_NAMES)
def test_names_are_refused_with_a_hint(board, profile, hint):
    with pytest.raises(UsageError, match=re.escape(hint)):
        load_board(board, profile)


def refused(load, expected):
    """`load()` must stop with one line that names the file and `expected`."""
    with pytest.raises(EmuError) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message and "mine.yaml" in message and expected in message, message
    assert caught.value.exit_code == 101


def leaves(data, path=()):
    """Every (path, value) below a mapping, lists included."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield path + (key,), value
        yield from leaves(value, path + (key,))


def dotted(path):
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")


def refused_data(data, expected):
    refused(lambda: schema.to_board(data, "mine.yaml"), expected)


def edited(data, path, change):
    """Copy of `data` with `change(parent, key)` applied at `path`."""
    data = copy.deepcopy(data)
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return data


FILES = {name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in board_names()}
OPTIONAL = {"host_link", "device", "dram", "physical_size_bytes", "capacity_bytes", "modeled_size_bytes",
            "effective_bandwidth_gbps", "ddr3_burst_cycles", "ddr3_row_miss_penalty", "prefetch_v_cycles",
            "prefetch_m_cycles", "store_v_cycles", "theoretical_bytes_per_sec", "dsp48"}


def test_each_missing_key_is_named():
    data, count = FILES["custom_a7"], 0
    for path, _ in leaves(data):
        if isinstance(path[-1], int) or path[-1] in OPTIONAL:
            continue
        refused_data(edited(data, path, lambda parent, key: parent.pop(key)), dotted(path))
        count += 1
    assert count > 70


def test_each_wrong_type_is_named():
    data, count = FILES["custom_a7"], 0
    for path, value in leaves(data):
        wrong = 7 if isinstance(value, (str, dict, list, bool)) else "seven"
        changed = edited(data, path, lambda parent, key, wrong=wrong: parent.__setitem__(key, wrong))
        refused_data(changed, dotted(path))
        count += 1
    assert count > 90


def test_each_negative_number_is_named():
    data = FILES["nexys_video"]
    for path, value in leaves(data):
        if type(value) in (int, float):
            refused_data(edited(data, path, lambda parent, key: parent.__setitem__(key, -1)), dotted(path))


def test_unknown_keys_are_named_in_every_section():
    data = FILES["custom_a7"]
    sections = [()] + [path for path, value in leaves(data) if isinstance(value, dict)]
    for path in sections:
        changed = edited(data, path + ("colour",), lambda parent, key: parent.__setitem__(key, "green"))
        refused_data(changed, dotted(path + ("colour",)))
    for name in ("source", "latency_profile"):
        refused_data(data | {name: "x"}, name)


def with_value(board, path, value):
    return edited(FILES[board], path, lambda parent, key: parent.__setitem__(key, value))


@pytest.mark.parametrize("path, value, expected", [
    (("clock_mhz",), 0, "clock_mhz"),
    (("clock_mhz",), float("inf"), "clock_mhz"),
    (("clock_mhz",), float("nan"), "clock_mhz"),
    (("memory", "capacity_bytes"), 0, "memory.capacity_bytes"),
    (("memory", "capacity_bytes"), 2**30, "memory.capacity_bytes"),
    (("memory", "capacity_bytes"), 2**70, "memory.capacity_bytes"),
    (("memory", "effective_bandwidth_gbps"), 2.0, "memory.effective_bandwidth_gbps"),
    (("host_link", "bandwidth_bytes_per_sec"), 0, "host_link.bandwidth_bytes_per_sec"),
    (("host_link", "bandwidth_bytes_per_sec"), 2000000001, "host_link.bandwidth_bytes_per_sec"),
    (("latency", "vector_add"), 2**32, "latency.vector_add"),
    (("latency", "vector_add"), 1.5, "latency.vector_add"),
    (("latency", "vector_add"), True, "latency.vector_add"),
    (("tile_hints", 1, "status"), "fine", "tile_hints[1].status"),
    (("tile_hints", 0, "blen"), 7, "tile_hints[0].blen"),
    (("precision", "MATRIX_SRAM_TYPE", "format"), "Posit", "precision.MATRIX_SRAM_TYPE.format"),
    (("precision", "HBM_V_ACT_TYPE", "ELEM", "exponent"), 9, "precision.HBM_V_ACT_TYPE.ELEM.exponent"),
    (("name",), "", "name"),
])
def test_impossible_values_are_named(path, value, expected):
    refused_data(with_value("custom_a7", path, value), expected)


def test_a_board_needs_some_capacity():
    refused_data(edited(FILES["v80"], ("memory", "hbm_size_bytes"), lambda parent, key: parent.pop(key)),
            "memory.capacity_bytes")


@pytest.mark.parametrize("text, expected", [
    ("", "found nothing"), ("- 1\n- 2\n", "found a list"), ("name: [", "line"), ("a: 1\n b: 2\n", "line 2"),
    ("name: x\nname: y\n", "repeated"), (b"\xff\xfe\x00", "UTF-8"), ("a: !!python/none x\n", "not valid YAML"),
    ("[" * 5000, "nested too deeply"), ("a: \x01\n", "not valid YAML"),
])
def test_files_that_are_no_mapping(tmp_path, text, expected):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(lambda: load_board(path), expected)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(EmuError, match="missing.yaml: cannot read"):
        load_board(tmp_path / "missing.yaml")
    with pytest.raises(EmuError, match="cannot read"):
        load_board(f"{tmp_path}/")


def test_a_copied_board_loads_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((FOLDER / "custom_a7.yaml").read_text().replace("name: custom_a7", "name: mine"))
    mine = load_board(path)
    assert (mine.name, mine.source, mine.latency) == ("mine", str(path), load_board("custom_a7").latency)


def test_a_profile_with_an_unknown_latency_is_refused(tmp_path):
    path = tmp_path / "profile.yaml"
    path.write_text((FOLDER / "profiles" / "nexys_video_150mhz.yaml").read_text().replace("vector_add", "vector_ad"))
    with pytest.raises(EmuError, match=r"profile.yaml: latency.vector_ad: found an unknown key, expected one of"):
        load_board("nexys_video", path)


# --- command -------------------------------------------------------------------------------------

def test_the_command_lists_and_shows(capsys):
    assert main(["boards"]) == 0
    listed = capsys.readouterr().out
    for name in board_names():
        assert name in listed
    assert re.search(r"nexys_video.*\(default\)", listed)
    assert main(["boards", "custom_a7"]) == 0
    shown = capsys.readouterr().out
    for text in ("pcie_gen2_x4", "536870912", "vector_exp:", "status proven", "e4m3"):
        assert text in shown
    assert main(["boards", "v80", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["memory"]["hbm_size_bytes"] == 34359738368
    assert main(["boards", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["boards"]) == 3


def test_the_command_refuses(capsys):
    assert main(["boards", "nexys_a7"]) == 2
    assert "'nexys_video'" in capsys.readouterr().err
    assert main(["boards", "--latency-profile", "nexys_video_150mhz"]) == 2
