"""Boards and emulated runs: the published case, regimes around each threshold, bounds of the plan (§3.9, §6)."""

import json
import lzma
import pathlib

import msgspec
import pytest

from plena_emu.boards import load_board
from plena_emu.config.apply_board import apply_board
from plena_emu.logs import Log
from plena_emu.manifests.footprint import footprint
from plena_emu.manifests.generate import generate, manifest_json
from plena_emu.manifests.schema import load_manifest
from plena_emu.profiler.compute_bound import compute_cycles_of
from plena_emu.profiler.sources import static_profile
from plena_emu.request import RunRequest
from plena_emu.running.board_part import Overlay
from plena_emu.running.planning import make_plan
from plena_emu.running.runner import execute

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests"
PUBLISHED = "base_clm60m_dec_L1_m256b64_a7"
PROGRAMS = sorted(path.parent.name for path in GOLDEN.glob("*/generated_machine_code.mem.xz"))
REGIMES = ("resident", "kv-swap", "weight-stream")
A7 = load_board("custom_a7")


@pytest.fixture(scope="module", params=PROGRAMS)
def program(request, tmp_path_factory):
    """Build directory of a golden program, for timing alone."""
    return unpack(request.param, tmp_path_factory)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return unpack(PUBLISHED, tmp_path_factory)


def unpack(name, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / name
    folder.mkdir()
    packed = (GOLDEN / name / "generated_machine_code.mem.xz").read_bytes()
    (folder / "generated_machine_code.mem").write_bytes(lzma.decompress(packed))
    for file in ("plena_settings.toml", "hbm_size.txt", "weight_manifest.json", "expected.json"):
        (folder / file).write_bytes((GOLDEN / name / file).read_bytes())
    return folder


def timing(folder, model, manifest="weight_manifest.json", bandwidth=1500000000, capacity=None,
           settings="plena_settings.toml", board=None):
    """Result of a run without data."""
    return execute(RunRequest(
        opcode=str(folder / "generated_machine_code.mem"), timing_only=True, dump_dir=None,
        settings_path=str(folder / settings), hbm_size=int((folder / "hbm_size.txt").read_text()),
        memory_model=model, weight_manifest=str(folder / manifest), host_bandwidth=bandwidth, ddr_capacity=capacity,
        board=board,
    ), Log("off"))


def test_the_published_case(published):
    """clm60m, one layer, MLEN 256, custom_a7: the figures of the goldens, from the board and the build alone."""
    manifest, report = generate(GOLDEN / PUBLISHED, A7)
    assert report.regions == {"weight": 9, "kv": 4, "activation": 6} and report.sizes_from["hbm_sizes"] == 19
    (published / "made.json").write_text(manifest_json(manifest))
    runs = {model: timing(published, model, "made.json", A7.host_bandwidth) for model in (*REGIMES, "auto")}
    assert {run.bytes_read for run in runs.values()} == {6144000}
    assert runs["kv-swap"].model_statistics["kv_swapped_bytes"] == 884736
    assert runs["weight-stream"].model_statistics["weight_streamed_bytes"] == 4259840
    assert runs["auto"].regime == "resident"
    golden = {run["id"]: run["latency_ps"] for run in json.loads((published / "expected.json").read_text())["runs"]}
    assert {model: run.latency_ps for model, run in runs.items()} == {model: golden[model] for model in runs}


def test_bytes_read_are_conserved_and_regimes_change_at_the_thresholds(program):
    """`auto` at every threshold, one byte more and one byte less; the same bytes are read in every regime."""
    manifest = load_manifest(str(program / "weight_manifest.json"))
    found = footprint(manifest.regions)
    (program / "open.json").write_text(manifest_json(msgspec.structs.replace(manifest, ddr_capacity_bytes=None)))
    expected = {
        found.total + 1: "resident", found.total: "resident", found.total - 1: "kv-swap",
        found.weight + 1: "kv-swap", found.weight: "kv-swap", found.weight - 1: "weight-stream", 0: "weight-stream",
    }
    read = {timing(program, regime).bytes_read for regime in REGIMES}
    for capacity, regime in expected.items():
        run = timing(program, "auto", "open.json", capacity=capacity)
        assert run.regime == regime == make_plan(
            manifest_without_capacity(manifest), A7, Overlay(ddr_capacity=capacity)).regime
        read.add(run.bytes_read)
    assert len(read) == 1


def manifest_without_capacity(manifest):
    return msgspec.structs.replace(manifest, ddr_capacity_bytes=None)


@pytest.mark.parametrize("bandwidth", [4_750_000, 60_000_000, 20_000_000_000])
def test_bounds_of_the_plan_hold_for_runs(program, bandwidth):
    manifest = load_manifest(str(program / "weight_manifest.json"))
    compute, _ = compute_cycles_of(str(program), A7)
    plan = make_plan(manifest, A7, Overlay(host_bandwidth=bandwidth), compute=compute)
    for row in plan.regimes:
        run = timing(program, row.regime, bandwidth=bandwidth, board="custom_a7")
        assert run.compute_ps == plan.compute_ps == row.run_ps - row.memory_ps
        moved = run.model_statistics["kv_swapped_bytes"] + run.model_statistics["weight_streamed_bytes"]
        assert row.link_bytes <= moved
        assert row.run_ps <= run.end_ps and 1000 * row.link_ns <= run.end_ps


@pytest.mark.parametrize("board, profile", [("custom_a7", None), ("nexys_video", "nexys_video_150mhz"), ("v80", None)])
def test_profile_and_run_agree_on_a_board(published, board, profile):
    """With the board applied to the settings, the run's compute time is the profile's with the board's latencies."""
    board = load_board(board, profile)
    (published / "applied.toml").write_text(apply_board((published / "plena_settings.toml").read_text(), board))
    run = timing(published, "resident", settings="applied.toml")
    compute, warnings = compute_cycles_of(str(published), board)
    assert run.compute_ps == 1000 * compute.total == 1000 * static_profile(str(published), board).compute_cycles
    assert warnings == []
