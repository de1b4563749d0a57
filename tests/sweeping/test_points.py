"""Are the points of a study its combinations, in order, each with a hash over everything that decides its result?"""

import itertools
import os
import shutil
from pathlib import Path

import pytest
from msgspec import to_builtins as plain
from sweep_studies import LINEAR, lines_of, points_of

import plena_emu
from plena_emu.errors import EmuError
from plena_emu.models.compiler import compile as compile_model
from plena_emu.sweeping.points import assignments, combinations
from plena_emu.sweeping.study import load_study, make_study
from plena_emu.sweeping.worker import Workshop

BOARDS = Path(__file__).resolve().parents[2] / "boards"


def values_of(**axes):
    points, _ = points_of(**axes)
    return [tuple(point.values.values())[1:] for point in points]


def test_combinations_come_in_order_the_last_axis_fastest():
    found = values_of(build=LINEAR, board="custom_a7,v80", ddr_capacity="1M..4M", clock_mhz="100,200")
    assert found == list(itertools.product(["custom_a7", "v80"], [2**20, 2**21, 2**22], [100.0, 200.0]))


def test_conditions_and_zips():
    found = values_of(build=LINEAR, board="custom_a7,v80", clock_mhz="100,200", ddr_capacity="1M,2M",
                      zip=[["board", "clock_mhz"]], where="ddr_capacity > 1M or board == 'v80'")
    assert found == [("custom_a7", 100.0, 2**21), ("v80", 200.0, 2**20), ("v80", 200.0, 2**21)]
    study = make_study({"build": LINEAR, "board": "v80,custom_a7"})
    assert combinations(study) == len(list(assignments(study))) == 2


def test_values_that_are_left_out():
    points, _ = points_of(build=LINEAR, memory_model="hbm", dram=[None, "ddr4"])
    assert [point.values.get("dram") for point in points] == [None, "ddr4"]
    assert "dram" not in points[0].specification and points[0].id != points[1].id


def test_equal_points_have_equal_hashes_wherever_their_files_lie(tmp_path):
    """By content: another place, another name; comments of a board file play no part."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(LINEAR, copy)
    board = tmp_path / "b" / "mine.yaml"
    board.parent.mkdir()
    board.write_text((BOARDS / "custom_a7.yaml").read_text())
    again = tmp_path / "c" / "mine.yaml"
    again.parent.mkdir()
    again.write_text("# another comment\n" + board.read_text())
    first, _ = points_of(build=LINEAR, board=str(board))
    second, _ = points_of(build=str(copy), board=str(again))
    assert [point.id for point in first] == [point.id for point in second]


@pytest.mark.parametrize("name", ["generated_machine_code.mem", "plena_settings.toml", "hbm_addrs.json"])
def test_a_file_that_differs_makes_another_point(name, tmp_path):
    copy = tmp_path / "build"
    shutil.copytree(LINEAR, copy)
    with open(copy / name, "a") as file:
        file.write("\n")
    (first, *_), _ = points_of(build=LINEAR, memory_model="hbm")
    (second, *_), _ = points_of(build=str(copy), memory_model="hbm")
    assert first.id != second.id


def test_each_key_makes_another_point():
    base = {"model": "tiny", "board": "custom_a7"}
    more = [{}, {"layers": 1}, {"prefill": 8}, {"preset": "m16b4"}, {"ddr_capacity": "1M"}, {"clock_mhz": 99},
            {"board__latency__vector_add": 3}, {"dram__timing__tRCD": 7}, {"dram": "ddr4"},
            {"memory_model": "resident"}, {"settings__MLEN": 128}, {"settings__VECTOR_SRAM_SIZE": 100000},
            {"host_bandwidth": "1M"},
            {"latency_profile": "nexys_video_150mhz", "board": "nexys_video"}]
    ids = [points_of(**base | one)[0][0].id for one in more]
    assert len(set(ids)) == len(ids)


def test_a_default_that_is_named_is_no_other_point():
    plain, said = points_of(model="tiny")[0], points_of(model="tiny", prefill=64, preset="m64b16")[0]
    assert plain[0].id == said[0].id


def test_geometry_of_the_settings_names_a_preset():
    points, _ = points_of(model="tiny", settings__MLEN="64,128", settings__BLEN="16,32")
    presets = [point.specification["program"]["options"]["preset"] for point in points]
    assert presets == ["m64b16h64x1", "m64b32h64x1", "m128b16h64x1", "m128b32h64x1"]


@pytest.mark.parametrize("axes, message", [
    ({}, "axes: found neither build nor model"),
    ({"build": LINEAR, "model": "tiny"}, "axes: found both build and model"),
    ({"build": "nowhere"}, "build directory nowhere: not found"),
    ({"build": LINEAR, "layers": 3}, "layers: a build is compiled already"),
    ({"build": [LINEAR, None]}, "build: found no name"),
    ({"model": "nope"}, "model nope"),
    ({"model": "tiny", "layers": "1..99"}, "layers: found 3, expected at most 2"),
    ({"model": "tiny", "preset": "m64b16,m3b1"}, "preset m3b1: expected one of"),
    ({"model": "tiny", "prefill": 3, "past": 4}, "prefill and past exclude each other"),
    ({"build": LINEAR, "board": "v8"}, "unknown board 'v8'"),
    ({"build": LINEAR, "dram": "ddr9"}, "unknown DRAM description 'ddr9'"),
    ({"build": LINEAR, "board.latency.vector_add": 3}, "board.latency.vector_add: needs a board"),
    ({"build": LINEAR, "board": "v80", "board.latency.vectr": 3}, "latency.vectr: found an unknown key"),
    ({"build": LINEAR, "board": "v80", "board.latency.vector_add": "2,-1"}, "latency.vector_add: found -1"),
    ({"build": LINEAR, "board": "v80", "board.lat.vector_add": "2"}, "board.lat: found an unknown key"),
    ({"build": LINEAR, "dram.timing.tRCD": 3}, "dram.timing.tRCD: needs a dram, or a board"),
    ({"build": LINEAR, "board": "custom_a7", "dram.timing.tRCD": "x"}, "timing.tRCD: found 'x'"),
    ({"build": LINEAR, "clock_mhz": 100}, "clock_mhz needs board"),
    ({"build": LINEAR, "board": "v80", "clock_mhz": "100,0"}, "clock_mhz: found 0"),
    ({"build": LINEAR, "board": "v80", "ddr_speed": "1,0"}, "ddr_speed: found 0, expected"),
    ({"build": LINEAR, "board": "v80", "reference_timing": True, "clock_mhz": 100}, "not with reference_timing"),
    ({"build": LINEAR, "settings.MLEN": 64}, "settings.MLEN: a compiled program keeps its geometry"),
    ({"build": LINEAR, "settings.HBM_V_Prefetch_Amount": 64}, "follows from the geometry"),
    ({"build": LINEAR, "settings.HBM_SIZE": 64}, "see the key hbm_size"),
    ({"build": LINEAR, "board": "v80", "settings.VECTOR_ADD_CYCLES": 6}, "the board's latencies replace"),
    ({"build": LINEAR, "settings.VECTOR_AD_CYCLES": 6}, "settings.VECTOR_AD_CYCLES: found an unknown key"),
    ({"build": LINEAR, "settings.VECTOR_SRAM_SIZE": "0"}, "VECTOR_SRAM_SIZE.value: found 0"),
    ({"model": "tiny", "settings.VLEN": 128}, "settings.VLEN: found 128, expected MLEN 64"),
    ({"build": LINEAR, "latency_profile": "nexys_video_150mhz", "board": "v80"}, "is for part"),
    ({"build": LINEAR, "timing": "rtl-v9"}, "unknown timing 'rtl-v9'"),
    ({"build": LINEAR, "board": "v80", "where": "board == 'custom_a7'"}, "where: leaves no point"),
    ({"build": LINEAR, "where": "layers > 2"}, "where 'layers > 2': layers: found no such axis, expected one of build"),
    ({"build": LINEAR, "where": "laers > 2"}, "'laers': found an unknown key"),
    ({"build": LINEAR, "board": "v80", "zip": [["board"]]}, "zip: found fewer than two keys"),
    ({"build": LINEAR, "board": "v80", "zip": [["board", "dram"]]}, "zip: dram: found no such axis"),
    ({"build": LINEAR, "board": "v80,custom_a7", "clock_mhz": 3, "zip": [["board", "clock_mhz"]]}, "board has 2"),
    ({"build": LINEAR, "board": "v80", "clock_mhz": 3, "zip": 2 * [["board", "clock_mhz"]]}, "found twice"),
])
def test_what_is_wrong_is_told_before_anything_runs(axes, message):
    with pytest.raises(EmuError) as raised:
        points_of(**axes)
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("text, message", [
    ("", "study {}: found nothing"),
    ("axes: 3", "study {}: axes: found 3, expected a table"),
    ("axes: {build: x}\nfoo: 1", "study {}: foo: found an unknown key"),
    ("axes: {build: {a: 1}}", "study {}: axes.build"),
    ("axes: {bild: x}", "study {}: 'bild': found an unknown key, expected build perhaps"),
    ("axes: {build: x, ddr_capacity: 4X}", "study {}: ddr_capacity: size '4X'"),
    ("axes: {build: x}\nwhere: 'a >'", "study {}: where 'a >': no condition"),
    ("axes: {build: x}\nsearch: {trials: many}", "study {}: search.trials: found 'many'"),
    ("axes: {build: x\n", "study {}, line 2: not valid YAML"),
    ("axes: {build: x, build: y}", "key 'build' repeated"),
])
def test_what_is_wrong_with_a_file_names_file_and_key(text, message, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(EmuError) as raised:
        load_study(str(path))
    assert message.format(path) in str(raised.value) and "\n" not in str(raised.value)


def test_a_study_file_says_what_a_call_says(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("""
name: two boards
axes:
  model: tiny
  board: [custom_a7, v80]
  ddr_capacity: 2M..8M
  board.latency.vector_add: 2..3
  layers: 1
zip: [[board, board.latency.vector_add]]
where: ddr_capacity > 2M
""")
    study = load_study(str(path), {"layers": 2})
    same = make_study({"model": "tiny", "board": ["custom_a7", "v80"], "ddr_capacity": "2M..8M",
                       "board.latency.vector_add": "2..3", "layers": 2}, [["board", "board.latency.vector_add"]],
                      "ddr_capacity > 2M")
    assert list(assignments(study)) == list(assignments(same)) and len(list(assignments(study))) == 4


@pytest.mark.parametrize("axes, message", [
    ({"board__memory__dram": "nope"}, "^unknown DRAM description 'nope', expected one of"),
    ({"timing": "rtl-v1", "settings__HBM_CHANNELS": 3}, "settings.HBM_CHANNELS 3: HBM_CHANNELS: found 3"),
    ({"vector_sram_rows": 1}, "^vector_sram_rows 1: vector SRAM: the program needs 1348 rows of 64 elements"),
    ({"vector_sram_rows": "4000,1", "layers": "1,2"}, "^vector_sram_rows 1: vector SRAM"),
    ({"image": 3}, "^image 3: image: the text part has no use for it"),
    ({"prefill": "8,9999"}, "^prefill 9999: "),
    ({"layers": 0}, "^layers: found 0"),
    ({"ddr_capacity": "1M", "ddr_speed": 2, "reference_timing": "true"}, "^ddr_speed"),
])
def test_what_only_a_run_would_refuse_is_refused_before(axes, message):
    with pytest.raises(EmuError, match=message):
        points_of(model="tiny", board="custom_a7", **axes)


def test_a_value_that_some_program_has_room_for_is_no_mistake():
    """A long prompt fits one machine and not the other: that point fails, and the study is sound."""
    points, specifier = points_of(model="tiny", vector_sram_rows="700,2000", prefill="8,64")
    assert len(points) == 4
    failed = [record.failure.message for record in lines_of(points, specifier).values() if record.failure]
    assert len(failed) == 1 and failed[0].startswith("vector SRAM: the program needs 1348 rows")


def test_builds_whose_settings_are_alike_share_them(tmp_path):
    """But for HBM_SIZE, which hbm_size.txt beats; their results are those of runs alone."""
    builds = [str(tmp_path / name) for name in ("short", "long", "other")]
    for build, preset, prefill in zip(builds, ("m64b16", "m64b16", "m16b4"), (8, 24, 8), strict=True):
        compile_model("tiny", build, layers=1, prefill=prefill, preset=preset, weights="none")
    with open(os.path.join(builds[0], "plena_settings.toml")) as file:
        assert f"HBM_SIZE = {{ value = {Path(builds[0], 'hbm_size.txt').read_text().strip()} }}" in file.read()
    points, specifier = points_of(build=builds, board="custom_a7")
    workshop = Workshop(specifier.snapshots)
    try:
        short, long, other = [workshop.request(point.specification).settings_path for point in points]
        assert short == long != other
        for build, point in zip(builds, points, strict=True):
            result, _ = workshop.execute(point.specification)
            alone = plena_emu.run(build, board="custom_a7", timing_only=True, stages=False)
            assert (result["latency_ps"], result["geometry"]) == (alone.latency_ps, plain(alone.geometry))
            assert result["warnings"] == [line.replace(f"{build}/", "") for line in alone.warnings]
    finally:
        workshop.close()
