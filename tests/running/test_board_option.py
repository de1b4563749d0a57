"""Does `plena-emu run --board` do to a run what §6.2 says, and say so in its record?"""

import json
import lzma
import pathlib
import shutil
import subprocess
import sys
import tarfile

import msgspec
import pytest
import yaml
from oracle.goldens import find
from support import write_settings

from plena_emu.boards import load_board
from plena_emu.cli.main import main
from plena_emu.config.apply_board import latency_key
from plena_emu.errors import UsageError
from plena_emu.kernels.compiler import modes
from plena_emu.manifests.footprint import footprint
from plena_emu.manifests.generate import manifest_json
from plena_emu.manifests.schema import load_manifest
from plena_emu.precompile import kernels_of, make_ready
from plena_emu.request import RunRequest

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests"
PUBLISHED = "base_clm60m_dec_L1_m256b64_a7"
SMALL = "base_clm60m_dec_L1_m64b16_a7"
STOCK = "base_clm60m_dec_L4_m64b16"  # settings of another machine than any board
MiB = 2**20
TOP = 2**64 - 1

pytestmark = pytest.mark.usefixtures("empty_directory")


def unpack(name, folder):
    """Build directory of a golden program without its preloads: runs are of timing alone."""
    build = folder / name
    build.mkdir()
    packed = (GOLDEN / name / "generated_machine_code.mem.xz").read_bytes()
    (build / "generated_machine_code.mem").write_bytes(lzma.decompress(packed))
    for file in ("plena_settings.toml", "hbm_size.txt", "weight_manifest.json", "hbm_addrs.json", "hbm_sizes.json",
                 "tensor_layouts.json", "expected.json"):
        shutil.copy(GOLDEN / name / file, build / file)
    return build


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    return {name: unpack(name, folder) for name in (PUBLISHED, SMALL, STOCK)}


@pytest.fixture
def run(builds, capsys):
    """`run(build, *flags)` -> (status, record or None, lines on standard error)."""

    def call(build, *flags):
        folder = builds.get(build, build)
        capsys.readouterr()
        status = main(["run", str(folder), "--timing-only", "--json", "-", *map(str, flags)])
        shown = capsys.readouterr()
        return status, json.loads(shown.out) if shown.out else None, shown.err.splitlines()

    return call


def refused(argv, capsys):
    """Last line on standard error of a command line that argparse refuses."""
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def manifest_with(builds, name, capacity, path):
    """The program's manifest with another capacity of its own, or none."""
    manifest = load_manifest(str(builds[name] / "weight_manifest.json"))
    path.write_text(manifest_json(msgspec.structs.replace(manifest, ddr_capacity_bytes=capacity)))
    return path


# --- the published case -------------------------------------------------------------------------------------

PUBLISHED_STATISTICS = {
    "auto": {"regime": "resident", "resident_bytes": 6144000},
    "resident": {"regime": "resident", "resident_bytes": 6144000},
    "kv-swap": {"regime": "kv-swap", "kv_swapped_bytes": 884736},
    "weight-stream": {"regime": "weight-stream", "weight_streamed_bytes": 4259840},
}


@pytest.mark.parametrize("model", PUBLISHED_STATISTICS)
def test_the_published_case(run, model):
    """With --reference-timing, board and model alone give the golden's latency: no flag for capacity or bandwidth."""
    status, record, errors = run(PUBLISHED, "--board", "custom_a7", "--memory-model", model, "--reference-timing")
    golden = {entry["id"]: entry for entry in json.loads((GOLDEN / PUBLISHED / "expected.json").read_text())["runs"]}
    assert status == 0 and record["bytes_read"] == 6144000
    assert record["latency_ps"] == golden[model]["latency_ps"]
    assert record["model_line"] == golden[model]["model_statistics"]
    assert PUBLISHED_STATISTICS[model].items() <= record["model_statistics"].items()
    assert record["limits"] == {
        "ddr_capacity_bytes": 512 * MiB, "ddr_capacity_from": "weight manifest",
        "host_bandwidth_bytes_per_s": 1500000000, "host_bandwidth_from": "board custom_a7",
    }
    assert record["board"]["changes"] == []  # the golden's settings are the board's already
    assert record["board"]["tile_hints"] == [{"batch": 1, "status": "exceeds_resources"}]
    assert errors == ["warning: MLEN 256, VLEN 256, BLEN 64 exceeds the resources of board custom_a7 (its tile hints)"]


@pytest.mark.parametrize("board, warned", [("custom_a7", True), ("v80", False)])
def test_an_hbm_on_a_board_without_one_is_said(run, board, warned):
    """In the reference's time the model hbm is an HBM2, whatever the board has; in the board's it is its part."""
    flags = ["--memory-model", "hbm", "--max-instructions", "20"]
    assert run(SMALL, "--board", board, *flags)[1]["warnings"] == []
    status, record, errors = run(SMALL, "--board", board, *flags, "--reference-timing")
    line = (f"board {board} has ddr3_1600 memory, the model hbm times an HBM2: for the board's DDR choose"
            " --memory-model auto")
    assert status == 3 and (f"warning: {line}" in errors) == (line in record["warnings"]) == warned


def test_the_published_case_with_its_data(tmp_path):
    """The whole program with its dumps, as the worked example of docs/boards.md runs it."""
    archive = find(PUBLISHED)
    if archive is None:
        pytest.skip(f"{PUBLISHED}: its preloads are only in ../shared/golden/programs, which is not there")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    build = tmp_path / PUBLISHED
    (build / "weight_manifest.json").unlink()
    assert main(["manifest", str(build), "--board", "custom_a7"]) == 0
    out = tmp_path / "record.json"
    argv = ["run", str(build), "--board", "custom_a7", "--memory-model", "auto", "--quiet", "--json", str(out),
            "--reference-timing"]
    assert main(argv) == 0
    record = json.loads(out.read_text())
    assert record["latency_ps"] == 1330774705 and record["regime"] == "resident"
    assert [dump["name"] for dump in record["dumps"]] == ["mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin"]


# --- settings -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name, column", [("nexys_video", "dc_lib_dis"), ("custom_a7", "dc_lib_dis"),
                                          ("v80", "dc_lib_en")])
def test_latencies_and_dc_en_change_and_nothing_else(run, builds, name, column):
    """Compute time is that of the board's latencies; geometry and the file stay; the record says what was replaced."""
    board = load_board(name)
    text = (builds[STOCK] / "plena_settings.toml").read_bytes()
    plain = run(STOCK, "--memory-model", "resident")[1]
    status, record, _ = run(STOCK, "--board", name, "--memory-model", "resident", "--reference-timing")
    assert status == 0 and record["geometry"] == plain["geometry"]
    assert (builds[STOCK] / "plena_settings.toml").read_bytes() == text
    assert record["instruction_counts"] == plain["instruction_counts"]
    assert plain["board"] is None and plain["sources"]["board"] is None
    assert record["sources"]["board"] == record["board"]["file"] == board.source
    changes = {change["key"]: change["after"] for change in record["board"]["changes"]}
    allowed = {f"TRANSACTIONAL.LATENCY.{latency_key(unit)}.{column}": getattr(board.latency, unit)
               for unit in board.latency.__struct_fields__ if unit != "dc_lib_en"}
    allowed["TRANSACTIONAL.CONFIG.DC_EN.value"] = int(board.latency.dc_lib_en)
    assert changes.items() <= allowed.items()
    assert all(change["before"] != change["after"] for change in record["board"]["changes"])
    assert bool(changes) == (record["compute_ps"] != plain["compute_ps"])


def test_compute_time_is_that_of_the_profile(run, builds, capsys):
    for flags in (["--board", "custom_a7"], ["--board", "v80"],
                  ["--board", "nexys_video", "--latency-profile", "nexys_video_150mhz"]):
        _, record, _ = run(STOCK, *flags, "--memory-model", "resident")
        assert main(["profile", str(builds[STOCK]), *flags, "--json"]) == 0
        profile = json.loads(capsys.readouterr().out)
        assert record["compute_ps"] == profile["compute_ps"]
        assert record["compute_ps"] == record["board"]["core_period_ps"] * profile["compute_cycles"]
        assert record["board"]["clock_mhz"] == profile["clock_mhz"]
        assert record["board"]["latency_profile"] == (flags[3] if len(flags) > 2 else None)


def test_a_board_over_the_built_in_defaults(run, builds, tmp_path):
    """Where no settings file is there, the board's latencies replace those of the built-in defaults."""
    build = tmp_path / "build"
    build.mkdir()
    (build / "generated_machine_code.mem").write_text("")
    status, record, errors = run(build, "--board", "custom_a7", "--memory-model", "resident", "--weight-manifest",
                                 builds[SMALL] / "weight_manifest.json")
    assert status == 0 and record["sources"]["settings_origin"] == "built-in defaults"
    assert {"key": "v_add", "before": 2, "after": 9} in record["board"]["changes"]
    assert record["latency_ps"] == 0 == record["board_time_ps"]


def test_the_record_says_what_named_the_settings(run, builds, tmp_path):
    assert run(SMALL, "--memory-model", "resident")[1]["sources"]["settings_origin"] == "build directory"
    copy = shutil.copy(builds[SMALL] / "plena_settings.toml", tmp_path / "mine.toml")
    sources = run(SMALL, "--memory-model", "resident", "--settings", copy)[1]["sources"]
    assert (sources["settings"], sources["settings_origin"]) == (str(copy), "--settings")


# --- geometry -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("flag", ["--mlen", "--vlen", "--blen", "--hlen", "--broadcast-amount"])
@pytest.mark.parametrize("value", [["64"], []])
def test_geometry_flags_are_refused(builds, flag, value, capsys):
    line = refused(["run", str(builds[SMALL]), "--board", "custom_a7", flag, *value], capsys)
    assert f"{flag}: a compiled program keeps its geometry; board-settings sets it" in line


@pytest.mark.parametrize("build, board, statuses, words", [
    (SMALL, "custom_a7", ["proven"], "proven at batch 1"),
    (SMALL, "nexys_video", ["proven", "proven"], "proven at batch 1, proven at batch 2"),
    (PUBLISHED, "v80", ["proven", "untested"], "proven at batch 1, untested at batch 2"),
    (PUBLISHED, "nexys_video", ["exceeds_resources"], "exceeds_resources at batch 1"),
    ("m16", "custom_a7", [], "none for this geometry"),
])
def test_the_tile_hint_is_shown(run, builds, tmp_path, capsys, build, board, statuses, words):
    flags = ["--board", board, "--memory-model", "resident"]
    if build == "m16":
        build = SMALL
        (tmp_path / "empty.mem").touch()
        flags += ["--settings", write_settings(tmp_path / "m16.toml"), "--opcode", str(tmp_path / "empty.mem")]
    _, record, errors = run(build, *flags)
    assert [hint["status"] for hint in record["board"]["tile_hints"]] == statuses
    assert any("exceeds the resources" in line for line in errors) == ("exceeds_resources" in statuses)
    assert main(["run", str(builds[build]), "--timing-only", *flags]) == 0
    assert words in capsys.readouterr().out


# --- DDR capacity -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("board", [None, "custom_a7", "v80"])
@pytest.mark.parametrize("flag", [None, 3 * MiB, TOP])
@pytest.mark.parametrize("own", [None, 4 * MiB, TOP])
@pytest.mark.parametrize("model", ["auto", "layer-swap"])
def test_which_capacity_counts(run, builds, tmp_path, board, flag, own, model):
    """Without a board the manifest's own, the flag, the default; with one the flag, the board (§10.1).

    The manifest's own does not count for layer-swap (§3.8). One warning says which value is not used; the drop-in
    gives none for layer-swap, as the reference.
    """
    flags = ["--memory-model", model, "--host-bandwidth", "1500000000",
             "--weight-manifest", manifest_with(builds, SMALL, own, tmp_path / "manifest.json")]
    flags += ["--board", board] if board else []
    flags += ["--ddr3-capacity", flag] if flag else []
    status, record, errors = run(SMALL, *flags)
    last = {None: (512 * MiB, "default"), "custom_a7": (512 * MiB, "board custom_a7"), "v80": (2**35, "board v80")}
    stated = own if model == "auto" else None
    counts = (flag, "--ddr3-capacity") if flag else last[board]
    if stated and not board:
        counts = (own, "weight manifest")
    limits = record["limits"]
    assert status == 0 and (limits["ddr_capacity_bytes"], limits["ddr_capacity_from"]) == counts
    assert record["model_statistics"]["capacity_bytes"] == counts[0]
    expected = []
    if board and stated and own != counts[0]:
        expected = [f"warning: the weight manifest's DDR capacity of {own} bytes is not used: {counts[1]} says"
                    f" {counts[0]}"]
    if not board and stated and flag and own != flag:
        expected = [f"warning: --ddr3-capacity {flag} is not used: the weight manifest states {own} bytes, which"
                    " counts"]
    if model == "layer-swap" and own not in (None, counts[0]):
        expected = [f"warning: the weight manifest's DDR capacity of {own} bytes is not used: layer-swap takes that of"
                    f" {counts[1]}, {counts[0]}"]
    assert [line for line in errors if "capacity" in line] == expected


@pytest.mark.parametrize("spelling", ["--ddr3-capacity", "--ddr-capacity"])
def test_both_spellings_of_the_capacity(run, builds, tmp_path, spelling):
    path = manifest_with(builds, SMALL, None, tmp_path / "manifest.json")
    flags = ["--board", "custom_a7", "--memory-model", "auto", "--weight-manifest", path]
    _, record, _ = run(SMALL, *flags, spelling, "2M")
    assert record["limits"]["ddr_capacity_bytes"] == 2 * MiB and record["regime"] == "weight-stream"


def test_host_stream_and_hbm_know_no_capacity(run):
    _, record, _ = run(SMALL, "--memory-model", "host-stream", "--board", "custom_a7")
    assert record["limits"]["ddr_capacity_bytes"] is record["limits"]["ddr_capacity_from"] is None
    status, record, errors = run(SMALL, "--max-instructions", "20", "--board", "v80", "--memory-model", "hbm")
    assert status == 3 and record["limits"] is None and record["board"]["name"] == "v80"
    assert record["sources"]["weight_manifest"] is None


@pytest.mark.parametrize("build", [PUBLISHED, SMALL, STOCK])
def test_auto_at_each_threshold(run, builds, tmp_path, build):
    """Exactly equal and one byte less, by flag and by the manifest's own capacity; plan says the same."""
    found = footprint(load_manifest(str(builds[build] / "weight_manifest.json")).regions)
    regimes = {found.total: "resident", found.total - 1: "kv-swap", found.weight: "kv-swap",
               found.weight - 1: "weight-stream"}
    read = set()
    for capacity, regime in regimes.items():
        flagged = manifest_with(builds, build, None, tmp_path / "open.json")
        stated = manifest_with(builds, build, capacity, tmp_path / "stated.json")
        for flags in (["--weight-manifest", flagged, "--ddr3-capacity", capacity], ["--weight-manifest", stated]):
            _, record, _ = run(build, "--board", "custom_a7", "--memory-model", "auto", "--reference-timing", *flags)
            assert record["regime"] == regime and record["limits"]["ddr_capacity_bytes"] == capacity
            read.add(record["bytes_read"])
    assert len(read) == 1


# --- host link ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("board, flag, expected", [
    (None, None, (60000000, "default")), (None, 7000000, (7000000, "--host-bandwidth")),
    ("nexys_video", None, (4750000, "board nexys_video")), ("custom_a7", 7000000, (7000000, "--host-bandwidth")),
    ("v80", 7000000, (7000000, "--host-bandwidth")),
])
def test_bandwidth_of_flag_then_board(run, board, flag, expected):
    flags = (["--board", board] if board else []) + (["--host-bandwidth", flag] if flag else [])
    _, record, _ = run(SMALL, "--memory-model", "layer-swap", *flags)
    limits, statistics = record["limits"], record["model_statistics"]
    assert (limits["host_bandwidth_bytes_per_s"], limits["host_bandwidth_from"]) == expected
    assert statistics["swaps"] == 1
    assert statistics["swap_ns"] == statistics["swapped_bytes"] * 10**9 // expected[0]


@pytest.mark.parametrize("model, capacity, needs", [
    ("hbm", None, False), ("resident", None, False), ("auto", None, False), ("host-stream", None, True),
    ("layer-swap", None, True), ("kv-swap", None, True), ("weight-stream", None, True), ("auto", "kv-swap", True),
    ("auto", "weight-stream", True),
])
def test_a_board_without_a_link(run, builds, tmp_path, model, capacity, needs):
    """Models that use the link stop and say so; `auto` only where it settles on a regime that uses it."""
    found = footprint(load_manifest(str(builds[SMALL] / "weight_manifest.json")).regions)
    own = {None: None, "kv-swap": found.weight, "weight-stream": 0}[capacity]
    path = manifest_with(builds, SMALL, None, tmp_path / "manifest.json")
    flags = ["--board", "v80", "--memory-model", model, "--weight-manifest", path]
    flags += ["--max-instructions", "500"] if model == "hbm" else []
    flags += [] if own is None else ["--ddr-capacity", own]
    status, record, errors = run(SMALL, *flags)
    if needs:
        what = model if capacity is None else f"auto settles on {capacity}, which"
        assert status == 101 and record is None
        assert errors == [f"plena-emu run: error: board v80 has no host link: {what} needs --host-bandwidth"]
        status, record, _ = run(SMALL, *flags, "--host-bandwidth", "1000000000")
        assert status == 0 and record["limits"]["host_bandwidth_from"] == "--host-bandwidth"
    else:
        assert status in (0, 3)
        assert record["limits"] is None or record["limits"]["host_bandwidth_bytes_per_s"] is None


# --- latency on the board -----------------------------------------------------------------------------------

@pytest.mark.parametrize("flags, mhz, period", [
    (["--board", "custom_a7"], 100, 10000), (["--board", "v80", "--host-bandwidth", "1000000000"], 400, 2500),
    (["--board", "nexys_video", "--latency-profile", "nexys_video_150mhz"], 150, 6667),
])
def test_the_time_on_the_board(run, builds, capsys, flags, mhz, period):
    """Compute counts cycles of the board's clock; compute, memory and what is pending at the end sum to the time."""
    _, record, _ = run(SMALL, *flags, "--memory-model", "kv-swap")
    reference = run(SMALL, *flags, "--memory-model", "kv-swap", "--reference-timing")[1]
    board, time = record["board"], record["board_time_ps"]
    assert (board["clock_mhz"], board["core_period_ps"], board["core_period_exact"]) == (mhz, period, mhz != 150)
    assert record["time_basis"] == "board" and record["latency_ps"] == time == round(1e9 * record["board_time_ms"])
    assert record["compute_ps"] * 1000 == reference["compute_ps"] * period
    assert record["compute_ps"] + record["memory_ps"] + record["housekeeping_ps"] == time
    assert record["cycles"] == time / period
    statistics = record["model_statistics"]
    assert record["link_busy_ps"] >= 1000 * statistics["kv_swapped_bytes"] * 10**9 // int(
        record["limits"]["host_bandwidth_bytes_per_s"]) - 1000 * statistics["kv_swaps"]
    assert reference["time_basis"] == "reference" and reference["board_time_ps"] is reference["board_time_ms"] is None
    assert reference["board"]["core_period_ps"] == 1000 and reference["board"]["part"] is None
    assert main(["run", str(builds[SMALL]), "--timing-only", *flags, "--memory-model", "kv-swap"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{time // 10**9}.{time % 10**9:09d} ms on {board['name']} at {mhz} MHz"
    shown = {line.split("  ")[0]: line for line in lines[:4]}
    for name, figure in (("compute", record["compute_ps"]), ("memory", record["memory_ps"])):
        assert f"{figure // 10**9}.{figure % 10**9:09d} ms" in shown[name]
    assert f"{record['link_busy_ps'] / 1e9:.9f} ms" in shown["host link busy"]


# --- names, files, and what is missing ----------------------------------------------------------------------

def test_a_board_of_ones_own(run, builds, tmp_path):
    """A copied and edited board file; its errors name file and key."""
    data = yaml.safe_load(pathlib.Path(load_board("custom_a7").source).read_text())
    data |= {"name": "mine", "clock_mhz": 50}
    data["memory"]["capacity_bytes"] = 4 * MiB
    data["host_link"]["bandwidth_bytes_per_sec"] = 123456789
    data["latency"]["vector_add"] = 77
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    manifest = manifest_with(builds, SMALL, None, tmp_path / "manifest.json")
    flags = ["--board", path, "--memory-model", "auto", "--weight-manifest", manifest]
    _, record, _ = run(SMALL, *flags)
    assert record["board"]["name"] == "mine" and record["board"]["file"] == str(path)
    assert [change["key"] for change in record["board"]["changes"]] == [
        "TRANSACTIONAL.LATENCY.VECTOR_ADD_CYCLES.dc_lib_dis"]
    assert record["limits"] == {
        "ddr_capacity_bytes": 4 * MiB, "ddr_capacity_from": "board mine",
        "host_bandwidth_bytes_per_s": 123456789, "host_bandwidth_from": "board mine",
    }
    data["memory"]["capacity_bytes"] = "4M"
    path.write_text(yaml.safe_dump(data))
    status, record, errors = run(SMALL, *flags)
    assert status == 101 and record is None
    assert errors == [f"plena-emu run: error: board {path}: memory.capacity_bytes: found '4M', expected an"
                      " integer from 1 to 9223372036854775807"]


@pytest.mark.parametrize("flags, status, words", [
    (["--board", "nexys_a7"], 2, "unknown board 'nexys_a7': it is now called 'nexys_video'"),
    (["--board", "nexys_video", "--latency-profile", "nexys_a7_150mhz"], 2, "now called 'nexys_video_150mhz'"),
    (["--board", "v80", "--latency-profile", "nexys_video_150mhz"], 2, "is for part xc7a200t, board v80 has v80"),
    (["--board", "u250"], 2, "unknown board 'u250', expected one of custom_a7, nexys_video, v80"),
    (["--board", "./gone.yaml"], 101, "board ./gone.yaml: cannot read"),
    (["--latency-profile", "nexys_video_150mhz"], 2, "--latency-profile needs --board"),
])
def test_names_that_are_refused(run, flags, status, words):
    found, record, errors = run(SMALL, "--memory-model", "resident", *flags)
    assert (found, record, len(errors)) == (status, None, 1) and words in errors[0]


def test_a_profile_without_a_board_is_refused_in_python_too():
    with pytest.raises(UsageError, match="latency_profile needs board"):
        RunRequest(opcode="p", hbm="h", fpsram="f", latency_profile="nexys_video_150mhz")


def test_a_build_without_a_manifest(run, builds, tmp_path):
    """With a board the regions are made of the build's tables, with a warning; the capacity is the flag's or the
    board's. Without one the line says how to get a manifest."""
    build = shutil.copytree(builds[SMALL], tmp_path / "build")
    (build / "weight_manifest.json").unlink()
    flags = ["--board", "custom_a7", "--memory-model", "auto"]
    made, given = run(build, *flags), run(SMALL, *flags)
    assert made[0] == 0 and made[1]["latency_ps"] == given[1]["latency_ps"]
    assert made[1]["model_statistics"] == given[1]["model_statistics"]
    assert made[1]["limits"]["ddr_capacity_from"] == "board custom_a7"
    assert made[1]["sources"]["weight_manifest"] == str(build / "hbm_addrs.json")
    note = (f"warning: {build / 'weight_manifest.json'} is not there: the regions are those plena-emu manifest makes"
            f" of {build / 'hbm_addrs.json'}")
    assert note in made[2] and not (build / "weight_manifest.json").exists()
    assert run(build, *flags, "--ddr-capacity", "2M")[1]["regime"] == "weight-stream"
    status, record, errors = run(build, "--memory-model", "auto")
    assert (status, record) == (101, None)
    assert errors == [f"plena-emu run: error: build directory {build}: weight_manifest.json not found, --memory-model"
                      f" auto needs one: name a --board, or write it with plena-emu manifest {build} --board NAME"]
    (build / "hbm_addrs.json").unlink()
    status, record, errors = run(build, *flags)
    assert (status, record) == (101, None)
    assert errors == [f"plena-emu run: error: build directory {build}: weight_manifest.json not found, --memory-model"
                      " auto needs it there or as --weight-manifest"]


# Runs an empty program through the drop-in and prints what it imported of boards (numba itself imports yaml).
PROBE = """
import sys
from plena_emu.cli import dropin
status = dropin.main({argv!r})
print(status, [name for name in {unwanted!r} if name in sys.modules])
"""
# What a plain run on HBM2 has no use for: sources of what is object code, other memories, words about mistakes.
UNUSED = [
    "numba", "llvmlite", "yaml", "tomlkit", "rich", "json", "difflib", "shutil", "plena_emu.kernels.control.control",
    "plena_emu.kernels.control.resolve_matrix", "plena_emu.kernels.data.data", "plena_emu.kernels.data.numerics",
    "plena_emu.kernels.compiler.elf", "plena_emu.kernels.simple.timing", "plena_emu.memory.simple_engine",
    "plena_emu.boards.schema",
]


def test_the_drop_in_imports_no_boards(builds, tmp_path):
    (tmp_path / "empty.mem").touch()
    build = builds[SMALL]
    argv = ["--opcode", str(tmp_path / "empty.mem"), "--hbm", str(tmp_path / "empty.mem"), "--fpsram",
            str(tmp_path / "empty.mem"), "--settings", write_settings(tmp_path / "s.toml"), "--log-level", "off",
            "--memory-model", "auto", "--weight-manifest", str(build / "weight_manifest.json")]
    code = PROBE.format(argv=argv, unwanted=["tomlkit", "rich", "plena_emu.boards"])
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr


@pytest.mark.skipif(modes.mode() in (modes.PYTHON, modes.PLAIN), reason="kernels are no object code")
def test_a_plain_run_imports_no_more_than_it_uses(tmp_path):
    (tmp_path / "empty.mem").touch()
    names = [word for flag in ("--opcode", "--hbm", "--fpsram") for word in (flag, str(tmp_path / "empty.mem"))]
    argv = [*names, "--settings", write_settings(tmp_path / "s.toml")]
    make_ready(kernels_of(RunRequest(opcode="x", hbm="x", fpsram="x")))
    ran = subprocess.run([sys.executable, "-c", PROBE.format(argv=argv, unwanted=UNUSED)], capture_output=True,
                         text=True, timeout=300, cwd=tmp_path)
    assert ran.stdout.splitlines()[-1] == "0 []", ran.stderr
