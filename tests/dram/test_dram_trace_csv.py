"""Does the kernel that reads CSV traces say of every text what reading it line by line says?"""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.errors import EmuError
from plena_emu.kernels.limits import TIME_LIMIT
from plena_emu.memory import dram_trace_csv
from plena_emu.memory.dram_trace_csv import read_csv
from plena_emu.memory.dram_trace_files import _Lines, _read_text, read_trace

MOST = 1 << 20


def outcome(read):
    """What a reader finds, or the words with which it refuses."""
    try:
        return [values.tolist() for values in read()]
    except (EmuError, UnicodeDecodeError) as error:
        return str(error) if isinstance(error, EmuError) else "no UTF-8"


def line_by_line(text):
    lines = _Lines(io.TextIOWrapper(io.BytesIO(text), encoding="utf-8-sig"), "trace x")
    return outcome(lambda: whole(_read_text(lines, "trace x", "csv", 1)))


def by_kernel(text):
    return outcome(lambda: whole(read_csv(io.BytesIO(text), "trace x", MOST)))


def whole(parts):
    """Arrays of all parts."""
    copies = [[values.copy() for values in part] for part in parts]
    return [np.concatenate(values) for values in zip(*copies, strict=True)] or [np.zeros(0)] * 3


blanks = st.sampled_from(["", "", "", " ", "\t", "  ", "\x0b"])
numbers = st.one_of(
    st.integers(0, 300).map(str), st.sampled_from(["0x10", "0X1f", "007", "", "-1", "1_0", "x", str(TIME_LIMIT),
                                                   str(TIME_LIMIT + 1), "9" * 18, "9" * 19, "9" * 41]))
blocks = st.integers(0, (1 << 58) - 1).map(lambda block: block * 64)
addresses = st.one_of(blocks.map(str), blocks.map(hex), blocks.map("0X{:016X}".format), st.sampled_from([
    "65", "0x", "0x3f", str(1 << 64), str((1 << 64) - 64), "0xfffffffffffffffc0", "0x0000000000000000040", "ff"]))
ops = st.sampled_from(["read", "write", "read", "write", "READ", "Write", "reads", "r", ""])
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", " # words\n", "#\n", "# \xe9\n", "\r", "\n\n", " \n", ",1,2\n",
                         ",\n"])
lines = st.builds(lambda parts, gaps, end: "".join(gap + part for gap, part in zip(gaps, parts, strict=True)) + end,
                  st.tuples(numbers, st.just(","), ops, st.just(","), addresses), st.tuples(*[blanks] * 5), ends)
others = st.sampled_from(["time_ps,op,address\n", "Time_PS, op ,address\n", "time_ps,op,address,accept_ps,done_ps\n",
                          "# comment\n", "\n", "\ufeff", "nonsense\n", "1,read,0,5,9\n", "\0\n", "3,read,64"])


@settings(deadline=None)  # the first example may wait for the compiler
@given(st.lists(st.one_of(lines, lines, others), max_size=8), st.integers(3, 40))
def test_any_text(parts, size):
    text = "".join(parts).encode()
    part, dram_trace_csv.PART = dram_trace_csv.PART, size
    try:
        assert by_kernel(text) == line_by_line(text)
    finally:
        dram_trace_csv.PART = part


@settings(deadline=None)  # the first example may wait for the compiler
@given(st.lists(st.tuples(st.integers(0, 10**6), st.booleans(), st.integers(0, (1 << 58) - 1))), st.booleans(),
       st.booleans())
def test_usual_texts(rows, header, completions):
    rows.sort()
    text = "time_ps,op,address" + ",accept_ps,done_ps" * completions + "\n" if header or completions else ""
    for time, write, block in rows:
        text += f"{time},{'write' if write else 'read'},{block * 64:#x}" + f",{time},{time + 9}" * completions + "\n"
    assert by_kernel(text.encode()) == [[time for time, _, _ in rows], [int(write) for _, write, _ in rows],
                                        [block * 64 for _, _, block in rows]]


@settings(deadline=None)
@given(st.integers(0, 20), st.integers(0, 26), st.booleans(),
       st.sampled_from(["\n", "\r\n", ",\n", " \n", "g\n", "/\n", ":\n", "\x80\n", "`\n", "@\n"]), st.randoms())
def test_numbers_of_any_length(time_digits, address_digits, is_hex, end, random):
    """Eight digits at a time, and what stands behind them."""
    time = "".join(random.choices("0123456789", k=time_digits)).lstrip("0") if time_digits > 18 else "".join(
        random.choices("0123456789", k=time_digits))
    digits = "0123456789abcdefABCDEF" if is_hex else "0123456789"
    address = "0" * random.randint(0, address_digits) + "".join(random.choices(digits, k=address_digits))
    for last in ("0", "40", "c0") if is_hex else ("0", "64", "128"):
        text = f"{time},write,{'0x' * is_hex}{address}{last}{end}".encode("latin-1")
        assert by_kernel(text) == line_by_line(text)


@pytest.mark.parametrize("text", [b"1,read,0\n\xff,read,0\n", b"1,read,0 # \xff\n", b"\xff"])
def test_what_is_no_utf8(text):
    assert by_kernel(text) == line_by_line(text) == "no UTF-8"


def test_limits(monkeypatch):
    monkeypatch.setattr(dram_trace_csv, "MAX_LINE", 10)
    with pytest.raises(EmuError, match="trace x:2: found a line of more than 10 characters"):
        whole(read_csv(io.BytesIO(b"1,read,0\n" + b"#" * 11), "trace x", MOST))
    with pytest.raises(EmuError, match="trace x:2: found a line of more than 10 characters"):
        whole(read_csv(io.BytesIO(b"1,read,0\n12345 6789 ,read,0\n"), "trace x", MOST))
    with pytest.raises(EmuError, match="trace x:3: found more than 2 accesses, the most a trace may have"):
        whole(read_csv(io.BytesIO(b"1,read,0\n" * 3), "trace x", 2))
    monkeypatch.setitem(dram_trace_csv.LARGEST, "trace", 20)
    with pytest.raises(EmuError, match="found more than 20 characters, expected at most that many"):
        whole(read_csv(io.BytesIO(b"1,read,0\n" * 3), "trace x", MOST))


def test_a_file(tmp_path):
    path = tmp_path / "trace.csv"
    count = 100_000
    path.write_text("# many\ntime_ps,op,address\n" + "".join(f"{n},read,{64 * n}\n" for n in range(count)))
    trace = read_trace(str(path))
    assert (trace.format, trace.times) == ("csv", "ps")
    assert np.array_equal(trace.time, np.arange(count)) and np.array_equal(trace.addr, 64 * np.arange(count))
    assert not trace.op.any()
