"""Trace files: the project's own as streams and compressed, and those of other simulators."""

import bz2
import gzip
import io
import lzma
import pathlib
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.cli import dram as command
from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.memory.dram_replay import replay
from plena_emu.memory.dram_trace_files import read_trace
from plena_emu.memory.dram_trace_formats import FORMATS

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "hbm" / "m19_rmw_then_prefetch.npz"
TEXT = {
    "csv": "time_ps,op,address\n0,read,0x40\n5000,write,128 # w\n7000,READ,0x1000\n",
    "ramulator": "LD 0x47\nST 128\nLD 0x1000\n",
    "dramsim3": "0x47 READ 0\n0x80 WRITE 5\n0x1000 READ 7\n",
    "gem5": "r,71,1,0,0\nw,128,64,0,5000\nr,4096,8,0,7000\n",
    "scalesim": "0, 71,\n5, 128,\n7, 4096,\n",
}
ADDRESSES = [0x40, 128, 0x1000]


def write(tmp_path, text, name="t.trace"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize("name", TEXT)
def test_formats_are_known_by_their_first_line(tmp_path, name):
    trace = read_trace(write(tmp_path, TEXT[name]))
    assert trace.format == name
    assert trace.addr.tolist() == ADDRESSES
    assert trace.op.tolist() == ([0, 0, 0] if name == "scalesim" else [0, 1, 0])
    if trace.times is not None:
        assert trace.time_ps(1000).tolist() == [0, 5000, 7000]


def test_the_command_offers_every_format():
    assert list(command.FORMATS) == list(FORMATS)


@pytest.mark.parametrize("text, name, op, addresses", [
    ("0x47 R\n0x80 W\n", "ramulator", [0, 1], [0x40, 0x80]),
    ("47 READ 0\nFFC0 WRITE 5\n", "dramsim3", [0, 1], [0x40, 0xFFC0]),
    ("12,r,60,8,3,0\n13,w,256,128,5,9,77\n", "gem5", [0, 0, 1, 1], [0, 64, 256, 320]),
    ("r,60,8,1000\n", "gem5", [0, 0], [0, 64]),
    ("-3.0, 0, 1, 64, -1, 65,\n-1,-1\n4, 640, 641\n", "scalesim", [0, 0, 0], [0, 64, 640]),
])  # fmt: skip
def test_variants(tmp_path, text, name, op, addresses):
    trace = read_trace(write(tmp_path, text))
    assert (trace.format, trace.op.tolist(), trace.addr.tolist()) == (name, op, addresses)


def test_scalesim_cycles_begin_at_0_and_words_have_bytes(tmp_path):
    trace = read_trace(write(tmp_path, "-3, 16, 32\n-1, 48\n4, 64\n"), word_bytes=4)
    assert trace.time.tolist() == [0, 0, 2, 7]
    assert trace.addr.tolist() == [64, 128, 192, 256]
    assert read_trace(write(tmp_path, "0, 1\n", "X_DRAM_OFMAP_TRACE.csv")).op.tolist() == [1]
    assert read_trace(write(tmp_path, "0, 1\n"), "scalesim-ofmap").op.tolist() == [1]


def test_cycles_count_the_drams_clock_or_a_named_one(tmp_path, capsys):
    path = write(tmp_path, TEXT["dramsim3"])
    for flags, times in ((["--dram", "ddr4"], [0, 5 * 833, 7 * 833]), (["--clock-mhz", "100"], [0, 50_000, 70_000]),
                         (["--clock-mhz", "300"], [0, 16_667, 23_333])):
        assert main(["dram", path, "-o", "-", *flags]) == 0
        rows = capsys.readouterr().out.splitlines()[1:]
        assert [int(row.split(",")[0]) for row in rows] == times


@pytest.mark.parametrize("name", ["csv", "dramsim3", "gem5", "scalesim"])
def test_a_format_replays_as_its_accesses(tmp_path, capsys, name):
    """The figures are those of the same accesses given as arrays."""
    assert main(["dram", write(tmp_path, TEXT[name]), "-o", "-"]) == 0
    done = [int(row.split(",")[-1]) for row in capsys.readouterr().out.splitlines()[1:]]
    op = [0, 0, 0] if name == "scalesim" else [0, 1, 0]
    assert done == replay("hbm2", [0, 5000, 7000], ADDRESSES, op).done_ps.tolist()


# --- streams and compression --------------------------------------------------------------------


def test_completions_are_a_trace_again(tmp_path, capsys):
    """Replaying them completes the same, and writes the same again."""
    rng = np.random.default_rng(0)
    lines = [f"{9000 * k},{'read' if rng.random() < 0.7 else 'write'},{64 * rng.integers(0, 1 << 20)}"
             for k in range(300)]
    first, second = tmp_path / "a.csv", tmp_path / "b.csv"
    assert main(["dram", write(tmp_path, "\n".join(lines)), "-o", str(first)]) == 0
    assert main(["dram", str(first), "-o", str(second)]) == 0
    assert first.read_bytes() == second.read_bytes()
    assert first.read_text().count("\n") == 301
    capsys.readouterr()


def test_standard_streams(tmp_path):
    """`-` is standard input and standard output; no file of that name, and no table between the lines."""
    done = subprocess.run([sys.executable, "-m", "plena_emu.cli.main", "dram", "-", "-o", "-"], input=b"0,read,0\n",
                          capture_output=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"time_ps,op,address,accept_ps,done_ps\n0,read,0x0,0,18000\n"
    assert not list(tmp_path.iterdir())


def test_gzip(tmp_path, monkeypatch):
    packed = gzip.compress(TEXT["csv"].encode())
    assert read_trace(write(tmp_path, packed, "t.csv.gz")).addr.tolist() == ADDRESSES
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed))))
    assert read_trace("-").addr.tolist() == ADDRESSES
    for cut in (3, 11, len(packed) // 2, len(packed) - 1):
        with pytest.raises(EmuError, match=r"^trace .*: found damaged gzip data$"):
            read_trace(write(tmp_path, packed[:cut], "cut.csv.gz"))


# --- malformed input ----------------------------------------------------------------------------


@pytest.mark.parametrize("form, text, message", [
    ("ramulator", "LD 0x0\nLD\n", ":2: found 'LD', expected LD or ST and an address"),
    ("ramulator", "LD -1\n", ":1: address: found '-1', expected a decimal or 0x"),
    ("ramulator", "LD 0x10000000000000000\n", ":1: address: found '0x10000000000000000', expected at most"),
    ("dramsim3", "0x0 READ 5\n0x0 READ 4\n", ":2: time: found 4 behind 5, expected no falling times"),
    ("dramsim3", "0x0 FETCH 5\n", ":1: found '0x0 FETCH 5', expected an address, READ or WRITE"),
    ("dramsim3", "0x0 READ 5.5\n", ":1: cycle: found '5.5', expected a decimal"),
    ("dramsim3", "xyz READ 5\n", ":1: address: found '0xxyz', expected"),
    ("gem5", "u,0,64,0,0\n", ":1: found 'u,0,64,0,0', expected r or w"),
    ("gem5", "r,0,9999999,0,0\n", ":1: size: found '9999999', expected at most 1048576"),
    ("gem5", "r,18446744073709551615,64,0,0\n", ":1: size: found 64, expected a packet that ends below 2^64"),
    ("scalesim", "0,1\nx,2\n", ":2: found 'x', expected a cycle and addresses"),
    ("scalesim", "0,1.5\n", ":1: found '1.5', expected a cycle and addresses"),
    ("scalesim", "-3,1\n-9,2\n", ":2: cycle: found '-9', expected a rising one"),
    ("scalesim", "5,1\n3,2\n", ":2: time: found 3 behind 5"),
    ("scalesim", "0,-2\n", ":1: address: expected -1 for none"),
    ("csv", "LD 0x0\n", ":1: found 1 field, expected 3"),
    (None, "time_ps,op,address,accept_ps,done_ps\n0,read,0\n", ":2: found 3 fields, expected 5: as many as in"),
    (None, "0,read,0,0,0\n", ":1: found 5 fields, expected 3"),
    (None, "0,read,%s\n" % ("1" * 100), ":1: address: found '%s...', expected at most" % ("1" * 37)),
    (None, b"0,read,0\n\xff\xfe\n", ": found bytes that are no UTF-8 text"),
    (None, b"gem5\x01\x02", ": found gem5's binary packets, expected what"),
    (None, b"x" * ((1 << 20) + 5), ":1: found a line of more than 1048576 characters"),
])  # fmt: skip
def test_malformed(tmp_path, form, text, message):
    path = write(tmp_path, text)
    with pytest.raises(EmuError) as caught:
        read_trace(path, form)
    assert str(caught.value).startswith(f"trace {path}{message}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@settings(max_examples=300, deadline=None, derandomize=True)
@given(form=st.sampled_from([None, *FORMATS]),
       text=st.text(st.sampled_from("LDSTRWrwu0x19aF,.-# \t\nEADI"), max_size=60))
def test_any_text_is_a_trace_or_one_line(tmp_path_factory, form, text):
    path = tmp_path_factory.getbasetemp() / "any.trace"
    path.write_text(text)
    try:
        trace = read_trace(str(path), form)
    except EmuError as error:
        assert re.fullmatch(r"trace [^\n]*", str(error))
    else:
        assert len(trace.op) == len(trace.addr) and not (trace.addr % np.uint64(64)).any()


@pytest.mark.parametrize("device, message", [
    ("/dev/zero", ":1: found a line of more than"), ("/", ": cannot read: Is a directory"), ("", ": cannot read"),
    ("a\0b", ": cannot read: embedded null byte"),
])  # fmt: skip
def test_what_has_no_end_or_is_no_file(device, message):
    with pytest.raises(EmuError) as caught:
        read_trace(device)
    assert message in str(caught.value) or "\\x00" in str(caught.value)


@pytest.mark.parametrize("argv, message", [
    (["dram"], "expected TRACE, or --list"),
    (["dram", "--list", "--dram", "ddr4"], "--list: found --dram as well"),
    (["dram", "--list", "t"], "--list: found TRACE as well"),
    (["dram", "t", "-o", "-", "--json", "-"], "-o and --json: found - for both"),
    (["dram", "t", "--outstanding", "0"], "number '0': expected 1 to 1048576"),
    (["dram", "t", "--clock-mhz", "nan"], "clock 'nan': expected MHz"),
    (["dram", "t", "--ddr-speed", "0"], "data rate factor: found 0, expected 1/64 to 64"),
    (["dram", "t", "--format", "vcd"], "invalid choice: 'vcd'"),
])  # fmt: skip
def test_what_the_command_line_alone_shows(capsys, argv, message):
    try:
        status = main(argv)
    except SystemExit as stopped:  # by the parser
        status = stopped.code
    error = capsys.readouterr().err
    assert status == 2 and message in error and error.count("\n") == 1


@pytest.mark.parametrize("name, flags, message", [
    ("ramulator", [], "found no times (format ramulator), expected --outstanding N"),
    ("csv", ["--outstanding", "4"], "--outstanding: of no use in a trace of format csv"),
    ("csv", ["--clock-mhz", "100"], "--clock-mhz: of no use in a trace of format csv"),
    ("gem5", ["--word-bytes", "2"], "--word-bytes: of no use in a trace of format gem5"),
    ("csv", ["--format", "gem5"], "expected r or w, an address"),
])  # fmt: skip
def test_flags_that_a_trace_has_no_use_for(tmp_path, capsys, name, flags, message):
    path = write(tmp_path, TEXT[name])
    assert main(["dram", path, *flags]) == 101
    error = capsys.readouterr().err
    assert f"trace {path}" in error and message in error and error.count("\n") == 1


def test_the_trace_itself_is_no_output(tmp_path, capsys):
    path = write(tmp_path, TEXT["csv"], "t.csv")
    (tmp_path / "link.csv").symlink_to("t.csv")
    for flag, name in (("-o", "t.csv"), ("--json", "link.csv")):
        assert main(["dram", path, flag, str(tmp_path / name)]) == 2
        assert "found the file that TRACE names" in capsys.readouterr().err
    assert pathlib.Path(path).read_text() == TEXT["csv"]


def test_list(capsys):
    assert main(["dram", "--list"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("ddr3_800_x16 1.6 512 MiB", "hbm2 64.0 / 128.0", "hbm2e_3200 819.2 32 GiB", "tRFC is 360 ns"):
        assert words in out


# --- arrays -------------------------------------------------------------------------------------


def arrays(**changes):
    whole = {"batch_kind": ["G"], "batch_t": [0], "batch": [0], "op": [0], "addr": [0]}
    return {name: value for name, value in (whole | changes).items() if value is not None}


@pytest.mark.parametrize("changes, message", [
    ({"preset": "nope"}, "preset: found 'nope', expected one of ddr3_1600_x16"),
    ({"preset": "a\0b"}, "preset: found 'a\\x00b', expected"),
    ({"preset": "/etc/passwd"}, "preset: found '/etc/passwd', expected"),
    ({"preset": [1, 2]}, "preset: found no text, expected"),
    ({"preset": "x" * 1000}, "preset: found '" + "x" * 37 + "...', expected"),
    ({"description": "{"}, "description: not JSON"), ({"description": [1]}, "description: found no text, expected"),
    ({"description": "[]"}, "found an empty list, expected a table"),
    ({"description": '{"name": 7}'}, "data_bus: found nothing"),
    ({"description": "null", "preset": "hbm2"}, "found a preset and a description, expected one of them"),
    ({"variant": "v2"}, "variant: found 'v2', expected one of base, moe"),
    ({"addr": [0.5]}, "array 'addr': found floats of 1 dimensions, expected integers of one dimension"),
    ({"op": [[0]]}, "array 'op': found integers of 2 dimensions, expected integers of one dimension"),
    ({"batch": None}, "array 'batch' is missing"),
])  # fmt: skip
def test_malformed_arrays(tmp_path, capsys, changes, message):
    path = tmp_path / "t.npz"
    np.savez(path, **arrays(**changes))
    assert main(["dram", str(path)]) == 101
    error = capsys.readouterr().err
    assert error.startswith(f"plena-emu dram: error: trace {path}: ") and message in error and error.count("\n") == 1


def test_an_array_alone(tmp_path):
    np.save(tmp_path / "t.npy", np.zeros(3))
    (tmp_path / "t.npy").rename(tmp_path / "t.npz")
    with pytest.raises(EmuError, match=r"found a single array \(.npy\), expected a .npz file"):
        read_trace(str(tmp_path / "t.npz"))


@pytest.mark.parametrize("header", ["{", "(((", "'''", "{'descr': ('<i8', 3), 'fortran_order': False, 'shape': (1,)}",
                                    "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999,)}",
                                    "{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"])
def test_broken_headers(tmp_path, header):
    text = header.ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(8)
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        for name in ("batch_kind", "batch_t", "batch", "op", "addr"):
            file.writestr(f"{name}.npy", member)
    with pytest.raises(EmuError, match=r"^[^\n]*found no readable arrays, expected a .npz file$"):
        read_trace(str(tmp_path / "t.npz"))


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damaged_compression(tmp_path, method):
    """Any byte flipped, in any compression: arrays or one line."""
    path, refused = tmp_path / "t.npz", 0
    np.savez(tmp_path / "plain.npz", **arrays(batch=[0] * 50, op=[0] * 50, addr=np.arange(50) * 64))
    with zipfile.ZipFile(tmp_path / "plain.npz") as plain, zipfile.ZipFile(path, "w", method) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    assert len(read_trace(str(path)).addr) == 50
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(0, len(whole))] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        try:
            read_trace(str(path))
        except EmuError as error:
            refused += 1
            assert "\n" not in str(error) and "None" not in str(error)
    assert refused > 20


def test_a_npz_is_not_read_from_a_pipe(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(GOLDEN.read_bytes()))))
    with pytest.raises(EmuError, match="found a .npz file, expected it as a file of its own"):
        read_trace("-")


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_other_compressions_are_no_text(tmp_path, pack):
    with pytest.raises(EmuError, match="found bytes that are no UTF-8 text|expected 3"):
        read_trace(write(tmp_path, pack(TEXT["csv"].encode()), "t.csv.xz"))
