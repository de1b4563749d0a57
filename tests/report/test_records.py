"""Does every JSON record of the product's own form say its format and the command line that made it?"""

import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

import plena_emu
from plena_emu.cli.main import main
from plena_emu.result import FORMATS, record_json

ROOT = Path(__file__).resolve().parents[2]
BUILD = str(ROOT / "examples" / "linear" / "build")
A7 = str(ROOT / "tests" / "golden" / "manifests" / "base_clm60m_dec_L1_m256b64_a7")
COMMANDS = [
    ("run", ["run", BUILD, "--timing-only", "--memory-model", "resident", "--json", "-"]),
    ("plan", ["plan", A7, "--json"]),
    ("profile", ["profile", BUILD, "--json"]),
    ("dram", ["dram", "t.csv", "--json", "-"]),
    ("manifest", ["manifest", A7, "--board", "custom_a7", "-o", "m.json", "--json"]),
    ("bench", ["bench", "examples/linear", "--golden", "golden", "--modes", "timing-only", "--runs", "2", "--models",
               "resident", "--json", "-"]),
    ("boards", ["boards", "--json"]),
    ("compile", ["compile", "tiny", "--layers", "1", "--prefill", "3", "-o", "build", "--json"]),
    ("check", ["check", "build", "--json"]),
    ("estimate", ["estimate", "tiny", "--layers", "1", "--prefill", "3", "--decode", "1", "--board", "v80", "--json"]),
    ("board", ["boards", "v80", "--json"]),
    ("sweep", ["sweep", "--model", "tiny", "--layers", "1", "--prefill", "3", "--board", "v80", "--workers", "0",
               "--json", "-"]),
    ("search", ["search", "--model", "tiny", "--layers", "1", "--prefill", "3..5", "--board", "v80", "--workers", "0",
                "--minimize", "time_ms", "--trials", "2", "--json", "-"]),
    ("diff", ["diff", "r.json", "r.json", "--json"]),
]


def test_every_format_is_asked_for():
    assert sorted(kind for kind, _ in COMMANDS) == sorted(FORMATS)


@pytest.mark.parametrize("kind, command", COMMANDS, ids=[kind for kind, _ in COMMANDS])
def test_format_and_command_come_first(kind, command, tmp_path, monkeypatch, capsys):
    if kind == "search":
        pytest.importorskip("optuna", reason="the extra `search`")
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("0,read,0\n64,write,128\n")
    if kind == "diff":
        Path("r.json").write_text(plena_emu.run(BUILD, timing_only=True, memory_model="resident").to_json())
    programs = tmp_path / "golden" / "programs"
    programs.mkdir(parents=True)
    vendored = next((ROOT / "tests" / "golden" / "programs").glob("*.tar.xz"))
    shutil.copy(vendored, programs)
    if kind == "check":
        main(["compile", "tiny", "--layers", "1", "--prefill", "3", "-o", "build"])
        main(["run", "build", "--quiet"])
        capsys.readouterr()
    assert main(command) == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record)[:2] == ["format", "command"]
    assert record["format"] == f"plena-emu {kind} {FORMATS[kind]}"
    assert record["command"] == ["plena-emu", *command]
    assert len(record) > 3 or kind == "boards"


def test_a_run_from_python_has_no_command():
    result = plena_emu.run(BUILD, timing_only=True, memory_model="resident")
    assert result.command == [] and json.loads(result.to_json())["format"] == "plena-emu run 2"


def test_names_that_are_no_text():
    name = os.fsdecode(b"caf\xe9")
    text = record_json("plan", {"manifest": name}, ["plena-emu", "plan", name])
    assert json.loads(text)["manifest"] == name and text.isascii()
    with pytest.raises(UnicodeEncodeError):
        msgspec.json.encode(name)
