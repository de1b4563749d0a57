"""Is a text input read whole or refused in one line, whatever it is: too large, endless, binary, marked?"""

import os
import re
import threading

import pytest

from plena_emu.config.settings import load_settings
from plena_emu.errors import EmuError
from plena_emu.inputs import text as text_module
from plena_emu.inputs.text import LARGEST, decode_text, read_text


def refused(path, kind="settings", origin=None):
    with pytest.raises(EmuError) as caught:
        read_text(path, kind, origin)
    message = str(caught.value)
    assert message.startswith(f"{kind} {path}") and "\n" not in message
    return message.removeprefix(f"{kind} {path}")


@pytest.mark.parametrize("data, text", [
    (b"", ""), ("a = 'é'\r\nb\n".encode(), "a = 'é'\r\nb\n"), (b"\xef\xbb\xbfx\n", "x\n"), (b"\xef\xbb\xbf", ""),
])
def test_text_arrives_with_its_line_ends(tmp_path, data, text):
    (tmp_path / "f").write_bytes(data)
    assert read_text(tmp_path / "f", "board") == text == decode_text(data, "f")


@pytest.mark.parametrize("data, words", [
    (b"a\nb\xff\n", ", line 2: not UTF-8 text: found byte 0xff at offset 3"),
    (b"\xef\xbb\xbf\xc3", ", line 1: not UTF-8 text: found byte 0xc3 at offset 3"),
    (b"a\n\nb\0c", ", line 3: found a NUL character, expected text"),
    ("a".encode("utf-16"), ": not UTF-8 text: found the byte order mark of UTF-16"),
    ("a".encode("utf-16-be").join([b"\xfe\xff", b""]), ": not UTF-8 text: found the byte order mark of UTF-16"),
])
def test_what_is_no_text(tmp_path, data, words):
    path = tmp_path / "f"
    path.write_bytes(data)
    assert refused(path) == words


def test_what_cannot_be_read(tmp_path):
    assert refused(tmp_path / "gone", origin="$X") == " ($X): cannot read: No such file or directory"
    assert refused(tmp_path) == ": cannot read: Is a directory"
    with pytest.raises(EmuError, match="cannot read: embedded null byte"):
        read_text("a\0b", "settings")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full"])
def test_a_device_that_never_ends(device):
    if not os.path.exists(device):
        pytest.skip(f"{device} is not there")
    assert refused(device) == ", line 1: found a NUL character, expected text"


def test_every_kind_has_a_largest_size(tmp_path, monkeypatch):
    assert all(0 < most <= 2**30 for most in LARGEST.values())
    monkeypatch.setattr(text_module, "_PART", 7)
    for kind in LARGEST:
        monkeypatch.setitem(LARGEST, kind, 20)
        path = tmp_path / "f"
        path.write_text("x" * 20)
        assert len(read_text(path, kind)) == 20
        path.write_text("x" * 21)
        assert refused(path, kind) == ": found more than 20 bytes, expected at most that many"


def test_a_pipe_is_read_to_its_end(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"x = 1\n"))
    writer.start()
    assert read_text(pipe, "settings") == "x = 1\n"
    writer.join()


def test_messages_of_settings_name_what_named_the_file(tmp_path):
    with pytest.raises(EmuError, match=re.escape(f"settings {tmp_path}/none (--settings): cannot read")):
        load_settings(tmp_path / "none")
