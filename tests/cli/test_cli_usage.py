"""Do command lines refuse what they alone show to be wrong: status 2, one line, no heavy import (§5.1, §5.5)?"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plena_emu.cli import dropin
from plena_emu.cli.flags import request, revision
from plena_emu.cli.main import main as plena_emu
from plena_emu.cli.run import make_request
from plena_emu.errors import EmuError, UsageError
from plena_emu.inputs.choices import MEMORY_MODELS
from plena_emu.request import RunRequest

NEEDED = ["--opcode", "p.mem", "--hbm", "h.bin", "--fpsram", "f.bin"]
HEAVY = ("numpy", "numba", "yaml", "rich", "msgspec", "tomlkit", "llvmlite")


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def parsed(*more):
    args = dropin.build_parser().parse_args(NEEDED + list(more))
    return request(args, revision(args))


def test_defaults():
    made = parsed()
    assert (made.opcode, made.hbm, made.fpsram) == ("p.mem", "h.bin", "f.bin")
    assert made.intsram is made.vram is made.settings_path is made.hbm_size is made.weight_manifest is None
    assert (made.memory_model, made.isa, made.dump_dir) == ("hbm", "base", ".")
    assert made.ddr_capacity is made.host_bandwidth is made.board is made.latency_profile is None


def test_every_flag_in_both_spellings():
    pairs = [("intsram", "i.bin"), ("vram", "v.bin"), ("settings", "s.toml"), ("hbm-size", "1GiB"), ("isa", "moe"),
             ("memory-model", "kv-swap"), ("weight-manifest", "w.json"), ("ddr3-capacity", "0"),
             ("host-bandwidth", "5")]
    spaced = [part for flag, value in pairs for part in (f"--{flag}", value)]
    for argv in (spaced, [f"--{flag}={value}" for flag, value in pairs]):
        made = parsed(*argv)
        assert (made.intsram, made.vram, made.settings_path, made.hbm_size) == ("i.bin", "v.bin", "s.toml", 2**30)
        assert (made.isa, made.memory_model, made.weight_manifest) == ("moe", "kv-swap", "w.json")
        assert (made.ddr_capacity, made.host_bandwidth) == (0, 5)


@pytest.mark.parametrize("model", MEMORY_MODELS)
def test_every_memory_model_parses(model):
    assert parsed("--memory-model", model).memory_model == model


def test_the_revision_comes_from_flag_then_variable(monkeypatch):
    monkeypatch.setenv("PLENA_ISA", "moe")
    assert parsed().isa == "moe"
    assert parsed("--isa", "base").isa == "base"
    monkeypatch.setenv("PLENA_ISA", "")
    assert parsed().isa == "base"
    monkeypatch.setenv("PLENA_ISA", "v2")
    with pytest.raises(UsageError, match="PLENA_ISA: found 'v2'"):
        parsed()


BAD = [
    ([], "--opcode, --hbm, --fpsram"),
    (NEEDED[:4], "--fpsram"),
    (NEEDED + ["--nope"], "--nope"),
    (NEEDED + ["stray"], "stray"),
    (NEEDED + ["--mem", "hbm"], "--mem"),
    (NEEDED + ["--setting=s.toml"], "--setting"),
    (NEEDED + ["--memory-model", "ddr"], "'ddr'"),
    (NEEDED + ["--memory-model"], "--memory-model"),
    (NEEDED + ["--isa", "v2"], "'v2'"),
    (NEEDED + ["--hbm-size", "1Q"], "'1Q'"),
    (NEEDED + ["--hbm-size", "0"], "'0'"),
    (NEEDED + ["--hbm-size", "-1"], "'-1'"),
    (NEEDED + ["--hbm-size", "99999999T"], "'99999999T'"),
    (NEEDED + ["--hbm-size="], "''"),
    (NEEDED + ["--ddr3-capacity", "MiB"], "'MiB'"),
    (NEEDED + ["--host-bandwidth", "0"], "'0'"),
    (NEEDED + ["--host-bandwidth", "60M"], "'60M'"),
    (NEEDED + ["--log-level", "loud"], "'loud'"),
    (NEEDED + ["--opcode", "q.mem"], "more than once"),
    (NEEDED + ["--vram", ""], "empty path"),
]


@pytest.mark.parametrize("argv, words", BAD, ids=[" ".join(argv[6:]) or "missing" for argv, _ in BAD])
def test_usage_errors_are_one_line_with_status_2(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        dropin.main(argv)
    shown = capsys.readouterr()
    assert caught.value.code == 2
    assert words in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_wrong_variable_is_a_usage_error(monkeypatch, capsys):
    monkeypatch.setenv("PLENA_ISA", "v2")
    assert dropin.main(NEEDED) == 2
    assert "PLENA_ISA" in capsys.readouterr().err


def test_log_file_directory_is_status_1(capsys):
    assert dropin.main(NEEDED + ["--log-file", "none/run.log"]) == 1
    assert "none/run.log: directory none does not exist" in capsys.readouterr().err


# Runs `code` in a fresh interpreter and prints which heavy packages it imported.
PROBE = """
import sys
from plena_emu.cli import {module}
try:
    {module}.main({argv!r})
except SystemExit as stop:
    status = stop.code
print(status, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("module, argv, status", [
    ("dropin", ["--help"], 0), ("dropin", ["--version"], 0), ("dropin", ["--nope"], 2),
    ("dropin", NEEDED + ["--hbm-size", "x"], 2), ("main", ["--help"], 0), ("main", ["run", "--help"], 0),
    ("main", ["asm", "--help"], 0), ("main", ["doctor", "--help"], 0), ("main", [], 2),
])
def test_nothing_heavy_is_imported_for_help_and_usage_errors(module, argv, status):
    code = PROBE.format(module=module, argv=argv, heavy=HEAVY)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stderr.splitlines()[-1] == f"{status} []"


def run_args(argv):
    import argparse

    from plena_emu.cli import run

    parser = argparse.ArgumentParser()
    run.configure(parser)
    return parser.parse_args(argv)


def test_a_build_directory_stands_for_its_files(tmp_path):
    build = tmp_path / "build"
    build.mkdir()
    for name in ("generated_machine_code.mem", "hbm_for_behave_sim.bin", "fp_sram.bin", "vram_preload.bin",
                 "plena_settings.toml", "weight_manifest.json"):
        (build / name).touch()
    (build / "hbm_size.txt").write_text(" 27648\n")
    made = make_request(run_args([str(build)]))
    assert made.opcode == str(build / "generated_machine_code.mem") and made.vram == str(build / "vram_preload.bin")
    assert made.settings_path == str(build / "plena_settings.toml") and made.intsram is None
    assert made.settings_origin == "build directory"
    assert made.weight_manifest == str(build / "weight_manifest.json")
    assert made.hbm_size == 27648 and made.dump_dir == str(build)
    beaten = ["--vram", "v.bin", "--hbm-size", "1K", "--dump-dir", "d", "--settings", "s"]
    made = make_request(run_args([str(build), *beaten]))
    assert (made.vram, made.hbm_size, made.dump_dir, made.settings_path) == ("v.bin", 1024, "d", "s")
    assert made.settings_origin == "--settings"
    assert make_request(run_args([str(build), "--no-dumps"])).dump_dir is None
    assert make_request(run_args([str(build), "--timing-only"])).dump_dir is None


@pytest.mark.parametrize("text", ["", "1K", "-5", "0", "1.5", "99999999999999999999999", "abc"])
def test_a_wrong_hbm_size_file_is_named(tmp_path, text):
    for name in ("generated_machine_code.mem", "hbm_for_behave_sim.bin", "fp_sram.bin"):
        (tmp_path / name).touch()
    (tmp_path / "hbm_size.txt").write_text(text)
    with pytest.raises(EmuError, match="hbm_size.txt: found .* expected an HBM size"):
        make_request(run_args([str(tmp_path)]))


def test_timing_alone_needs_no_preloads(tmp_path, capsys):
    (tmp_path / "generated_machine_code.mem").touch()
    made = make_request(run_args([str(tmp_path), "--timing-only"]))
    assert made.timing_only and made.hbm is made.fpsram is None
    assert make_request(run_args(["--opcode", "p.mem", "--timing-only"])).opcode == "p.mem"
    assert plena_emu(["run", "--timing-only"]) == 2
    assert "expected BUILD_DIR or --opcode\n" in capsys.readouterr().err
    assert plena_emu(["run", str(tmp_path)]) == 101
    assert "hbm_for_behave_sim.bin not found" in capsys.readouterr().err
    with pytest.raises(UsageError, match="needs hbm and fpsram"):
        RunRequest(opcode="p.mem", hbm="h.bin")


def test_a_program_in_place_of_a_build_directory(tmp_path, capsys, monkeypatch):
    build = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
    monkeypatch.chdir(tmp_path)
    program, text = build / "generated_machine_code.mem", build / "generated_asm_code.asm"
    settings = ["--hbm-size", "16384"]
    assert plena_emu(["run", str(program), *settings, "--timing-only", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["instructions"] == 1685
    preloads = ["--hbm", str(build / "hbm_for_behave_sim.bin"), "--fpsram", str(build / "fp_sram.bin")]
    assert plena_emu(["run", str(program), *settings, *preloads, "--quiet", "--dump-dir", "new/place"]) == 0
    assert len(list((tmp_path / "new" / "place").glob("*_dump.bin"))) == 3
    capsys.readouterr()
    for argv, message in (
        ([program], f"program {program}: a run with data needs --hbm and --fpsram too, or --timing-only"),
        ([text], f"{text}: found assembly, expected BUILD_DIR or machine code: plena-emu asm {text} -o"
                 f" {str(text)[:-4]}.mem makes it"),
        ([program, "--opcode", "p.mem"], f"{program}: found a file beside --opcode, expected BUILD_DIR or one program"),
    ):
        assert plena_emu(["run", *map(str, argv)]) == 2
        assert capsys.readouterr().err == f"plena-emu run: error: {message}\n"


def test_settings_beside_a_program_count_as_those_of_a_build_directory(tmp_path, capsys, monkeypatch):
    """In `run` and `profile` alike, before the environment's, after --settings; and the output says so."""
    build = tmp_path / "build"
    shutil.copytree(Path(__file__).resolve().parents[2] / "examples" / "linear" / "build", build)
    program = build / "generated_machine_code.mem"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLENA_SETTINGS_TOML", "none.toml")
    flags = [program, "--timing-only", "--hbm-size", "16384"]
    for argv in (["run", *flags, "--json", "-"], ["profile", program, "--json"]):
        assert plena_emu(list(map(str, argv))) == 0
        record = json.loads(capsys.readouterr().out)
        assert str(build / "plena_settings.toml") in json.dumps(record)
    assert plena_emu(["run", *map(str, flags)]) == 0
    assert f"{build}/plena_settings.toml (beside the program)" in capsys.readouterr().out
    assert plena_emu(["run", *map(str, flags), "--settings", "gone.toml"]) == 101
    assert "gone.toml (--settings): cannot read" in capsys.readouterr().err
    (build / "plena_settings.toml").unlink()
    assert plena_emu(["run", *map(str, flags)]) == 101
    assert "none.toml ($PLENA_SETTINGS_TOML): cannot read" in capsys.readouterr().err


def test_run_refusals(tmp_path, capsys):
    assert plena_emu(["run"]) == 2
    assert "expected BUILD_DIR or --opcode, --hbm, --fpsram" in capsys.readouterr().err
    assert plena_emu(["run", str(tmp_path / "none")]) == 101
    assert "none: not found" in capsys.readouterr().err
    assert plena_emu(["run", str(tmp_path)]) == 101
    assert "generated_machine_code.mem not found" in capsys.readouterr().err
    for argv in (["--max-instructions", "0"], ["--max-instructions", "x"], ["--no-dumps", "--dump-dir", "d"]):
        with pytest.raises(SystemExit) as caught:
            plena_emu(["run", str(tmp_path), *argv])
        assert caught.value.code == 2


def test_a_run_that_needs_too_much_memory_is_one_line(monkeypatch, capsys):
    from plena_emu.cli import asm

    def exhausted(args):
        raise MemoryError

    monkeypatch.setattr(asm, "run", exhausted)
    assert plena_emu(["asm", "p.asm"]) == 101
    assert capsys.readouterr().err == "plena-emu asm: error: this machine has not enough memory for it\n"
