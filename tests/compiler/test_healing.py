"""Does a damaged compile cache cost a line and some seconds, and nothing else?"""

import re
import shutil
import subprocess
import sys

import pytest
from tiny_package import ROOT, call

from plena_emu.kernels.compiler import object_file
from plena_emu.kernels.compiler.object_file import ModuleCode, ObjectCode, decode, encode
from plena_emu.kernels.compiler.sealed import DamagedFile
from plena_emu.precompile import MODULES

EXAMPLE = ROOT / "examples" / "linear" / "build"
GOOD = (["42", "False"], "")


DAMAGES = {
    "empty": lambda data: b"",
    "one byte less": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "a format and no more": lambda data: data[:24],
    "noise": lambda data: bytes(byte ^ 0x55 for byte in data),
    "zeros": lambda data: bytes(len(data)),
    "a flipped bit": lambda data: data[:-99] + bytes([data[-99] ^ 4]) + data[-98:],
    "more": lambda data: data + b"\0",
    "another version's": lambda data: encode("tiny-0123456789", ModuleCode({}, [])),
    "removed": None,
}


@pytest.mark.parametrize("name", ["objects", "lock"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_compiled_again_with_one_line(package, cache, name, damage):
    call(package)
    (path,) = cache.glob(f"tiny-*/{name}")
    if DAMAGES[damage] is None:
        path.unlink()
    elif name == "lock":
        path.write_bytes(DAMAGES[damage](bytes(range(256))))
    else:
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
    if name == "objects":
        out, err = call(package)
        assert out == ["42", "False"] and len(err.splitlines()) == 1
        what = "compiling the kernels" if damage == "removed" else r"kept kernels cannot be used \(tiny (is|belongs)"
        assert re.match(f"plena-emu: {what}", err)
    assert call(package) == GOOD


@pytest.mark.parametrize("name", ["objects", "lock"])
def test_a_directory_where_a_file_should_be(package, cache, name):
    """Removed, or done without in the case of the lock."""
    call(package)
    (path,) = cache.glob(f"tiny-*/{name}")
    path.unlink()
    path.mkdir()
    out, err = call(package)
    assert out == ["42", "False"] and len(err.splitlines()) == (name == "objects")
    assert call(package) == GOOD


def test_a_file_where_the_directory_should_be(package, cache):
    call(package)
    (directory,) = cache.glob("tiny-*")
    shutil.rmtree(directory)
    directory.write_bytes(b"")
    out, err = call(package)
    assert out == ["42", "False"] and re.match("plena-emu: the compile cache .* cannot be written", err)


def test_a_directory_without_its_file_is_no_complete_one(package, cache):
    """As a copied cache of which a part is missing."""
    call(package)
    (path,) = cache.glob("tiny-*/objects")
    path.unlink()
    (path.parent / "complete").touch()
    (path.parent / "objects.json").write_text("{}")
    assert call(package)[0] == ["42", "False"]
    assert call(package) == GOOD


def module():
    return ModuleCode({"a": ObjectCode("symbol_a", "(int)", b"code of a"), "b": ObjectCode("b", "()", b"")}, ["x", "y"])


def test_a_file_tells_what_it_was_given():
    assert decode("me", encode("me", module())) == module()


def test_every_byte_of_a_file_counts():
    data = encode("me", module())
    for end in range(len(data)):
        with pytest.raises(DamagedFile):
            decode("me", data[:end])
    for place in range(len(data)):
        with pytest.raises(DamagedFile):
            decode("me", data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
    with pytest.raises(DamagedFile, match="belongs to me"):
        decode("you", data)


def test_a_file_that_cannot_be_read(tmp_path):
    assert object_file.read(tmp_path, "me") is None
    (tmp_path / object_file.NAME).mkdir()
    with pytest.raises(DamagedFile, match="cannot be read: Is a directory"):
        object_file.read(tmp_path, "me")


# --- every command that uses compiled kernels ----------------------------------------------------------------------


API = "import plena_emu; plena_emu.run(sys.argv[1], memory_model='resident', timing_only=True)"
SIMPLE = "from plena_emu.ddr import DdrTiming; print(DdrTiming().read([0]))"
MAIN = "from plena_emu.cli.entry import plena_emu as main; sys.exit(main())"
DROPIN = "from plena_emu.cli.entry import transactional_emulator as main; sys.exit(main())"
FILES = [word for flag, name in (("opcode", "generated_machine_code.mem"), ("hbm", "hbm_for_behave_sim.bin"),
                                 ("fpsram", "fp_sram.bin"), ("settings", "plena_settings.toml"))
         for word in (f"--{flag}", str(EXAMPLE / name))]
RESIDENT = ["--memory-model", "resident", "--weight-manifest", str(EXAMPLE / "weight_manifest.json")]
# What starts a process, and the module of its kernels that compiles fastest.
COMMANDS = {
    "run": (MAIN, ["run", str(EXAMPLE), "--no-dumps", "--memory-model", "resident"], "data.tables"),
    "drop-in": (DROPIN, [*FILES, *RESIDENT], "data.tables"),
    "profile": (MAIN, ["profile", str(EXAMPLE)], "data.tables"),
    "api": (API, [str(EXAMPLE)], "data.tables"),
    "DdrTiming": (SIMPLE, [], "simple.batch"),
}


def command(name, tmp_path):
    """Run a command; (its standard output, its standard error, whether it imported numba)."""
    code, words, _ = COMMANDS[name]
    code = ("import atexit, sys\nnote = lambda: open('numba', 'w').write(str('numba' in sys.modules))\n"
            f"atexit.register(note)\n{code}")
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=tmp_path,
                         timeout=300)
    assert run.returncode == 0, run.stderr
    return figures(run.stdout), figures(run.stderr), (tmp_path / "numba").read_text()


def figures(text):
    """Without what differs between two runs: wall time and instants."""
    lines = [line for line in text.splitlines() if "wall" not in line and "speed" not in line]
    return [re.sub(r"\d{4}-\d\d-\d\dT\S+", "", line) for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_runs_on_object_code_and_heals_it(copied, tmp_path, name):
    good = command(name, tmp_path)
    assert good[2] == "False"
    (path,) = copied.glob(f"{COMMANDS[name][2].replace('.', '-')}-*/objects")
    data = path.read_bytes()
    for damaged in (data[:-1], b""):
        path.write_bytes(damaged)
        out, err, numba = command(name, tmp_path)
        assert (out, numba) == (good[0], "False")
        (line,) = set(err) - set(good[1])
        assert line.startswith("plena-emu: kept kernels cannot be used")
    assert command(name, tmp_path) == good


def test_replays_on_a_copied_cache(copied, tmp_path):
    """The command whose kernels compile longest, damaged in one way."""
    (tmp_path / "t.csv").write_text("0,read,0\n10,write,64\n")
    (path,) = copied.glob("dram-replay-*/objects")
    path.write_bytes(path.read_bytes()[:-1])
    words = [sys.executable, "-m", "plena_emu.cli.main", "dram", str(tmp_path / "t.csv")]
    runs = [subprocess.run(words, capture_output=True, text=True, timeout=300) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout != "" and runs[1].stderr == ""
    assert runs[0].stderr.startswith("plena-emu: kept kernels cannot be used (dram.replay is damaged or cut short)")


def test_a_process_gets_by_and_by_what_it_needs(copied, tmp_path):
    """A run, then a replay and the library's timing, whose kernels were never compiled here."""
    for name in ("dram-replay", "simple-batch"):
        (directory,) = copied.glob(f"{name}-*")
        shutil.rmtree(directory)
    code = (f"import sys\nimport plena_emu\n"
            f"plena_emu.run({str(EXAMPLE)!r}, memory_model='resident', timing_only=True)\n"
            "from plena_emu.dram_trace import replay\n"
            "found = replay('hbm2', time_ps=[0], address=[0], is_write=[0])\n"
            "from plena_emu.ddr import DdrTiming\n"
            "print(found.done_ps.tolist(), DdrTiming().read([0, 64]), 'numba' in sys.modules)")
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert run.stdout.split()[-1] == "False" and len(run.stdout.split()) == 3
    assert run.stderr == ""


# --- doctor ----------------------------------------------------------------------------------------------------------


def doctor(*words):
    run = subprocess.run([sys.executable, "-m", "plena_emu.cli.main", "doctor", *words], capture_output=True,
                         text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_doctor_shows_versions_and_the_cache(cache):
    shown = doctor("--no-warm")
    for words in ("plena-emu ", "python ", "numba ", "llvmlite ", "numpy ", str(cache), *MODULES):
        assert words in shown
    assert shown.count("not compiled") == len(MODULES)
    assert not cache.exists()


def test_doctor_says_what_it_found_and_heals_it(copied):
    paths = {key: next(copied.glob(f"{key.replace('.', '-')}-*/objects")) for key in ("data.tables", "simple.batch")}
    paths["data.tables"].write_bytes(b"")
    paths["simple.batch"].write_bytes(b"x" * 1000)
    first, second = doctor().split("warmed")
    for key, what in (("data.tables", "is empty"), ("simple.batch", "is not a file of object code")):
        assert re.search(f"{key} +{what}: {re.escape(str(paths[key].parent))}", first)
    assert first.count("ready") == len(MODULES) - 2 and second.count("ready") == len(MODULES)
    assert "other versions" not in first + second


def test_doctor_removes_other_versions_and_nothing_else(copied):
    (copied / "data-tables-0123456789abcdef0123").mkdir()
    (copied / "ddr-00000000000000000000" / "numba").mkdir(parents=True)
    for name in ("notes", "data-tables-0123", "Data-0123456789abcdef0123"):
        (copied / name).mkdir()
    (copied / "data-tables-0123456789abcdef0124").touch()
    before = {path.name for path in copied.iterdir()} | {"fingerprints"}
    assert "2 directories of other versions, 0.0 MiB: --prune removes them" in doctor("--no-warm")
    assert {path.name for path in copied.iterdir()} == before
    assert "2 directories of other versions, 0.0 MiB: removed" in doctor("--no-warm", "--prune")
    assert {path.name for path in copied.iterdir()} == before - {"data-tables-0123456789abcdef0123",
                                                                 "ddr-00000000000000000000"}
    assert doctor("--no-warm", "--prune").count("ready") == len(MODULES)


def test_doctor_in_other_modes(monkeypatch):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert "run in plain Python" in doctor()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    monkeypatch.setenv("PLENA_PLAIN_NUMBA", "1")
    assert "compiled by numba alone" in doctor("--no-warm")
