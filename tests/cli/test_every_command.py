"""What every command of both executables has in common: flags that count once, one line, status by one rule (§5.5)."""

import argparse
import contextlib
import fcntl
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.api import run
from plena_emu.cli import dropin, flags
from plena_emu.cli.main import COMMANDS
from plena_emu.cli.main import main as plena_emu
from plena_emu.errors import EmuError
from plena_emu.logs import Log

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
LONG = "x" * 100_000


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Files of a build in the working directory."""
    for name in os.listdir(EXAMPLE):
        if not name.endswith("_dump.bin"):
            shutil.copy(EXAMPLE / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsers():
    yield "transactional_emulator", dropin.build_parser()
    for command in COMMANDS:
        parser = argparse.ArgumentParser()
        importlib.import_module(f"plena_emu.cli.{command.replace('-', '_')}").configure(parser)
        yield command, parser


# Given several times, each counts.
ALL_COUNT = {("manifest", "--kind"), ("sweep", "--axis"), ("sweep", "--where"), ("sweep", "--zip"),
             ("search", "--axis"), ("search", "--where"), ("search", "--zip"), ("search", "--constraint")}


def test_no_flag_with_a_value_counts_twice():
    """Which of two values counts must not be a guess."""
    for command, parser in parsers():
        for action in parser._actions:
            if {(command, flag) for flag in action.option_strings} & ALL_COUNT:
                continue
            if action.option_strings and action.nargs != 0 and action.help != argparse.SUPPRESS:
                assert isinstance(action, flags.Once), f"{command} {action.option_strings}"


@pytest.mark.parametrize("words", [
    "asm a -o b -o c", "disasm a -o b -o c", "board-settings a --board v80 --board v80", "boards --latency-profile a"
    " --latency-profile b", "bench --compare a b --compare c d", "board-settings a --board v80 --mlen 16 --mlen 16",
])
def test_a_flag_twice_is_one_line_with_status_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        plena_emu(words.split())
    err = capsys.readouterr().err
    assert caught.value.code == 2 and "given more than once" in err and err.count("\n") == 1


# An output that is an input, by command: what it reads is left as it is. {} is the output.
DESTRUCTIVE = {
    "asm generated_asm_code.asm -o {}": "generated_asm_code.asm",
    "disasm generated_machine_code.mem -o {}": "generated_machine_code.mem",
    "manifest . --board v80 -o {}": "hbm_addrs.json",
    "manifest . --board ./v80.yaml -o {}": "v80.yaml",
    "board-settings plena_settings.toml --board v80 -o {}": "plena_settings.toml",
    "run . --json {}": "hbm_for_behave_sim.bin",
    "run . --log-file {}": "fp_sram.bin",
    "run . --log-file {} --no-dumps": "generated_machine_code.mem",
    "run . --board ./v80.yaml --json {}": "v80.yaml",
    "run . --dram ./d.yaml --json {}": "d.yaml",
    "run . --memory-model resident --json {}": "weight_manifest.json",
    "run --opcode generated_machine_code.mem --timing-only --json {}": "generated_machine_code.mem",
    "run . --timing-only --quiet --json {}": "stages.json",
    "run . --timing-only --pc-log {}": "stages.json",
    "run . --timing-only --timeline {}": "generated_asm_code.asm",
    "run . --timing-only --json {}": "hbm_addrs.json",
    "run --opcode generated_machine_code.mem --timing-only --timeline {}": "stages.json",
    "report r.json -o {}": "r.json",
    "report s.json r.json -o {}": "r.json",
    "report r.json -o ./{}": "generated_machine_code.mem",
    "plot r.svg --kind stages -o {}": "r.svg",
    "plot r.svg --kind capacity -o {}": "r.svg",
    "results . -o {}": "hbm_addrs.json",
    "sweep . --board v80 --csv {}": "generated_machine_code.mem",
    "sweep . --board ./v80.yaml --json {}": "v80.yaml",
    "sweep study.yaml --jsonl {}": "study.yaml",
    "search . --board v80 --ddr-capacity 1M,2M --minimize time_ms --trials 1 --csv {}": "plena_settings.toml",
    "bench generated_machine_code.mem --json {}": "generated_machine_code.mem",
    "dram t.csv -o {}": "t.csv",
    "dram t.csv --json {}": "t.csv",
}


@pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["itself", "symbolic", "hard"])
@pytest.mark.parametrize("words", DESTRUCTIVE)
def test_no_output_destroys_an_input(build, capsys, words, link):
    (build / "t.csv").write_text("0,read,0\n")
    boards = pathlib.Path(importlib.import_module("plena_emu.boards").__file__).parent
    shutil.copy(boards / "v80.yaml", "v80.yaml")
    shutil.copy(boards / "dram" / "ddr4.yaml", "d.yaml")
    if "report" in words or "plot" in words:
        pytest.importorskip("matplotlib")
        record = run(str(build), timing_only=True).to_json()
        for name in ("r.json", "s.json", "r.svg"):
            (build / name).write_text(record)
    (build / "study.yaml").write_text("axes: {build: ., board: v80}\n")
    name = DESTRUCTIVE[words]
    if not (build / name).exists():
        (build / name).write_text("{}")
    other = "other" + pathlib.Path(name).suffix
    if link:
        link(name, other)
    before = {path: path.read_bytes() for path in build.iterdir()}
    assert plena_emu(words.format(other if link else name).split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "expected a file that is not read" in err
    assert {path: path.read_bytes() for path in build.iterdir()} == before


SETTINGS = ["--settings", "plena_settings.toml"]
DROPIN = ["--opcode", "generated_machine_code.mem", "--hbm", "hbm_for_behave_sim.bin", "--fpsram", "fp_sram.bin"]


@pytest.mark.parametrize("name", ["generated_machine_code.mem", "hbm_for_behave_sim.bin", "fp_sram.bin"])
def test_the_log_file_of_the_drop_in_destroys_nothing(build, capsys, name):
    before = (build / name).read_bytes()
    assert dropin.main([*DROPIN, "--log-file", f"./{name}"]) == 2
    assert "--log-file" in capsys.readouterr().err and (build / name).read_bytes() == before


def test_settings_that_were_searched_for_are_inputs_too(build, monkeypatch, capsys):
    monkeypatch.setenv("PLENA_SETTINGS_TOML", "plena_settings.toml")
    assert dropin.main([*DROPIN, "--log-file", "plena_settings.toml"]) == 2
    monkeypatch.delenv("PLENA_SETTINGS_TOML")
    (build / "below").mkdir()
    monkeypatch.chdir(build / "below")
    words = [word if word.startswith("--") else f"../{word}" for word in DROPIN]
    assert dropin.main([*words, "--log-file", "../plena_settings.toml"]) == 2
    assert capsys.readouterr().err.count("found the file that") == 2


@pytest.mark.parametrize("flag, name", [("--vram", "vram_dump.bin"), ("--fpsram", "fpsram_dump.bin")])
def test_a_dump_replaces_no_preload(build, capsys, flag, name):
    shutil.copy("fp_sram.bin", name)
    words = [*DROPIN, flag, name] if flag == "--vram" else [*DROPIN[:4], flag, name]
    before = (build / name).read_bytes()
    assert dropin.main(words) == 2
    assert f"dump ./{name}: found the file that {flag} names" in capsys.readouterr().err
    assert (build / name).read_bytes() == before


@pytest.mark.parametrize("words", [
    "asm generated_asm_code.asm", "disasm generated_machine_code.mem", "board-settings plena_settings.toml --board v80",
])
def test_a_dash_is_standard_output(build, capsys, words):
    """The same bytes as without the flag, and no file called `-`; one of that name is `./-`."""
    assert plena_emu(words.split()) == 0
    plain = capsys.readouterr()
    assert plena_emu([*words.split(), "-o", "-"]) == 0
    assert capsys.readouterr() == plain and plain.out and not os.path.lexists("-")
    assert plena_emu([*words.split(), "-o", "./-"]) == 0
    assert (build / "-").read_text() == plain.out


def test_a_manifest_on_standard_output(build, capsys):
    os.remove("weight_manifest.json")
    assert plena_emu(["manifest", ".", "--board", "v80", "-o", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["regions"] and not os.path.lexists("-") and not os.path.lexists("weight_manifest.json")
    assert plena_emu(["manifest", ".", "--board", "v80", "-o", "-", "--json"]) == 2


@pytest.mark.parametrize("flag", ["--memory-trace", "--timeline", "--pc-log"])
def test_files_that_cannot_share_standard_output(build, capsys, flag):
    with pytest.raises(SystemExit) as caught:
        plena_emu(["run", ".", flag, "-"])
    assert caught.value.code == 2 and "expected a file (./- for one of that name)" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["run . --log-file a --json a", "run . --json vram_dump.bin",
                                   "run . --log-file ./mram_dump.bin", "dram t --json a -o a"])
def test_two_outputs_in_one_file_are_refused(build, capsys, words):
    assert plena_emu(words.split()) == 2
    assert "expected a file for each" in capsys.readouterr().err


def test_a_compiled_model_does_not_replace_the_build_it_reads(build, capsys):
    os.symlink(".", "same")
    before = sorted(os.listdir())
    assert plena_emu(["compile", "tiny", "--cache-from", ".", "-o", "same"]) == 2
    assert "found the build that --cache-from names" in capsys.readouterr().err and sorted(os.listdir()) == before


# Usage is what the command line alone shows; whatever a file decides is 101. `--` changes nothing of that.
STATUS = [
    ("run -- --", 101), ("run -- -x", 101), ("run -- a b", 2), ("asm -- --", 101), ("plan -- -x", 101), ("asm --", 2),
    ("dram -- -x", 101), ("board-settings -- -x", 2), ("board-settings --board v80 -- -x", 101), ("profile -- -x", 101),
    ("board-settings plena_settings.toml --board v80 --mlen 0", 2), ("board-settings s --board v80 --mlen -4", 2),
    ("board-settings s --board v80 --mlen 1_0", 2), ("board-settings s --board v80 --mlen ٣", 2),
    ("board-settings plena_settings.toml --board v80 --mlen 65536", 2), ("profile . --clock-mhz 5e-324", 2),
    ("profile . --clock-mhz 1_0", 2), ("bench ", 2), ("boards nope", 2), ("boards ./nope.yaml", 101),
]


@pytest.mark.parametrize("words, status", STATUS)
def test_status_by_one_rule(build, capsys, words, status):
    words = words.split(" ")
    try:
        found = plena_emu(words)
    except SystemExit as stop:
        found = stop.code
    err = capsys.readouterr().err
    assert found == status and err.count("\n") == 1, err


@pytest.mark.parametrize("words", [
    ["run", ".", "--memory-model", LONG], ["run", LONG], ["boards", LONG], ["profile", ".", "--clock-mhz", LONG],
    ["board-settings", "s", "--board", "v80", "--mlen", LONG], ["bench", LONG], ["run", ".", f"--{LONG}"], [LONG],
    ["plan", ".", "--board", LONG], ["run", ".", "--hbm-size", LONG], ["dram", LONG], ["dram", "--dram", LONG, "t"],
])
def test_messages_are_short_whatever_the_words(build, capsys, words):
    try:
        assert plena_emu(words) in (2, 101)
    except SystemExit as stop:
        assert stop.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and len(err) < 800


@pytest.mark.parametrize("text", [LONG, f"S_ADDI_INT gp1, gp0, {LONG}", f".word {'9' * 5000}", "S_ADDI_INT " + LONG])
def test_messages_are_short_whatever_the_text(build, capsys, text):
    (build / "p.asm").write_text(text)
    for command in ("asm", "profile --static"):
        plena_emu([*command.split(), "p.asm"])
        assert len(capsys.readouterr().err) < 800


@settings(max_examples=200)
@given(st.text(max_size=5000), st.sampled_from(["", "\n", "\x1b[2J", "\ud800", "\u2028", "\r"]), st.integers(1, 20))
def test_a_message_is_one_line_with_both_ends(text, odd, times):
    message = f"begin {text}{odd}{text * times} end"
    shown = str(EmuError(message))
    assert shown.isprintable() and len(shown) <= 2000
    assert shown.startswith("begin ") and shown.endswith(" end")
    assert max(map(len, shown.split())) <= 200 or not message.isprintable()


@pytest.mark.parametrize("key", ["x\nSimulation completed. Latency 0.000ns", "\x1b[2J", "\u2028", "\ud800", LONG])
def test_a_record_is_one_line_whatever_is_in_it(capsys, tmp_path, key):
    log = Log("info", file=str(tmp_path / "log"))
    log.warn(f"{key}: unknown key, ignored", where=key[:100])
    log.fatal("transactional_emulator", key)
    log.close()
    err = capsys.readouterr().err
    for text in (err, (tmp_path / "log").read_text()):
        assert len(text.splitlines()) == 2 and "\x1b[2J" not in text and len(text) < 1000


@pytest.mark.parametrize("variable, warned", [("inof", True), ("-1", True), ("off", False), ("info", False),
                                              ("hyper=debug", False), ("transactional_emulator", False),
                                              ("warm,hyper=info", True)])
def test_a_level_with_a_typing_mistake_is_told(capsys, variable, warned):
    """No record at all would be there to wonder about."""
    Log(None, variable)
    assert ("names no level and nothing of this program" in capsys.readouterr().err) == warned


@pytest.mark.parametrize("command", ["plan {}", "profile {}", "manifest {} --board v80", "run {} --no-dumps"])
@pytest.mark.parametrize("form", ["", " --json"])
def test_names_that_are_no_text(tmp_path, command, form):
    """A directory whose name no encoding reads: tables show it escaped, JSON holds it so that the name comes back."""
    place = os.path.join(os.fsencode(tmp_path), b"caf\xe9")
    shutil.copytree(os.fsencode(EXAMPLE), place)
    form = form.replace("--json", "--json -") if command.startswith("run") else form
    code = "import sys; from plena_emu.cli import entry; sys.exit(entry.plena_emu())"
    words = [os.fsencode(word) if word != "{}" else place for word in (command + form).split()]
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, timeout=120,
                         env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert ran.returncode == 0 and b"Traceback" not in ran.stderr, ran.stderr
    if form:
        named = [word for word in json.loads(ran.stdout)["command"] if "caf" in word]
        assert list(map(os.fsencode, named)) == [place]


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["--nope"], ["--opcode"]])
def test_arguments_of_a_golden_that_ask_for_no_run(args, capsys):
    """A golden program of `bench` may hold them; nothing was measured, with status 0."""
    from plena_emu.cli.bench import _request_of

    with pytest.raises(EmuError, match="arguments of the program .*: expected those of a run: "):
        _request_of(args, "base")
    assert capsys.readouterr() == ("", "")


def run_process(code):
    return subprocess.run([sys.executable, "-c", code, *DROPIN, *SETTINGS], capture_output=True,
                          text=True, timeout=120)


START = "import sys; from plena_emu.cli import entry; sys.exit(entry.transactional_emulator())"


def test_where_no_thread_can_be_started(build):
    """One thread, one line, the same figures; OpenBLAS is told to start none."""
    good = run_process(START)
    code = ("import _thread, threading\ndef fail(*_, **__): raise RuntimeError(\"can't start new thread\")\n"
            "_thread.start_new_thread = threading._start_new_thread = threading._start_joinable_thread = fail\n"
            "import os\nos.sched_getaffinity = lambda _: {0, 1}\n")
    bad = run_process(code + START)
    assert good.returncode == bad.returncode == 0
    assert bad.stderr.count("the system allows this process fewer threads") == 1 and "Traceback" not in bad.stderr
    assert bad.stderr.splitlines()[-1].split()[-4:] == good.stderr.splitlines()[-1].split()[-4:]


def test_no_library_starts_threads_of_its_own(build):
    ran = run_process("import atexit, os\nos.sched_getaffinity = lambda _: {0}\n"
                      "atexit.register(lambda: print(len(os.listdir('/proc/self/task'))))\n" + START)
    assert (ran.returncode, ran.stdout) == (0, "1\n")


@pytest.mark.parametrize("mebibytes", [40, 60, 100, 140, 200, 300, 500])
def test_limits_of_the_address_space(build, mebibytes):
    code = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({mebibytes << 20}, {mebibytes << 20}))\n"
    ran = run_process(code + START)
    assert ran.returncode == 101 and len(ran.stderr.splitlines()[-1]) < 200, ran.stderr
    assert "Traceback" not in ran.stderr and "Errno" not in ran.stderr and "None" not in ran.stderr
    assert ran.stderr.count("error: ") == 1


def test_records_wait_for_a_slow_reader(build):
    """A standard error that does not block lost every record after the first that did not fit, the latency too."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([sys.executable, "-c", START, *DROPIN, *SETTINGS, "--log-level", "debug"],
                               stderr=writing)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)  # the pipe is full, and the run waits
        os.set_blocking(reading, False)
        read = b""
        for _ in range(3000):
            with contextlib.suppress(BlockingIOError):
                read += os.read(reading, 1000)
            if process.poll() is not None:
                break
            time.sleep(0.01)
        with contextlib.suppress(BlockingIOError):
            read += os.read(reading, 1 << 16)
        assert process.wait(60) == 0 and not os.get_blocking(writing)  # as the stream was found
    finally:
        process.kill()
        process.wait()
        os.close(reading)
        os.close(writing)
    assert read.count(b"execute op") > 50 and b"Simulation completed. Latency 20504.000ns" in read.splitlines()[-1]
