"""Are output files whole or absent, alone and as a set, and does what was there keep its links, mode and names?"""

import os
import pathlib
import signal
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.atomic_files import OutputSet, check_outputs, write_whole
from plena_emu.errors import EmuError, UsageError
from plena_emu.machine.dumps import DumpFile, write_dumps


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path):
    return pathlib.Path(path).read_bytes()


def write(path, data=b"old"):
    pathlib.Path(path).write_bytes(data)


def test_a_link_is_followed_and_stays():
    os.mkdir("there")
    write("there/file")
    for target in ("there/file", "there/new"):
        link = f"to_{os.path.basename(target)}"
        os.symlink(target, link)
        os.symlink(link, f"{link}2")
        write_whole(f"{link}2", b"new")
        assert os.readlink(link) == target and read(target) == b"new"
    assert sorted(os.listdir("there")) == ["file", "new"]


def test_a_loop_of_links_is_one_line_and_stays():
    os.symlink("b", "a")
    os.symlink("a", "b")
    with pytest.raises(EmuError, match="^output a: cannot write: Too many levels of symbolic links$"):
        write_whole("a", b"new")
    assert os.readlink("a") == "b" and os.readlink("b") == "a"


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o666])
def test_the_mode_stays(mode):
    write("file")
    os.chmod("file", mode)
    write_whole("file", b"new")
    assert stat.S_IMODE(os.stat("file").st_mode) == mode and read("file") == b"new"


def test_a_new_file_has_the_mode_of_the_umask():
    before = os.umask(0o027)
    try:
        write_whole("file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("file").st_mode) == 0o640


def test_hard_links_stay():
    write("a", b"older and longer")
    os.link("a", "b")
    write_whole("a", b"new")
    assert os.path.samefile("a", "b") and read("b") == b"new"
    pieces = [(1 << 20, b"far"), (0, b"near")]
    write_dumps(".", [DumpFile("a", 2 << 20, pieces)])
    assert os.path.samefile("a", "b") and read("b") == b"near".ljust(1 << 20, b"\0") + b"far".ljust(1 << 20, b"\0")
    assert os.stat("b").st_blocks * 512 < 1 << 20  # holes stay holes


@pytest.mark.parametrize("length", [1, 200, 245, 246, 250, 255])
def test_the_longest_names(length):
    name = "n" * length
    for data in (b"first", b"second"):
        write_whole(name, data)
        assert os.listdir() == [name] and read(name) == data


RUN = ("import sys; from plena_emu.atomic_files import write_whole\n"
       "print('before'); write_whole(sys.argv[1], b'written\\n'); print('after')")


def shell(redirected, target):
    command = f"'{sys.executable}' -c \"$RUN\" {target} {redirected}"
    return subprocess.run(["bash", "-c", command], env=os.environ | {"RUN": RUN}, capture_output=True, text=True)


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("redirected, expected", [
    ("> got", "before\nwritten\nafter\n"), (">> got", "old\nbefore\nwritten\nafter\n"),
    ("| cat > got", "before\nwritten\nafter\n"),
])
def test_open_descriptors_are_written_to(target, redirected, expected):
    """In the order of the program, and at the place where others have left off."""
    os.symlink("/proc/self/fd/1", "link")
    write("got", b"old\n")
    shell(redirected, target)
    assert pathlib.Path("got").read_text() == expected and os.readlink("link") == "/proc/self/fd/1"
    assert os.path.islink("/dev/stdout")


def test_devices_and_pipes_are_written_to():
    write_whole("/dev/null", b"new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.symlink("/dev/null", "vram")
    write_dumps(".", [DumpFile("vram", 1 << 22, [(1 << 21, b"x")]), DumpFile("mram", 4, [(0, b"abcd")])])
    assert os.readlink("vram") == "/dev/null" and read("mram") == b"abcd"
    with pytest.raises(EmuError, match="^output /dev/full: cannot write: No space left on device$"):
        write_whole("/dev/full", b"new")


def test_a_set_is_all_or_nothing():
    write("vram", b"old")
    os.mkdir("results")
    dumps = [DumpFile(name, 4, [(0, b"abcd")]) for name in ("mram", "vram", "results")]
    with pytest.raises(EmuError) as caught:
        write_dumps(".", dumps)
    assert str(caught.value) == "dump ./results: cannot write: Is a directory; no dump of this run is kept"
    assert sorted(os.listdir()) == ["results", "vram"] and read("vram") == b"old"
    os.rmdir("results")
    assert write_dumps(".", dumps) == ["./mram", "./vram", "./results"]
    assert {name: read(name) for name in os.listdir()} == dict.fromkeys(("mram", "vram", "results"), b"abcd")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3), st.integers(0, 5000), st.sampled_from([OSError(28, "No space left on device"),
                                                                  KeyboardInterrupt(), MemoryError()]))
def test_whatever_ends_a_set_leaves_what_was_there(which, at, error):
    """An error at any place of any file of it."""
    def pieces(fails):
        yield 0, b"x" * at
        if fails:
            raise error

    for name in "abc":
        write(name)
    dumps = [DumpFile(name, 5000, pieces(number == which)) for number, name in enumerate("abcd")]
    with pytest.raises((EmuError, KeyboardInterrupt, MemoryError)):
        write_dumps(".", dumps)
    assert {name: read(name) for name in os.listdir()} == dict.fromkeys("abc", b"old")


def test_a_set_beyond_the_limit_of_file_sizes():
    code = ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "from plena_emu.machine.dumps import DumpFile, write_dumps\n"
            "write_dumps('.', [DumpFile('a', 4, [(0, b'abcd')]), DumpFile('b', 2000, [(1500, b'abcd')])])")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "EmuError: dump ./b: cannot write: File too large; no dump of this run is kept" in ran.stderr
    assert os.listdir() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("when", ["while it is written", "while names are taken"])
def test_signals_leave_the_whole_set_or_nothing(number, when):
    """And do what they do: the process ends by them, Ctrl-C with status 130 and its line."""
    code = f"""
import os, signal, sys
from plena_emu import interrupts
from plena_emu.machine.dumps import DumpFile, write_dumps
interrupts.watch(lambda: print("interrupted"))
def pieces():
    yield 0, b"abcd"
    if {when == "while it is written"}: signal.raise_signal({int(number)})
replace = os.replace
def replacing(*names):
    replace(*names)
    signal.raise_signal({int(number)})
os.replace = replacing
write_dumps(".", [DumpFile(name, 4, pieces()) for name in ("a", "b")])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr == "" and ran.returncode == (130 if number == signal.SIGINT else -number)
    assert sorted(os.listdir()) == ([] if when == "while it is written" else ["a", "b"])


def test_files_that_a_killed_process_left_are_swept():
    """Not those that another process is writing, nor anybody else's."""
    code = ("import os, signal; from plena_emu.atomic_files import OutputSet\n"
            "outputs = OutputSet().__enter__(); outputs.open('a'); os.kill(os.getpid(), signal.SIGKILL)")
    subprocess.run([sys.executable, "-c", code])
    (left,) = os.listdir()
    write(".plena-settings")
    with OutputSet() as outputs:
        outputs.open("b").write(b"new")
        sweeping = "from plena_emu.atomic_files import write_whole; write_whole('c', b'new')"
        subprocess.run([sys.executable, "-c", sweeping], check=True)
        assert left not in os.listdir() and len(os.listdir()) == 3
    assert sorted(os.listdir()) == [".plena-settings", "b", "c"] and read("b") == b"new"


OTHER_NAMES = {"itself": lambda: "in", "another spelling": lambda: "./x/../in", "a link": lambda: _linked(os.symlink),
               "a hard link": lambda: _linked(os.link)}


def _linked(link):
    link("in", "other")
    return "other"


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_an_output_that_is_an_input_is_refused(name):
    write("in")
    os.mkdir("x")
    output = OTHER_NAMES[name]()
    with pytest.raises(UsageError, match="found the file that --hbm names, expected a file that is not read"):
        check_outputs([("--json", None), ("-o", output)], [("--vram", None), ("--fpsram", "none"), ("--hbm", "in")])
    assert read("in") == b"old"


def test_outputs_that_are_one_file_are_refused():
    os.symlink("a", "b")  # neither is there yet
    with pytest.raises(UsageError, match="--json b: found the file that --log-file names, expected a file for each"):
        check_outputs([("--log-file", "a"), ("--json", "b")])
    check_outputs([("--log-file", "/dev/null"), ("--json", "/dev/null"), ("-o", "c")], [("--hbm", "/dev/null")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_write_protected_file_is_not_replaced():
    write("file")
    os.chmod("file", 0o444)
    with pytest.raises(EmuError, match="output file: cannot write: Permission denied"):
        write_whole("file", b"new")
    assert read("file") == b"old"
