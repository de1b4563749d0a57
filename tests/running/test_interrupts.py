"""Does Ctrl-C end every command at any moment with one line and status 130: no traceback, none lost, no crash?"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import settings_document, write_settings

from plena_emu import interrupts
from plena_emu.precompile import warm
from plena_emu.program.assembler import assemble, mem_text

# Ctrl-C as the interpreter looks for the Nth module: within imports, of which libraries make callbacks and objects.
AT_IMPORT = """
import atexit, signal, sys
from plena_emu.cli import entry

class Interrupt:
    left = int(sys.argv.pop(1))
    def find_spec(self, name, path=None, target=None):
        Interrupt.left -= 1
        if Interrupt.left == 0:
            signal.raise_signal(signal.SIGINT)
            if sys.argv[1] == "twice":
                signal.raise_signal(signal.SIGINT)

program = sys.argv.pop(1)
sys.meta_path.insert(0, Interrupt())
if Interrupt.left < 0:
    atexit.register(lambda: print(f"looked for {-Interrupt.left} more", file=sys.stderr))
sys.exit(getattr(entry, program)())
"""
FILES = "--opcode p.mem --hbm hbm.bin --fpsram fp.bin --settings s.toml"
COMMANDS = {
    "drop-in": ("transactional_emulator", f"{FILES} --log-file log"),
    "run": ("plena_emu", f"run {FILES} --no-dumps --quiet"),
    "boards": ("plena_emu", "boards custom_a7"),
    "asm": ("plena_emu", "asm p.asm"),
    "profile": ("plena_emu", "profile p.mem --settings s.toml"),
    "board-settings": ("plena_emu", "board-settings s.toml --board custom_a7"),
    "dram": ("plena_emu", "dram t.csv"),
    "compile": ("plena_emu", "compile --list"),
}


@pytest.fixture(scope="module", autouse=True)
def directory(tmp_path_factory):
    warm()
    place = tmp_path_factory.mktemp("interrupts")
    (place / "p.asm").write_text("S_ADDI_INT gp1, gp0, 1\n")
    (place / "p.mem").write_text(mem_text(assemble("S_ADDI_INT gp1, gp0, 1\n")))
    (place / "hbm.bin").write_bytes(bytes(64))
    (place / "fp.bin").write_bytes(bytes(20))
    (place / "t.csv").write_text("0,read,0\n")
    write_settings(place / "s.toml")
    before = os.getcwd()
    os.chdir(place)
    yield place
    os.chdir(before)


def shot(program, words, at):
    """(Status, standard output, standard error) of a command that is interrupted at an import."""
    ran = subprocess.run([sys.executable, "-c", AT_IMPORT, str(at), program, *words.split()], capture_output=True,
                         text=True, timeout=120)
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_at_imports_from_the_first_to_the_last(command):
    program, words = COMMANDS[command]
    shot(program, words, -1)  # the first one looks for more modules: it keeps fingerprints of the kernels' sources
    status, _, err = shot(program, words, -1)
    assert status == 0
    imports = int(err.split()[-2]) - 1
    assert imports > 3
    name = program.replace("plena_", "plena-")
    for at in {1, 2, imports} | set(range(3, imports, max(1, imports // 8))):
        status, out, err = shot(program, words, at)
        assert (status, out) == (130, "") and err.splitlines()[-1].startswith(name), (at, err)
        assert err.endswith("error: interrupted\n") and err.count("interrupted") == 1
        assert "Traceback" not in err and "ignored" not in err
    if command == "drop-in":
        assert Path("log").read_text().endswith("ERROR transactional_emulator: interrupted\n")


@pytest.mark.parametrize("words", ["run --no-dumps --quiet " + FILES, "plan p.mem", "bench --help"])
def test_where_the_shell_ignores_it_nothing_happens(words):
    """`nohup` and `&` in scripts."""
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + AT_IMPORT
    ran = [subprocess.run([sys.executable, "-c", code, str(at), "plena_emu", *words.split()], capture_output=True,
                          text=True, timeout=120) for at in (-1, 5)]
    assert ran[0].returncode == ran[1].returncode != 130 and ran[0].stdout == ran[1].stdout


@pytest.mark.parametrize("delay", [0.02, 0.06, 0.1, 0.14, 0.18, 0.22, 0.26, 0.3])
def test_from_outside_at_any_time(delay):
    """Also twice, and also while the interpreter ends; before the first line of the executable Python alone decides."""
    code = "import sys; from plena_emu.cli import entry\nprint('!', flush=True)\nsys.exit(entry.plena_emu())"
    process = subprocess.Popen([sys.executable, "-c", code, "run", *FILES.split(), "--no-dumps", "--quiet"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.read(1) == "!"
    for _ in range(2):
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        delay = 0.005
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.count("interrupted")) in ((0, 0), (130, 1)), err
    assert err.count("\n") == err.count("interrupted")


ENDLESS = """
C_LOOP_START gp1, 4194303
C_LOOP_START gp2, 4194303
V_ADD_VV gp0, gp0, gp0, 0
S_ADDI_INT gp3, gp3, 1
C_LOOP_END gp2
C_LOOP_END gp1
"""
# What never ends by itself: programs, and a trace that never comes.
ENDLESS_COMMANDS = {
    "drop-in": ("transactional_emulator", FILES.replace("p.mem", "endless.mem")),
    "run": ("plena_emu", f"run {FILES.replace('p.mem', 'endless.mem')} --threads 2 --no-dumps"),
    "one thread": ("plena_emu", f"run {FILES.replace('p.mem', 'endless.mem')} --threads 1 --no-dumps"),
    "every instruction": ("plena_emu", f"run {FILES.replace('p.mem', 'endless.mem')} --timeline t.json --no-dumps"),
    "rtl": ("plena_emu", "run endless.mem --settings s.toml --timing-only --timing rtl-v1"),
    "large transfers": ("plena_emu", "run large.mem --settings large.toml --hbm hbm.bin --fpsram fp.bin --no-dumps"),
    "profile": ("plena_emu", "profile endless.mem --settings s.toml"),
    "dram": ("plena_emu", "dram -"),
}


@pytest.fixture(scope="module")
def endless(directory):
    """Files of what never ends, in a directory without the dumps of other tests."""
    apart = directory / "endless"
    apart.mkdir()
    for name in ("hbm.bin", "fp.bin"):
        (apart / name).write_bytes((directory / name).read_bytes())
    os.chdir(apart)
    document = settings_document()
    for key, value in {"MAX_LOOP_INSTRUCTIONS": 2**60, "HLEN": 16}.items():
        document["TRANSACTIONAL"]["CONFIG"][key]["value"] = value
    write_settings("s.toml", document)
    for key, value in {"VLEN": 4096, "HLEN": 4096, "HBM_V_Prefetch_Amount": 100_000, "HBM_SIZE": 2**30}.items():
        document["TRANSACTIONAL"]["CONFIG"][key]["value"] = value
    write_settings("large.toml", document)
    Path("endless.mem").write_text(mem_text(assemble(ENDLESS)))
    Path("large.mem").write_text(mem_text(assemble("H_PREFETCH_V gp0, gp0, a0, 0, 0\n" * 1000)))


@pytest.mark.parametrize("delay", [0.3, 0.8])
@pytest.mark.parametrize("command", ENDLESS_COMMANDS)
def test_what_never_ends_is_ended(endless, command, delay):
    """Whatever it is busy with then; were it deaf, `communicate` would give up."""
    program, words = ENDLESS_COMMANDS[command]
    code = f"import sys; from plena_emu.cli import entry\nprint('!', flush=True)\nsys.exit(entry.{program}())"
    process = subprocess.Popen([sys.executable, "-c", code, *words.split()], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.read(1) == "!"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    name = program.replace("plena_", "plena-")
    assert process.returncode == 130 and out.strip() == "", (out, err)
    last = err.splitlines()[-1]
    assert last.startswith(name) and last.endswith("error: interrupted") and err.count("interrupted") == 1
    assert "Traceback" not in err and not list(Path().glob("*_dump.bin")) and not list(Path().glob(".plena-*"))


CHILD = """
import signal, sys
from plena_emu import interrupts
interrupts.watch(lambda: print("interrupted"))
"""


def child(code):
    ran = subprocess.run([sys.executable, "-c", CHILD + code], capture_output=True, text=True, timeout=60)
    return ran.returncode, ran.stdout, ran.stderr


def test_work_that_unwinds_gets_an_exception():
    assert child("""
try:
    with interrupts.unwinding():
        signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("unwound")
""") == (0, "unwound\n", "")


@pytest.mark.parametrize("lost", ["except BaseException: pass", "finally: signal.raise_signal(signal.SIGINT)"])
def test_an_exception_that_is_lost_or_a_second_ctrl_c_ends_the_process(lost):
    assert child(f"""
with interrupts.unwinding():
    try: signal.raise_signal(signal.SIGINT)
    {lost}
print("went on")
""") == (130, "interrupted\n", "")


def test_an_error_that_cleaning_up_meets_changes_nothing():
    assert child("""
with interrupts.at_interrupt(lambda: print("cleaned")), interrupts.at_interrupt(lambda: 1 / 0):
    signal.raise_signal(signal.SIGINT)
""") == (130, "cleaned\ninterrupted\n", "")


def test_handlers_are_put_back():
    """A library must not change what signals do to the process of its user."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with interrupts.cleaning(print), interrupts.deferred():
        pass
    assert [signal.getsignal(number) for number in numbers] == before
