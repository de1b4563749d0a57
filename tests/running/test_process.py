"""Does a process end well whatever surrounds it: streams closed, full or unread, pipes, odd names, Ctrl-C, company?"""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from support import write_settings

from plena_emu.precompile import warm
from plena_emu.program.assembler import assemble, mem_text

EMULATOR = f"{sys.executable} -m plena_emu.cli.dropin"
PLENA_EMU = f"{sys.executable} -m plena_emu.cli.main"
FILES = "--opcode p.mem --hbm hbm.bin --fpsram fp.bin --settings s.toml --memory-model hbm"
DROPIN = f"{EMULATOR} {FILES}"
RUN = f"{PLENA_EMU} run {FILES}"
TOO_SMALL = "--hbm-size 64"  # an error at the run
DUMPS = {"mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin", "hbm_dump.bin"}


@pytest.fixture(scope="module", autouse=True)
def warmed():
    warm()


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    """A program that copies a row of the HBM to another place there."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.chdir(tmp_path)
    make_build(tmp_path)
    return tmp_path


def make_build(directory):
    copy = "H_PREFETCH_V gp0, gp0, a0, 1, 0\nS_ADDI_INT gp1, gp0, 1024\nH_STORE_V gp0, gp1, a0, 1, 0\n"
    (directory / "p.mem").write_text(mem_text(assemble(copy)))
    (directory / "hbm.bin").write_bytes(bytes(range(128)) + bytes([127]) * 128)
    (directory / "fp.bin").write_bytes(bytes(20))
    write_settings(directory / "s.toml")


def shell(command, **environ):
    """Status, standard output and standard error of a shell command."""
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, errors="backslashreplace",
                         timeout=300, env={**os.environ, **environ}, stdin=subprocess.DEVNULL)
    assert "Traceback" not in ran.stdout + ran.stderr and "Exception ignored" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


def dumps():
    return DUMPS & set(os.listdir())


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed):
    """No dump may become standard error, and an error keeps its status."""
    assert shell(f"{DROPIN} {closed}") == (0, "", "")
    assert dumps() == DUMPS and not any(b"Dumped" in pathlib.Path(name).read_bytes() for name in DUMPS)
    assert shell(f"{DROPIN} {TOO_SMALL} {closed}") == (101, "", "")
    assert shell(f"{RUN} {closed} >/dev/null") == (0, "", "")


@pytest.mark.parametrize("command", [f"{RUN} --no-dumps", f"{RUN} --no-dumps --json -", f"{PLENA_EMU} disasm p.mem",
                                     f"{EMULATOR} --help"], ids=["tables", "json", "text", "help"])
def test_standard_output_that_is_full_or_unread(command):
    status, _, err = shell(f"{command} > /dev/full")
    assert status == 101 and err.count("\n") == 1 and "standard output: No space left on device" in err
    assert shell(f"{command} | true; exit ${{PIPESTATUS[0]}}") == (0, "", "")


def test_an_error_that_nobody_reads_keeps_its_status():
    for place in ("2>&1 | true; exit ${PIPESTATUS[0]}", "2>/dev/full"):
        assert shell(f"{RUN} {TOO_SMALL} {place}")[0] == 101
        assert shell(f"{DROPIN} {TOO_SMALL} {place}")[0] == 101
        assert shell(f"{PLENA_EMU} run --nope {place}")[0] == 2


def test_a_full_log_file_is_told_once():
    status, _, err = shell(f"{DROPIN} --log-file /dev/full")
    assert status == 0 and err.count("log file /dev/full: cannot write: No space left on device") == 1
    assert dumps() == DUMPS


def test_pipes_in_place_of_files():
    assert shell(DROPIN)[0] == 0
    expected = {name: pathlib.Path(name).read_bytes() for name in DUMPS}
    for name in DUMPS:
        os.unlink(name)
    piped = DROPIN
    for name in ("p.mem", "hbm.bin", "fp.bin", "s.toml"):
        piped = piped.replace(name, f"<(cat {name})")
    assert shell(piped)[0] == 0
    assert {name: pathlib.Path(name).read_bytes() for name in DUMPS} == expected
    status, _, err = shell(f"{DROPIN} --hbm-size 255".replace("hbm.bin", "<(cat hbm.bin)"))
    assert status == 101 and "found more than 255 bytes" in err


def test_odd_names(tmp_path):
    """Spaces, letters beyond ASCII, bytes that are no UTF-8."""
    os.mkdir("ein ö")
    os.chdir("ein ö")
    os.rename("../p.mem", b"\xfc \xc3\xa9.mem")
    command = RUN.replace("p.mem", "$'\\xfc é.mem'").replace(" hbm.bin", " ../hbm.bin")
    command = command.replace("fp.bin", "../fp.bin").replace("s.toml", "../s.toml")
    for encoding in ("utf-8:strict", "ascii:strict"):
        status, out, err = shell(f"{command} --log-file 'lög 1.txt'", PYTHONIOENCODING=encoding)
        assert (status, err) == (0, "") and "2 words" not in out and "3 words" in out
    status, out, _ = shell(f"{command} --json - --no-dumps")
    assert status == 0 and os.fsencode(json.loads(out)["program"]["path"]) == b"\xfc \xc3\xa9.mem"
    assert dumps() == DUMPS - {"hbm_dump.bin"}
    status, _, err = shell(command.replace("é", "è"))
    assert status == 101 and err.count("\n") == 1 and "No such file" in err


@pytest.mark.parametrize("module", ["dropin", "main"])
def test_ctrl_c_while_the_command_line_is_read(module):
    """Before a command can look after it: here, while its module is imported."""
    program = "transactional_emulator" if module == "dropin" else "plena_emu"
    code = (f"import signal, sys\nfrom plena_emu.cli import entry\n"
            "class Interrupt:\n    def find_spec(self, name, path=None, target=None):\n"
            f"        if name.endswith('.{module}'): signal.raise_signal(signal.SIGINT)\n"
            f"sys.meta_path.insert(0, Interrupt())\nsys.exit(entry.{program}())")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 130 and ran.stderr == f"{program.replace('plena_', 'plena-')}: error: interrupted\n"


def test_ctrl_c_while_a_dump_is_written(build):
    """Nothing is left of the set, under its names or others."""
    from plena_emu.machine.dumps import DumpFile, write_dumps

    def pieces():
        yield 0, b"x" * 100
        signal.raise_signal(signal.SIGINT)

    before = set(os.listdir())
    with pytest.raises(KeyboardInterrupt):
        write_dumps(".", [DumpFile("mram_dump.bin", 4, [(0, b"abcd")]), DumpFile("vram_dump.bin", 1000, pieces())])
    assert set(os.listdir()) == before


def test_directories_of_results_are_looked_for_before_the_run():
    for flag in ("--json none/r.json", "--dump-dir p.mem/new", "--dump-dir p.mem"):
        status, out, err = shell(f"{RUN} {flag}")
        assert (status, out, err.count("\n")) == (101, "", 1) and flag.split()[0] in err


def test_runs_at_once_in_one_directory_and_in_several(tmp_path):
    assert shell(DROPIN)[0] == 0
    expected = {name: pathlib.Path(name).read_bytes() for name in DUMPS}
    places = [tmp_path / name for name in ("a", "b")]
    for place in places:
        place.mkdir()
        make_build(place)
    places += [tmp_path, tmp_path]
    running = [subprocess.Popen(DROPIN.split(), cwd=place, stderr=subprocess.DEVNULL) for place in places]
    assert [process.wait(timeout=300) for process in running] == [0] * len(places)
    for place in places:
        assert {name: (place / name).read_bytes() for name in DUMPS} == expected
        assert not list(place.glob(".*"))


@pytest.mark.parametrize("variable, flag, is_dumped", [
    ("", "", True), ("info", "", False), ("warn,transactional_emulator=debug", "", True),
    ("debug", "--log-level info", False), ("off", "--log-level trace", True),
])
def test_the_level_decides_about_the_dump_of_the_hbm(variable, flag, is_dumped):
    """§5.4: `hbm_dump.bin` at the debug level, which is the default in name."""
    status, _, _ = shell(f"{DROPIN} {flag}", RUST_LOG=variable)
    assert status == 0 and dumps() == (DUMPS if is_dumped else DUMPS - {"hbm_dump.bin"})


def test_libraries_start_no_threads_whatever_the_environment_says():
    """Where a machine allows no thread, OpenBLAS would send this process SIGINT."""
    script = ("import atexit, os, sys; sys.argv = ['plena-emu', 'boards']; from plena_emu.cli.entry import plena_emu\n"
              "def end():\n    import numpy\n    print(len(os.listdir('/proc/self/task')))\n"
              "atexit.register(end); plena_emu()")
    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"OPENBLAS_NUM_THREADS": "8"},
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1"), done.stderr


def test_what_is_to_be_done_at_the_end_is_done(tmp_path):
    """The process ends without taking the interpreter apart; exit functions are called, and what they print is seen."""
    script = ("import atexit, sys; sys.argv = ['plena-emu', 'boards']; from plena_emu.cli.entry import plena_emu;"
              " atexit.register(lambda: print('last')); sys.exit(plena_emu())")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "last"), done.stderr


def test_a_profiler_sees_the_end(tmp_path):
    """Somebody who runs the command from within Python to watch it gets control back, and writes its file."""
    place = tmp_path / "profile"
    ran = subprocess.run([sys.executable, "-m", "cProfile", "-o", place, "-m", "plena_emu.cli.main", "boards"],
                         capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0 and place.stat().st_size > 0, ran.stderr


def test_a_thread_that_is_at_work_is_waited_for():
    script = ("import sys, threading, time; sys.argv = ['plena-emu', 'boards'];"
              " from plena_emu.cli.entry import plena_emu;"
              " threading.Thread(target=lambda: (time.sleep(1), print('last'))).start(); sys.exit(plena_emu())")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "last"), done.stderr
