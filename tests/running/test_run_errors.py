"""Does every malformed input end in one clear line with the status of §5.5, no traceback and no dump?

The table runs through the drop-in executable's entry point in this process, a sample of it as real processes.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from support import MISSING, changed, write_settings

from plena_emu.cli import dropin
from plena_emu.cli.main import main as plena_emu
from plena_emu.program.assembler import assemble, mem_text

FILES = ("--opcode", "p.mem", "--hbm", "hbm.bin", "--fpsram", "fp.bin", "--settings", "s.toml")
RESIDENT = ("--memory-model", "resident", "--weight-manifest", "w.json")
REGION = {"layer_id": 0, "offset": 0, "size": 64, "kind": "weight"}
CONFIG = "TRANSACTIONAL.CONFIG"
PRECISION = "TRANSACTIONAL.PRECISION"
DUMPS = {"mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin", "intsram_dump.bin", "hbm_dump.bin"}


class Case:
    """One malformed input: what differs from a sound run, the status and the words of the message.

    `asm` replaces the program, `files` maps names to bytes (None: the file is missing), `settings` is a pair of
    dotted key and value, `manifest` replaces the manifest, `flags` come after the usual ones, `only` replaces all.
    """

    def __init__(self, name, *words, status=101, asm=None, files=None, settings=None, manifest=None,
                 flags=(), only=None, environ=None):
        self.name = name
        self.words = words
        self.status = status
        self.asm = asm
        self.files = files or {}
        self.settings = settings
        self.manifest = manifest
        self.flags = flags
        self.only = only
        self.environ = environ or {}


SOUND = "S_ADDI_INT gp1, gp0, 16\nV_ADD_VV gp1, gp1, gp1\n"


def program(name, text, *words, **more):
    """A case whose program is at fault; the message must name a pc."""
    return Case(name, "pc=", *words, asm=text, **more)


def setting(name, key, value, *words):
    return Case(name, "s.toml", key, *words, settings=(key, value))


def manifest(name, value, *words):
    return Case(name, "w.json", *words, manifest=value)


def gp(number, value):
    """Lines that load `value` into a register."""
    high, low = value >> 12, value & 0xFFF
    return f"S_LUI_INT gp{number}, {high}\nS_ADDI_INT gp{number}, gp{number}, {low}\n"


CASES = [
    # The command line alone.
    Case("no flags", "--opcode", "--hbm", "--fpsram", only=(), status=2),
    Case("unknown flag", "--ddr", flags=("--ddr", "1"), status=2),
    Case("unknown model", "'ddr'", flags=("--memory-model", "ddr"), status=2),
    Case("size suffix", "'1Q'", flags=("--hbm-size", "1Q"), status=2),
    Case("size empty", "'K'", flags=("--ddr3-capacity", "K"), status=2),
    Case("size overflow", "'99999999T'", flags=("--hbm-size", "99999999T"), status=2),
    Case("bandwidth 0", "'0'", flags=("--host-bandwidth", "0"), status=2),
    Case("bandwidth word", "'fast'", flags=("--host-bandwidth", "fast"), status=2),
    Case("log level", "'loud'", flags=("--log-level", "loud"), status=2),
    Case("revision variable", "PLENA_ISA", "'v9'", environ={"PLENA_ISA": "v9"}, status=2),
    Case("log file directory", "nowhere", flags=("--log-file", "nowhere/run.log"), status=1),
    Case("log file is a directory", "--log-file .", flags=("--log-file", ".")),
    # Files that are not there.
    Case("no program file", "p.mem", files={"p.mem": None}),
    Case("no HBM file", "hbm.bin", files={"hbm.bin": None}),
    Case("no fp file", "fp.bin", files={"fp.bin": None}),
    Case("no int file", "i.bin", flags=("--intsram", "i.bin")),
    Case("no vector file", "v.bin", flags=("--vram", "v.bin")),
    Case("no settings file", "s.toml", files={"s.toml": None}),
    Case("no settings of the variable", "gone.toml", "$PLENA_SETTINGS_TOML", only=FILES[:6] + RESIDENT,
         environ={"PLENA_SETTINGS_TOML": "gone.toml"}),
    Case("no manifest file", "w.json", files={"w.json": None}),
    Case("model without manifest", "kv-swap", "--weight-manifest", only=FILES + ("--memory-model", "kv-swap")),
    Case("program is a directory", "cannot read", flags=(), only=("--opcode", ".") + FILES[2:] + RESIDENT),
    # Program words.
    Case("word is no number", "p.mem", "line 2", "'xyz'", files={"p.mem": b"0x22\nxyz\n"}),
    Case("word too wide", "p.mem", "line 1", "'0x1FFFFFFFF'", files={"p.mem": b"0x1FFFFFFFF"}),
    Case("word negative", "p.mem", "'-1'", files={"p.mem": b"-1"}),
    Case("program without end", "/dev/zero", "line 1", only=("--opcode", "/dev/zero") + FILES[2:] + RESIDENT),
    Case("program is binary", "p.mem", "line 1", files={"p.mem": bytes(range(256))}),
    program("broadcast product with rd", "M_BMM 1, gp0, gp0", "M_BMM", "rd=1"),
    # Preloads.
    Case("fp preload too long", "fp.bin", "1024", files={"fp.bin": bytes(2050)}),
    Case("int preload too long", "i.bin", "1024", files={"i.bin": bytes(4100)}, flags=("--intsram", "i.bin")),
    Case("fp preload without end", "/dev/zero", "1024", only=FILES[:4] + ("--fpsram", "/dev/zero") + FILES[6:]),
    Case("HBM preload without end", "/dev/zero", "4096", only=FILES[:2] + ("--hbm", "/dev/zero") + FILES[4:]),
    Case("line end in a name", r"v\n.bin", flags=("--vram", "v\n.bin")),
    Case("vector preload too long", "v.bin", files={"v.bin": bytes(64 * 32 + 1)}, flags=("--vram", "v.bin")),
    Case("HBM preload too long", "hbm.bin", "4097", "4096", files={"hbm.bin": bytes(4097)}),
    Case("HBM preload beyond --hbm-size", "hbm.bin", "4096", "1024", flags=("--hbm-size", "1K")),
    Case("HBM size beyond addresses", "9223372036854775808", flags=("--hbm-size", "9223372036854775808")),
    Case("HBM size beyond the machine", "cannot map", flags=("--hbm-size", "8000000T")),
    # Settings.
    Case("settings no TOML", "s.toml", "TOML", files={"s.toml": b"[TRANSACTIONAL\n"}),
    Case("settings empty", "s.toml", "TRANSACTIONAL", files={"s.toml": b""}),
    setting("settings without a table", f"{CONFIG}", MISSING),
    setting("settings without a key", f"{CONFIG}.MLEN", MISSING),
    setting("settings without a latency", "TRANSACTIONAL.LATENCY.SCALAR_INT_BASIC_CYCLES", MISSING),
    setting("settings zero", f"{CONFIG}.VLEN.value", 0, "found 0"),
    setting("settings negative", f"{CONFIG}.BLEN.value", -4, "found -4"),
    setting("settings boolean", f"{CONFIG}.MLEN.value", True, "found true, expected an integer"),
    setting("settings text", f"{CONFIG}.HBM_SIZE.value", "1G", "found '1G', expected an integer"),
    setting("settings block", f"{PRECISION}.HBM_M_WEIGHT_TYPE.block", 5, "divisor"),
    setting("settings narrow SRAM type", f"{PRECISION}.VECTOR_SRAM_TYPE",
            {"format": "Plain", "DATA_TYPE": {"type": "Fp", "sign": True, "exponent": 5, "mantissa": 10}},
            "8 exponent bits"),
    setting("settings unknown format", f"{PRECISION}.HBM_V_KV_TYPE.format", "Block", "'Block'"),
    # Manifests.
    manifest("manifest no JSON", b"{", "JSON"),
    manifest("manifest a list", b"[]"),
    manifest("manifest without ceiling", {"regions": []}, "activation_ceiling"),
    manifest("manifest without regions", {"activation_ceiling": 0}, "regions"),
    manifest("manifest negative offset", {"activation_ceiling": 0, "regions": [REGION | {"offset": -1}]}, "offset"),
    manifest("manifest unknown kind", {"activation_ceiling": 0, "regions": [REGION | {"kind": "bias"}]}, "kind"),
    manifest("manifest text size", {"activation_ceiling": 0, "regions": [REGION | {"size": "64"}]}, "size"),
    manifest("manifest fraction", {"activation_ceiling": 0.5, "regions": []}, "activation_ceiling"),
    # Programs that break a rule of chapter 1 when they run.
    program("unassigned code", "S_ADDI_INT gp1, gp0, 1\n.word 0x3F", "pc=1"),
    program("code of the other revision", ".word 0x34", "pc=0"),
    program("fp register", ".word 0x00000217", "8"),
    program("row misaligned", gp(1, 5) + "V_ADD_VV gp1, gp1, gp1", "pc=2", "V_ADD_VV", "5"),
    program("row outside", gp(1, 1024) + "V_ADD_VV gp0, gp1, gp0", "pc=2", "V_ADD_VV", "1024"),
    program("target row outside", gp(1, 1024) + "V_ADD_VV gp1, gp0, gp0", "pc=2", "V_ADD_VV", "1024"),
    program("tile outside", gp(1, 1024) + "M_MM 0, gp1, gp0", "pc=2", "M_MM", "1024"),
    program("tile column misaligned", gp(1, 2) + "M_MM 0, gp1, gp0", "pc=2", "M_MM"),
    program("tile column outside", gp(1, 16) + "M_MM 0, gp1, gp0", "pc=2", "M_MM"),
    program("transposed column misaligned", gp(1, 16) + "M_TMM 0, gp0, gp1", "pc=2", "M_TMM"),
    program("transposed tile misaligned", gp(1, 5) + "M_TMV 0, gp1, gp0", "pc=2", "M_TMV", "5"),
    program("head misaligned", gp(1, 1) + "M_BMM 0, gp1, gp0", "pc=2", "M_BMM"),
    program("tile slice outside", gp(1, 16) + "M_BMM 0, gp1, gp0", "pc=2", "M_BMM"),
    program("broadcast amount", "M_BTMM 0, gp0, gp0", "pc=0", "BROADCAST",
            settings=(f"{CONFIG}.BROADCAST_AMOUNT.value", 2)),
    program("write-out misaligned", gp(1, 2) + "M_MM_WO gp1, gp0, 0", "pc=2", "M_MM_WO"),
    program("write-out outside", gp(1, 1024) + "M_BMM_WO gp1, 0", "pc=2", "M_BMM_WO"),
    program("fp SRAM load", "S_LD_FP f1, gp0, 1024", "pc=0", "S_LD_FP", "1024"),
    program("fp SRAM store", "S_ST_FP f1, gp0, 1024", "pc=0", "S_ST_FP", "1024"),
    program("fp SRAM segment", "S_MAP_V_FP gp0, gp0, 1009", "pc=0", "S_MAP_V_FP"),
    program("int SRAM load", "S_LD_INT gp1, gp0, 1024", "pc=0", "S_LD_INT", "1024"),
    program("int SRAM store", "S_ST_INT gp1, gp0, 5000", "pc=0", "S_ST_INT", "5000"),
    program("loop of 0", "C_LOOP_START gp1, 0", "pc=0", "C_LOOP_START"),
    program("loop end without loop", "C_LOOP_START gp1, 2\nC_LOOP_END gp2", "pc=1", "C_LOOP_END"),
    program("break without loop", "C_BREAK", "pc=0", "C_BREAK"),
    program("loop limit", "C_LOOP_START gp1, 2\nC_LOOP_START gp2, 1001\nC_LOOP_END gp2\nC_LOOP_END gp1", "1000"),
    program("prefetch past the tiles", gp(1, 1024) + "H_PREFETCH_M gp1, gp0, a0, 0, 0", "pc=2", "H_PREFETCH_M"),
    program("prefetch row misaligned", gp(1, 3) + "H_PREFETCH_V gp1, gp0, a0, 0, 0", "pc=2", "H_PREFETCH_V"),
    program("store outside the HBM", gp(1, 4096) + "H_STORE_V gp0, gp1, a0, 0, 0", "pc=2", "H_STORE_V", "4096"),
    program("store row outside", gp(1, 1024) + "H_STORE_V gp1, gp0, a0, 0, 0", "pc=2", "H_STORE_V"),
    Case("top-k policy", "pc=0", "V_TOPK", "2", files={"p.mem": b"0x00080037"}, flags=("--isa", "moe")),
]


def prepare(case, directory, monkeypatch):
    """Write the inputs of a case below `directory`; returns the arguments."""
    files = {
        "p.mem": mem_text(assemble(SOUND if case.asm is None else case.asm)).encode(),
        "hbm.bin": bytes(4096),
        "fp.bin": bytes(20),
        "w.json": {"activation_ceiling": 0, "regions": []} if case.manifest is None else case.manifest,
    } | case.files
    write_settings(directory / "s.toml", changed(*case.settings) if case.settings else None)
    for name, content in files.items():
        if isinstance(content, dict):
            content = json.dumps(content).encode()
        if content is None:
            (directory / name).unlink(missing_ok=True)
        else:
            (directory / name).write_bytes(content)
    for name, value in case.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(directory)
    return list(case.only if case.only is not None else FILES + RESIDENT + case.flags)


def check(case, status, err, directory, before):
    """The status, exactly one error line with every word, nothing that looks like a dump."""
    assert status == case.status, err
    lines = [line for line in err.splitlines() if line.startswith("transactional_emulator: error: ")]
    assert len(lines) == 1, err
    assert err.splitlines()[-1] == lines[0]
    for word in case.words:
        assert word in lines[0]
    assert len(lines[0]) < 400
    assert "Traceback" not in err and "Simulation completed" not in err
    assert set(os.listdir(directory)) == before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_table_in_process(case, tmp_path, monkeypatch, capsys):
    argv = prepare(case, tmp_path, monkeypatch)
    before = set(os.listdir(tmp_path))
    try:
        status = dropin.main(argv)
    except SystemExit as stop:
        status = stop.code
    check(case, status, capsys.readouterr().err, tmp_path, before)


def test_the_table_is_large_and_its_names_differ():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("name", ["size suffix", "settings zero", "unassigned code", "log file directory"])
def test_a_sample_as_processes(name, tmp_path, monkeypatch):
    case = next(case for case in CASES if case.name == name)
    argv = prepare(case, tmp_path, monkeypatch)
    before = set(os.listdir(tmp_path))
    command = [sys.executable, "-m", "plena_emu.cli.dropin", *argv]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    check(case, ran.returncode, ran.stderr, tmp_path, before)
    assert ran.stdout == ""


def test_the_sound_input_runs(tmp_path, monkeypatch, capsys):
    """What the cases differ from is not itself at fault."""
    argv = prepare(Case("sound"), tmp_path, monkeypatch)
    assert dropin.main(argv) == 0
    err = capsys.readouterr().err
    assert re.search(r"WARN transactional_emulator\S*: Topology mlen=16\s+vlen=16\s+.*blen=4", err)
    assert "HBM Statistics - Bytes read: 0 | Bytes written: 0 | Utilization: 0.00e0 bytes/sec\n" in err
    assert re.search(r"Simulation completed\. Latency\s+([0-9.eE+-]+)ns", err.splitlines()[-1])
    assert DUMPS & set(os.listdir(tmp_path)) == {"mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin"}


def plain(**data_type):
    return {"format": "Plain", "DATA_TYPE": data_type}


NARROW = plain(type="Fp", sign=True, exponent=4, mantissa=3)
UNSIGNED = plain(type="Fp", sign=False, exponent=8, mantissa=8)
STORE, STORE_KV = "H_STORE_V gp0, gp0, a0, 0, 0\n", "H_STORE_V gp0, gp0, a0, 0, 1\n"


@pytest.mark.parametrize("key, kind, text, refused", [
    ("HBM_V_ACT_TYPE", NARROW, STORE, True),
    ("HBM_V_ACT_TYPE", UNSIGNED, STORE, True),
    ("HBM_V_KV_TYPE", NARROW, STORE_KV, True),
    ("HBM_V_KV_TYPE", NARROW, STORE, False),
    ("HBM_V_ACT_TYPE", NARROW, STORE_KV, False),
    ("HBM_V_ACT_TYPE", NARROW, "H_PREFETCH_V gp0, gp0, a0, 0, 0\n", False),
    ("HBM_V_ACT_TYPE", plain(type="Fp", sign=True, exponent=8, mantissa=23), STORE, False),
    ("HBM_V_ACT_TYPE", plain(type="Int", width=8), STORE, False),
])
def test_a_store_that_no_rule_can_encode_is_refused_before_the_run(key, kind, text, refused, tmp_path, monkeypatch,
                                                                        capsys):
    """§2.3 encodes floats of 8 exponent bits; other plain floats can be read, but not written."""
    argv = prepare(Case("store", asm=text, settings=(f"{PRECISION}.{key}", kind)), tmp_path, monkeypatch)
    assert dropin.main(argv) == (101 if refused else 0)
    last = capsys.readouterr().err.splitlines()[-1]
    if refused:
        assert "s.toml" in last and key in last and "H_STORE_V" in last and "8 exponent bits" in last
        assert not DUMPS & set(os.listdir(tmp_path))
    else:
        assert "Simulation completed" in last


def test_an_unwritable_dump_is_named_after_the_latency(tmp_path, monkeypatch, capsys):
    argv = prepare(Case("sound"), tmp_path, monkeypatch)
    (tmp_path / "vram_dump.bin").mkdir()
    assert dropin.main(argv) == 101
    lines = capsys.readouterr().err.splitlines()
    assert "Simulation completed" in lines[-2]
    assert lines[-1].startswith("transactional_emulator: error: ") and "vram_dump.bin" in lines[-1]


def test_max_instructions_is_status_3_without_dumps(tmp_path, monkeypatch, capsys):
    argv = prepare(Case("sound", asm="C_LOOP_START gp1, 100\nC_LOOP_END gp1\n"), tmp_path, monkeypatch)
    record = tmp_path / "record.json"
    assert plena_emu(["run", *argv, "--max-instructions", "7", "--json", str(record)]) == 3
    result = json.loads(record.read_text())
    assert result["stopped_by_max_instructions"] is True and result["instructions"] == 7
    assert not DUMPS & set(os.listdir(tmp_path))


@pytest.mark.parametrize("text, found", [
    ("C_LOOP_START gp1, 4000000\nV_ADD_VV gp0, gp0, gp0\nC_LOOP_END gp1\n", True),
    ("C_LOOP_START gp1, 1000000\nV_ADD_VV gp0, gp0, gp0\nC_LOOP_END gp1\n", False),
    ("C_LOOP_START gp1, 600000\nV_TOPK gp0, gp0, gp0, 0\nC_LOOP_END gp1\n", True),
])
def test_simulated_time_is_refused_before_it_wraps(text, found, tmp_path, monkeypatch, capsys):
    """2^32 - 1 cycles an operation, times the logits for V_TOPK; no memory event looks at the time here."""
    argv = prepare(Case("time"), tmp_path, monkeypatch)
    (tmp_path / "p.mem").write_text(mem_text(assemble(text, "moe")))
    document = changed(f"{CONFIG}.MAX_LOOP_INSTRUCTIONS.value", 10**9)
    for key in ("VECTOR_ADD_CYCLES", "VECTOR_MAX_CYCLES"):
        document["TRANSACTIONAL"]["LATENCY"][key]["dc_lib_en"] = 2**32 - 1
    document["TRANSACTIONAL"]["CONFIG"]["MLEN"]["value"] = document["TRANSACTIONAL"]["CONFIG"]["VLEN"]["value"] = 256
    write_settings(tmp_path / "s.toml", document)
    monkeypatch.setenv("PLENA_ISA", "moe")
    assert dropin.main(argv) == (101 if found else 0)
    last = capsys.readouterr().err.splitlines()[-1]
    if found:
        assert "program: simulated time passes 4611686018427387904 ps" in last
    else:
        assert float(re.search(r"Latency ([0-9.]+)ns", last)[1]) > 4294967295 * 10**6


def test_plena_emu_names_its_errors_too(tmp_path, monkeypatch, capsys):
    argv = prepare(next(case for case in CASES if case.name == "row outside"), tmp_path, monkeypatch)
    assert plena_emu(["run", *argv]) == 101
    assert re.search(r"plena-emu run: error: .*pc=2.*V_ADD_VV.*1024", capsys.readouterr().err)
