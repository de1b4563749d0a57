"""Does a store keep records whole, tell what was damaged, and serve two sweeps?"""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_studies import CLM, HERE, LINEAR, Told, lines_of, points_of, unpacked_clm

from plena_emu.errors import EmuError
from plena_emu.sweeping import fingerprint
from plena_emu.sweeping.execution import open_store, run_points
from plena_emu.sweeping.records import FORMAT, Failure, Record, decode, encode, identity_of
from plena_emu.sweeping.store import Store

AXES = {"build": LINEAR, "memory_model": "resident,weight-stream", "host_bandwidth": "1M..8M"}


def record(identity="a" * 32, **fields):
    return Record(id=identity, emulator="1", specification={"program": {"build": "b"}, "run": {}}, **fields)


def files_of(store):
    return sorted((store / "records").iterdir())


def test_a_record_comes_back_as_it_was():
    whole = record(result={"latency_ps": 2**62, "text": "a\nb\u2028"}, versions={"python": "3"})
    line = encode(whole)
    assert line.count(b"\n") == 1 and decode(line) == whole and identity_of(line) == whole.id and whole.format == FORMAT


@given(st.data())
def test_no_damaged_line_is_read(data):
    line = encode(record(result={"latency_ps": 12345, "warnings": []}))
    at = data.draw(st.integers(0, len(line) - 2))
    cut = data.draw(st.booleans())
    changed = line[:at] if cut else line[:at] + bytes([line[at] ^ (1 << data.draw(st.integers(0, 6)))]) + line[at + 1:]
    found = decode(changed)
    assert found is None or found == decode(line)  # a key of the envelope may be spelt otherwise, the record may not


def test_a_resumed_sweep_runs_what_is_missing_only(tmp_path):
    points, specifier = points_of(**AXES)
    store = str(tmp_path / "s")
    told = Told()
    first = lines_of(points[:3], specifier, store=Store(store))
    again = lines_of(points, specifier, store=Store(store), watcher=told)
    assert told.plans == [(8, 3)] and told.count == 5 and first.items() <= again.items()
    assert again == lines_of(points, specifier)
    run_points(points, specifier, HERE, Store(store), told)
    assert told.count == 5 and told.plans[-1] == (8, 8)


def test_damaged_records_are_told_and_run_again(tmp_path):
    points, specifier = points_of(**AXES)
    whole = lines_of(points, specifier, store=Store(str(tmp_path)))
    path = max(files_of(tmp_path), key=lambda path: path.stat().st_size)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = lines[2].replace(b'"latency_ps":', b'"latency_ps":1', 1)
    assert damaged != lines[2]
    path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:-1], lines[-1][:100]]))
    told = Told()
    store = Store(str(tmp_path), told.said)
    assert len(store) == 6 and f"{path}: 2 of {len(lines)} records are damaged" in told.lines[0]
    assert lines_of(points, specifier, store=store, watcher=told) == whole and told.count == 2


def opened(folder):
    """What opening a store says."""
    told = Told()
    Store(str(folder), told.said)
    return told.lines


@pytest.mark.parametrize("harm", ["first", "only", "appended", "empty"])
def test_a_damaged_file_is_told_until_its_points_have_run_again(harm, tmp_path):
    """Once they have, sound records are in another file, and the damaged one is kept where nobody reads it.

    A file is named by what it held: records that come again can have the name of the damaged file.
    """
    points, specifier = points_of(**AXES)
    whole = lines_of(points, specifier, store=Store(str(tmp_path)))
    few, many = sorted(files_of(tmp_path), key=lambda path: path.stat().st_size)
    path = few if harm in ("only", "empty") else many
    data = path.read_bytes()
    path.write_bytes({"first": b"x" + data, "only": data[:-5], "appended": data + b"x", "empty": b""}[harm])
    assert len(opened(tmp_path)) == 1 == len(opened(tmp_path))
    store = Store(str(tmp_path))
    if harm == "appended":  # nothing is missing: the next record mends it
        store.add([encode(record())])
    assert lines_of(points, specifier, store=store) == whole
    assert opened(tmp_path) == []
    told = Told()
    assert lines_of(points, specifier, store=Store(str(tmp_path)), watcher=told) == whole and told.count == 0
    kept = [path for path in files_of(tmp_path) if path.name.endswith(".jsonl.damaged")]
    assert len(kept) == (harm == "first")


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"{}\n", b'{"digest":"x","record":{}}\n', b"[" * 100_000])
def test_a_file_that_holds_no_records_is_told(content, tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "x.jsonl").write_bytes(content)
    told = Told()
    assert len(Store(str(tmp_path), told.said)) == 0 and len(told.lines) == 1


def test_files_that_were_cut_while_written_have_no_name(tmp_path, monkeypatch):
    """What cannot be written leaves the store as it was."""
    points, specifier = points_of(**AXES)
    store = Store(str(tmp_path))
    lines_of(points[:2], specifier, store=store)
    before = files_of(tmp_path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(EmuError, match="cannot write: No space left on device"):
        run_points(points, specifier, HERE, store, Told())
    monkeypatch.undo()
    assert files_of(tmp_path) == before
    told = Told()
    again = Store(str(tmp_path), told.said)
    assert len(again) == 2 and told.lines == []
    assert lines_of(points, specifier, store=again) == lines_of(points, specifier)


def test_two_stores_on_one_directory_see_each_other(tmp_path):
    points, specifier = points_of(**AXES)
    one, other = Store(str(tmp_path)), Store(str(tmp_path))
    lines_of(points[:4], specifier, store=one)
    assert points[0].id not in other
    other.refresh()
    assert points[0].id in other
    told = Told()
    lines_of(points, specifier, store=other, watcher=told)
    assert told.count == 4


def test_failures_are_rows_and_are_run_again_as_asked(tmp_path):
    points, specifier = points_of(model="tiny", isa="base,moe")
    store = Store(str(tmp_path))
    lines_of(points, specifier, store=store)
    failed = store.get(points[1].id)
    assert failed.result is None and failed.failure.kind == "error" and "no multiple of 64" in failed.failure.message
    store.add([encode(record(failure=Failure(kind="died", message="three died")))])
    assert len(Store(str(tmp_path))) == 3
    assert len(open_store(str(tmp_path), True, False, Told())) == 2
    assert len(open_store(str(tmp_path), True, True, Told())) == 1


def test_an_error_inside_is_a_row_too(monkeypatch):
    from plena_emu.sweeping.worker import Workshop

    def broken(*arguments):
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(Workshop, "execute", broken)
    points, specifier = points_of(build=LINEAR, memory_model="hbm")
    (found,) = lines_of(points, specifier).values()
    assert found.failure.kind == "internal" and found.failure.message.endswith("ZeroDivisionError: by zero")


def test_a_store_of_another_emulator_answers_nothing(tmp_path, monkeypatch):
    points, specifier = points_of(**AXES)
    lines_of(points, specifier, store=Store(str(tmp_path)))
    monkeypatch.setattr("plena_emu.sweeping.specify.emulator_fingerprint", lambda: "0.9-another")
    fresh, specifier = points_of(**AXES)
    store = Store(str(tmp_path))
    assert len(store) == 8 and not any(point.id in store for point in fresh)


def test_the_fingerprint_is_over_what_decides_and_nothing_else():
    names = {f"{package}/{name}" for package, root in (("", "emu"), ("kernels", "kernels"), ("boards", "boards"))
             for name, _ in fingerprint._sources(str(CLM.parents[2].parent / root), package)}
    assert {"/request.py", "/running/runner.py", "kernels/control/control.py", "boards/custom_a7.yaml"} <= names
    assert not any("cli/" in name or "report/" in name or "sweeping/" in name for name in names)


@pytest.mark.parametrize("resume, message", [(True, "nothing to resume"), (False, "found a file, expected a")])
def test_what_is_no_store(resume, message, tmp_path):
    path = tmp_path / "s"
    if not resume:
        path.write_text("x")
    with pytest.raises(EmuError, match=message):
        open_store(str(path), resume, False, Told())
    if resume:
        path.mkdir()
        with pytest.raises(EmuError, match="holds no record"):
            open_store(str(path), True, False, Told())


def test_records_name_no_place_of_this_machine(tmp_path):
    """Neither files that were laid out nor the package: the bytes are the same wherever a point runs."""
    build = unpacked_clm(tmp_path)
    board = tmp_path / "mine.yaml"
    board.write_text((CLM.parents[3] / "boards" / "custom_a7.yaml").read_text())
    points, specifier = points_of(build=build, board=f"{board},custom_a7", board__latency__vector_add="2..3",
                                  dram__timing__tRCD="6..7", settings__MAX_LOOP_INSTRUCTIONS="100,100000")
    one, other = (lines_of(points, specifier) for _ in range(2))
    assert one == other and len(one) == 16
    text = b"".join(encode(found) for found in one.values()).decode()
    assert "/tmp" not in text and str(tmp_path) not in text and str(CLM.parents[3]) not in text
    assert "mine.yaml" in text and any(found.failure for found in one.values())
