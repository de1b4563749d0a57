"""Is a kept build used only where it is whole, and is what the machine lacks stored for no point?"""

import errno
import json
import os
import shutil
import subprocess

import pytest
from sweep_studies import HERE, Told, lines_of, points_of

from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.models import build_files
from plena_emu.sweeping import builds
from plena_emu.sweeping.engine import EngineOptions
from plena_emu.sweeping.execution import run_points
from plena_emu.sweeping.machine_errors import MachineError, error_of_machine
from plena_emu.sweeping.store import Store
from plena_emu.sweeping.worker import Workshop

TINY = {"model": "tiny", "layers": 1, "prefill": 3, "board": "custom_a7", "clock_mhz": "100,110"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store with a build and the record of one of two points: (store, points, specifier, all records)."""
    store = tmp_path_factory.mktemp("kept") / "s"
    points, specifier = points_of(**TINY)
    whole = lines_of(points, specifier)
    lines_of(points[:1], specifier, store=Store(str(store)))
    return store, points, specifier, whole


def cut_program(build):
    path = build / "generated_machine_code.mem"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:600]))


def flipped_size(build):
    path = build / "hbm_size.txt"
    path.write_text(str(2 * int(path.read_text())))


def without_sums(build):
    (build / builds.SUMS).unlink()


def with_a_file_more(build):
    (build / "weight_manifest.json").write_text("{}")


def without_settings(build):
    (build / "plena_settings.toml").unlink()


def a_folder_for_a_file(build):
    (build / "int_sram.bin").unlink()
    (build / "int_sram.bin").mkdir()


def a_file_for_the_build(build):
    shutil.rmtree(build)
    build.write_text("")


@pytest.mark.parametrize("harm", [cut_program, flipped_size, without_sums, with_a_file_more, without_settings,
                                  a_folder_for_a_file, a_file_for_the_build])
def test_a_damaged_build_is_told_and_compiled_again(harm, kept, tmp_path):
    store, points, specifier, whole = kept
    shutil.copytree(store, tmp_path / "s")
    (build,) = (tmp_path / "s" / "builds").iterdir()
    listed = (build / builds.SUMS).read_bytes()
    harm(build)
    told = Told()
    assert lines_of(points, specifier, store=Store(str(tmp_path / "s")), watcher=told) == whole
    assert told.lines == [f"build {build}: damaged, SHA256SUMS does not fit its files: it is compiled again"]
    assert [path.name for path in build.parent.iterdir()] == [build.name]
    assert builds.is_whole(str(build)) and (build / builds.SUMS).read_bytes() == listed


def test_a_whole_build_is_read_once_and_fits_what_sha256sum_says(kept, tmp_path, monkeypatch):
    store, points, specifier, whole = kept
    shutil.copytree(store, tmp_path / "s")
    (build,) = (tmp_path / "s" / "builds").iterdir()
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", builds.SUMS], cwd=build, check=True)
    assert len((build / builds.SUMS).read_text().splitlines()) == len(list(build.iterdir())) - 1
    checked = []
    real = builds.is_whole
    monkeypatch.setattr(builds, "is_whole", lambda path: checked.append(path) or real(path))
    monkeypatch.setattr(Workshop, "_compile", lambda *_: pytest.fail("compiled"))
    shutil.rmtree(tmp_path / "s" / "records")
    told = Told()
    assert lines_of(points, specifier, store=Store(str(tmp_path / "s")), watcher=told) == whole
    assert checked == [str(build)] and told.lines == []


def test_a_whole_build_of_another_process_stays(tmp_path):
    for name, text in (("made", "new"), ("there", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(text)
    made, there, aside = (str(tmp_path / name) for name in ("made", "there", "aside"))
    builds.seal(made)
    builds.seal(there)
    builds.put_in_place(made, there, aside)
    assert (tmp_path / "there" / "a").read_text() == "old" and os.path.isdir(made) and not os.path.exists(aside)
    (tmp_path / "there" / "a").write_text("odd")
    builds.put_in_place(made, there, aside)
    assert (tmp_path / "there" / "a").read_text() == "new" and (tmp_path / "aside" / "a").read_text() == "odd"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("place", ["build", "seal", "input"])
def test_a_full_disk_ends_a_sweep_and_is_stored_for_no_point(number, place, kept, tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(number, os.strerror(number), "/some/file")

    names = {"build": (build_files, "_write"), "seal": (builds, "seal"),
             "input": (Workshop, "_settings_of_geometry")}
    line = ["sweep", "--model", "tiny", "--layers", "1", "--prefill", "3", "--board", "custom_a7", "--clock-mhz",
            "100,110", "--workers", "0", "--store", str(tmp_path / "s"), "--quiet"]
    with monkeypatch.context() as context:
        context.setattr(*names[place], full)
        assert main(line) == 101
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and os.strerror(number) in said.err and said.out == ""
    assert len(Store(str(tmp_path / "s"))) == 0
    assert main([*line, "--json", str(tmp_path / "j")]) == 0
    found = json.loads((tmp_path / "j").read_text())["points"]
    assert [row["latency_ps"] for row in found] == [record.result["latency_ps"] for record in kept[3].values()]


def test_too_little_room_for_a_build_is_the_machine_s_error(tmp_path):
    with pytest.raises(EmuError, match="are free on its disk") as caught, \
            build_files.replaced_directory(str(tmp_path / "b"), 1 << 62):
        pytest.fail("there is no such disk")
    assert error_of_machine(caught.value).errno == errno.ENOSPC


def test_the_machine_s_error_reaches_whoever_calls(kept, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "full")

    _, points, specifier, _ = kept
    monkeypatch.setattr(build_files, "_write", full)
    with pytest.raises(MachineError, match="cannot write: full: the sweep ends and does not store this for point"):
        run_points(points, specifier, HERE, Store(None), Told())


def test_too_little_memory_is_told_and_tried_again_by_the_next_sweep(kept, tmp_path, monkeypatch):
    def greedy(*arguments):
        raise MemoryError

    _, points, specifier, whole = kept
    with monkeypatch.context() as context:
        context.setattr(Workshop, "_compile", greedy)
        failed = lines_of(points, specifier, store=Store(str(tmp_path)))
    assert {record.failure.kind for record in failed.values()} == {"memory"}
    from plena_emu.sweeping.execution import open_store

    assert lines_of(points, specifier, store=open_store(str(tmp_path), True, False, Told())) == whole


def test_what_is_wrong_with_a_point_is_not_the_machine_s_error():
    assert error_of_machine(FileNotFoundError(errno.ENOENT, "gone")) is None
    assert error_of_machine(ValueError()) is None


def test_no_more_workers_than_points_are_started(monkeypatch):
    """Here none would be needed twice; starting two processes is what tests of the cluster do."""
    asked = []

    def opened(options, most, *_):
        asked.append((options.workers, most))
        raise KeyError

    monkeypatch.setattr("plena_emu.sweeping.cluster.open_cluster", opened)
    points, specifier = points_of(**TINY)
    with pytest.raises(KeyError):
        run_points(points, specifier, EngineOptions(workers=1000), Store(None), Told())
    assert asked == [(1000, 2)]
