"""Does a replay in a small window, fed part by part, say what one that holds the whole trace says?"""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.memory import dram_replay, dram_trace_csv, dram_trace_files
from plena_emu.memory.dram_replay import ReplayStream, replay, replay_batches
from plena_emu.memory.dram_statistics import Latencies
from plena_emu.memory.dram_trace_csv import completion_lines, read_csv
from plena_emu.memory.dram_trace_files import read_trace
from plena_emu.memory.dram_window import Completions

MEMORIES = ["hbm2", "ddr4", "ddr3_800_x16", "hbm2_2000"]
INSTANTS = ("issue_ps", "accept_ps", "done_ps")


def in_window(room, call):
    """What `call` gives in windows with little room."""
    before, dram_replay.ROOM = dram_replay.ROOM, room
    try:
        return call()
    finally:
        dram_replay.ROOM = before


def same(found, expected):
    assert found.statistics == expected.statistics
    for name in INSTANTS:
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(MEMORIES), seed=st.integers(0, 1 << 32), room=st.sampled_from([1, 2, 7, 40]),
       kinds=st.text("GISS", min_size=1, max_size=40), blocks=st.sampled_from([1 << 4, 1 << 12]))
def test_batches_in_a_window(name, seed, room, kinds, blocks):
    rng = np.random.default_rng(seed)
    batch = np.repeat(np.arange(len(kinds)), rng.integers(0, 30, len(kinds)))
    op, address = rng.random(len(batch)) < 0.4, rng.integers(0, blocks, len(batch)) * 64
    times = np.where(np.array(list(kinds)) == "S", np.cumsum(rng.integers(0, 40, len(kinds))) * 1000, 5000)

    def call():
        return replay_batches(name, list(kinds), times, batch, op, address)

    same(in_window(room, call), call())


@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from(MEMORIES), seed=st.integers(0, 1 << 32), room=st.sampled_from([1, 2, 7, 40, 500]),
       gap=st.sampled_from([0, 300, 3000, 9000, 40_000]), step=st.sampled_from([1, 833, 1000]),
       outstanding=st.sampled_from([None, None, None, 1, 8, 100]))
def test_parts_in_a_window(name, seed, room, gap, step, outstanding):
    rng = np.random.default_rng(seed)
    count = 400
    time = None if outstanding else np.cumsum(rng.integers(0, 2 * gap // step + 1, count)) * step
    op, address = rng.random(count) < rng.random(), rng.integers(0, 1 << rng.integers(2, 14), count) * 64
    whole = replay(name, time, address, op, outstanding=outstanding)
    stream = in_window(room, lambda: ReplayStream(name, outstanding=outstanding))
    cuts = [0, *np.sort(rng.integers(0, count, 6)).tolist(), count]
    parts = [stream.feed(None if outstanding else time[a:b], address[a:b], op[a:b])
             for a, b in zip(cuts, cuts[1:], strict=False)]
    parts.append(stream.finish())
    assert stream.statistics == whole.statistics
    assert np.concatenate([part.address for part in parts]).tolist() == address.tolist()
    assert np.concatenate([part.write for part in parts]).tolist() == op.astype(int).tolist()
    for instant in INSTANTS:
        found = np.concatenate([getattr(part, instant) for part in parts])
        assert found.tolist() == getattr(whole, instant).tolist()


def test_a_window_grows_no_further_than_what_waits():
    """A memory that keeps up needs the same room for any number of accesses."""
    rng = np.random.default_rng(0)
    stream = in_window(64, lambda: ReplayStream("hbm2"))
    for part in range(20):
        time = part * 10**9 + np.arange(1000) * 10**6
        stream.feed(time, rng.integers(0, 1 << 20, 1000) * 64, np.zeros(1000, dtype=bool))
    assert len(stream._player._window.run.address) <= 128


def test_times_never_fall_from_part_to_part():
    stream = ReplayStream("hbm2")
    stream.feed([5], [0], [0])
    with pytest.raises(EmuError, match=r"time_ps: found 4 behind 5, expected no falling values"):
        stream.feed([4], [0], [0])


def test_a_stream_has_an_end(monkeypatch):
    monkeypatch.setattr(dram_replay, "MAX_STREAMED", 3)
    stream = ReplayStream("hbm2")
    stream.feed([0, 0], [0, 0], [0, 0])
    with pytest.raises(EmuError, match="address: found more than 3 accesses, the most a stream may have"):
        stream.feed([0, 0], [0, 0], [0, 0])


@given(st.lists(st.lists(st.integers(0, 1 << 40), max_size=300), max_size=8), st.integers(0, 100))
def test_latencies_are_those_of_all(parts, more):
    """Mean, percentile and largest are those of a sorted array, however few are kept."""
    values = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *map(np.array, parts)]).astype(np.int64))
    counted = Latencies(len(values) + more)
    for part in parts:
        counted.count(np.array(part, dtype=np.int64))
    assert counted.mean == (values.mean() if len(values) else 0)
    assert counted.largest == values.max(initial=0)
    assert counted.percentile == (values[-(-99 * len(values) // 100) - 1] if len(values) else 0)


# --- the command --------------------------------------------------------------------------------


def trace_of(path, count, last=""):
    path.write_text("".join(f"{40_000 * n},{'write' if n % 3 == 0 else 'read'},{64 * (n * n % 5000)}\n"
                            for n in range(count)) + last)
    return str(path)


def test_an_error_far_into_a_trace_names_its_line_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    """What came before it was replayed already: no output may hold it."""
    monkeypatch.setattr(dram_trace_csv, "PART", 1 << 14)
    path, out = trace_of(tmp_path / "t.csv", 20_000, "5,read,0\n"), tmp_path / "out.csv"
    for target in (str(out), "-"):
        assert main(["dram", path, "-o", target, "--json", str(tmp_path / "out.json")]) == 101
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err == (f"plena-emu dram: error: trace {path}:20001: time_ps: found 5 behind {40_000 * 19_999},"
                            " expected no falling times\n")
        assert [entry.name for entry in tmp_path.iterdir()] == ["t.csv"]
    out.write_text("before")
    assert main(["dram", path, "-o", str(out)]) == 101
    assert out.read_text() == "before"


def test_parts_of_a_file_change_nothing(tmp_path, capsys, monkeypatch):
    path = trace_of(tmp_path / "t.csv", 5000)
    assert main(["dram", path, "-o", "-"]) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr(dram_trace_csv, "PART", 1000)
    monkeypatch.setattr(dram_replay, "ROOM", 50)
    assert main(["dram", path, "-o", "-"]) == 0
    assert capsys.readouterr().out == whole
    trace = read_trace(path)
    found = replay("hbm2", trace.time, trace.addr, trace.op)
    rows = [f"{issue},{'write' if op else 'read'},{address:#x},{accept},{done}" for issue, op, address, accept, done in
            zip(found.issue_ps, trace.op, trace.addr, found.accept_ps, found.done_ps, strict=True)]
    assert whole.splitlines() == ["time_ps,op,address,accept_ps,done_ps", *rows]


@pytest.mark.parametrize("form", ["csv", "ramulator"])
def test_memory_does_not_grow_with_the_trace(tmp_path, capsys, monkeypatch, form):
    monkeypatch.setattr(dram_trace_csv, "PART", 1 << 14)
    monkeypatch.setattr(dram_trace_files, "PART", 1 << 10)
    monkeypatch.setattr(dram_replay, "ROOM", 1 << 10)
    monkeypatch.setattr(dram_replay, "MAX_STREAMED", 1 << 16)
    peaks = []
    for count in (10_000, 10_000, 40_000):  # the first fills caches
        path = trace_of(tmp_path / "t.csv", count)
        more = []
        if form == "ramulator":
            (tmp_path / "t.csv").write_text("".join(f"LD {64 * n}\n" for n in range(count)))
            more = ["--outstanding", "20"]
        tracemalloc.start()
        assert main(["dram", path, "-o", str(tmp_path / "out.csv"), *more]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (tmp_path / "out.csv").read_bytes().count(b"\n") == count + 1
    assert peaks[2] < 1.1 * peaks[1]
    capsys.readouterr()


numbers = st.one_of(st.integers(0, 99), st.integers(0, (1 << 63) - 1), st.sampled_from([10**k for k in range(19)]))


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, st.booleans(), st.integers(0, (1 << 64) - 1), numbers, numbers), max_size=5))
def test_lines_of_completions(rows):
    issue, write, address, accept, done = (list(column) for column in zip(*rows, strict=True)) if rows else [[]] * 5
    arrays = [np.array(values, dtype=np.int64) for values in (write, issue, accept, done)]
    found = Completions(np.array(address, dtype=np.uint64).view(np.int64), *arrays)
    assert completion_lines(found).decode() == "".join(
        f"{a},{'write' if w else 'read'},{x:#x},{b},{c}\n" for a, w, x, b, c in rows)


def test_nothing_follows_the_end_of_a_stream():
    stream = ReplayStream("hbm2")
    stream.feed([0], [0], [0])
    stream.finish()
    for go_on in (lambda: stream.feed([5], [64], [0]), stream.finish):
        with pytest.raises(UsageError, match="^(feed|finish): found a stream that is finished"):
            go_on()
    assert stream.statistics.reads == 1


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_long_traces_with_any_ends_of_lines(end, tmp_path):
    lines = [f"{i},read,{64 * i}" for i in range(60_000)]
    path = tmp_path / "trace.csv"
    path.write_bytes((end.join(lines) + end).encode())
    with open(path, "rb") as file:
        parts = [address.copy() for _, _, address in read_csv(file, "trace.csv", 1 << 30)]
    assert np.concatenate(parts).tolist() == [64 * i for i in range(60_000)]
    path.write_bytes((end.join([*lines, "1,nonsense"])).encode())
    with open(path, "rb") as file, pytest.raises(EmuError, match="^trace.csv:60001: "):
        for _ in read_csv(file, "trace.csv", 1 << 30):
            pass
