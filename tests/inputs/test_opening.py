"""Is a named pipe without a writer refused in one line, and does every other kind of input open as ever?"""

import os
import subprocess
import sys
import threading
import time

import pytest

from plena_emu.errors import EmuError
from plena_emu.inputs import opening
from plena_emu.inputs.opening import open_input
from plena_emu.inputs.text import read_text
from plena_emu.machine.preload import load_hbm, read_file
from plena_emu.memory.dram_trace_files import read_trace
from plena_emu.program.decode import read_words
from plena_emu.running.provenance import file_hash


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


READERS = {
    "text": lambda path: read_text(path, "settings"),
    "program": read_words,
    "preload": lambda path: read_file(path, "fp SRAM preload", 10, "10 bytes"),
    "HBM": lambda path: load_hbm(path, _hbm()),
    "trace": read_trace,
    "hash": file_hash,
}


def _hbm():
    import numpy as np

    return np.zeros(64, dtype=np.uint8)


@pytest.mark.parametrize("reader", READERS)
def test_a_named_pipe_that_nobody_writes(pipe, monkeypatch, reader):
    monkeypatch.setattr(opening, "WRITER_WAIT", 0.01)
    with pytest.raises(EmuError) as caught:
        READERS[reader](pipe)
    message = str(caught.value)
    assert pipe in message and "\n" not in message
    assert message.endswith("found a named pipe that nobody opened for writing within 0.01 s")


def test_a_writer_may_come_late_and_take_its_time(pipe, monkeypatch):
    """Longer between its data than the wait for it: it is there, and what it says counts."""
    monkeypatch.setattr(opening, "WRITER_WAIT", 0.5)

    def write():
        time.sleep(0.05)
        with open(pipe, "wb", buffering=0) as file:
            time.sleep(1)
            file.write(b"x = ")
            time.sleep(0.1)
            file.write(b"1\n")

    writer = threading.Thread(target=write)
    writer.start()
    assert read_text(pipe, "settings") == "x = 1\n"
    writer.join()


def test_a_writer_that_says_nothing(pipe):
    writer = threading.Thread(target=lambda: open(pipe, "wb").close())
    writer.start()
    with open_input(pipe) as file:
        assert file.read() == b""
    writer.join()


@pytest.mark.parametrize("text", ["", "x = 1\n"])
def test_standard_input_and_process_substitution(text):
    """Pipes without a name, whose writer may be gone before they are opened."""
    code = "import sys; from plena_emu.inputs.text import read_text; print(repr(read_text(sys.argv[1], 'settings')))"
    ran = subprocess.run([sys.executable, "-c", code, "/dev/stdin"], input=text, capture_output=True, text=True,
                         timeout=60, check=True)
    assert ran.stdout == f"{text!r}\n"
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    assert read_text(f"/dev/fd/{reading}", "settings") == text
    os.close(reading)
