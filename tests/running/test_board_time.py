"""The time on the board (spec §10.1): identities to the picosecond, overlays, defaults, and flags that contradict."""

import json
import lzma
import pathlib
import shutil

import pytest
import yaml
from oracle.goldens import archives, unpack

import plena_emu
from plena_emu.boards import load_board
from plena_emu.boards.core_clock import core_period_ps
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.manifests.footprint import footprint
from plena_emu.manifests.schema import load_manifest
from plena_emu.request import RunRequest

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests"
ONE, FOUR = "base_clm60m_dec_L1_m64b16_a7", "base_clm60m_dec_L4_m64b16"
FILES = ("plena_settings.toml", "hbm_size.txt", "weight_manifest.json", "hbm_addrs.json", "hbm_sizes.json",
         "tensor_layouts.json")
MODELS = ("resident", "kv-swap", "weight-stream", "layer-swap", "host-stream")

pytestmark = pytest.mark.usefixtures("empty_directory")


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    """Build directories of two golden programs, for timing alone."""
    found = {}
    for name in (ONE, FOUR):
        found[name] = folder = tmp_path_factory.mktemp("time") / name
        folder.mkdir()
        packed = (GOLDEN / name / "generated_machine_code.mem.xz").read_bytes()
        (folder / "generated_machine_code.mem").write_bytes(lzma.decompress(packed))
        for file in FILES:
            shutil.copy(GOLDEN / name / file, folder / file)
    return found


@pytest.fixture
def run(builds, capsys):
    """`run(build, *flags)` -> the record of a run without data."""

    def call(build, *flags):
        capsys.readouterr()
        assert main(["run", str(builds.get(build, build)), "--timing-only", "--json", "-", *map(str, flags)]) == 0
        return json.loads(capsys.readouterr().out)

    return call


def edited_board(path, base="custom_a7", **changes):
    """A copy of a board file; None removes a key of the file or of `memory`."""
    data = yaml.safe_load(pathlib.Path(load_board(base).source).read_text())
    for name, value in changes.items():
        table = data["memory"] if name in data["memory"] or name == "dram" else data
        if value is None:
            table.pop(name, None)
        else:
            table[name] = value
    path.write_text(yaml.safe_dump(data))
    return path


# --- identities -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("model", MODELS)
def test_a_board_of_1_ghz_without_a_part_takes_the_reference_time(run, tmp_path, model):
    """Cycles of 1000 ps and the DDR of §3.5 are what the reference counts: the two clocks of the product agree."""
    board = edited_board(tmp_path / "mine.yaml", name="mine", clock_mhz=1000, dram=None)
    flags = ["--board", board, "--memory-model", model]
    mine, reference = run(ONE, *flags), run(ONE, *flags, "--reference-timing")
    for name in ("latency_ps", "end_ps", "compute_ps", "memory_ps", "bytes_read", "bytes_written", "model_statistics"):
        assert mine[name] == reference[name], name
    assert mine["board_time_ps"] == reference["latency_ps"]
    line = "board mine names no memory.dram: the idealised DDR of §3.5, 19.2 GB/s, stands in for its memory"
    assert mine["warnings"].count(line) == 1 and line not in reference["warnings"]


def test_a_run_on_hbm2_at_1_ghz_takes_the_reference_time(run, tmp_path):
    board = edited_board(tmp_path / "mine.yaml", clock_mhz=1000)
    flags = ["--board", board, "--memory-model", "hbm"]
    assert run(ONE, *flags, "--dram", "hbm2")["board_time_ps"] == run(ONE, *flags, "--reference-timing")["latency_ps"]


@pytest.mark.parametrize("model", ["resident", "kv-swap", "weight-stream"])
def test_reference_timing_is_the_run_without_a_board(run, model):
    """The latencies of the golden's settings are the board's, so only clock and memory could differ."""
    golden = {entry["id"]: entry for entry in json.loads((GOLDEN / ONE / "expected.json").read_text())["runs"]}
    plain = run(ONE, "--memory-model", model, "--host-bandwidth", "1500000000")
    board = run(ONE, "--memory-model", model, "--board", "custom_a7", "--reference-timing")
    assert board["latency_ps"] == plain["latency_ps"] == golden[model]["latency_ps"]
    assert (plain["time_basis"], plain["board_time_ps"], plain["board"]) == ("reference", None, None)
    assert plain["latency_ps"] == plain["compute_ps"] + plain["memory_ps"] + plain["housekeeping_ps"]


@pytest.mark.parametrize("mhz, period, exact", [
    (100, 10000, True), (400, 2500, True), (0.001, 10**9, True), (1e6, 1, True), (150, 6667, False), (300, 3333, False),
    (33.3, 30030, False), (62.5, 16000, True), (0.1, 10**7, True), (12.8, 78125, True),
])
def test_the_period_of_a_clock(mhz, period, exact):
    """Rounded to nearest; exact by the decimal digits of the clock, not by its binary fraction."""
    assert core_period_ps(mhz) == (period, exact)


@pytest.mark.parametrize("mhz", [25, 100, 150, 1234.5])
def test_compute_counts_whole_cycles_at_any_clock(run, mhz):
    """Compute is the cycles of the reference's time times the period; the rest is the memory's own time."""
    cycles = run(ONE, "--board", "custom_a7", "--reference-timing")["compute_ps"] // 1000
    record = run(ONE, "--board", "custom_a7", "--clock-mhz", mhz)
    period, exact = core_period_ps(mhz)
    assert record["compute_ps"] == cycles * period and record["board"]["core_period_exact"] == exact
    assert record["board_time_ps"] == record["compute_ps"] + record["memory_ps"] + record["housekeeping_ps"]
    assert record["board"]["laid_over"] == [{"flag": "--clock-mhz", "before": "100", "after": f"{mhz:g}"}]


def test_four_layers_resident_on_custom_a7(run):
    """DDR time: at least bytes / 1.6 GB/s, at most what 90 % efficiency less refresh gives for row-major streams."""
    record = run(FOUR, "--board", "custom_a7", "--memory-model", "resident")
    at_peak = (record["bytes_read"] + record["bytes_written"]) * 625  # ps a byte
    assert at_peak <= record["memory_ps"] <= at_peak / 0.9 / (1 - 104 / 3120)
    profile_cycles = run(FOUR, "--board", "custom_a7", "--memory-model", "resident", "--reference-timing")["compute_ps"]
    assert record["board_time_ps"] == profile_cycles // 1000 * 10_000 + record["memory_ps"]


def test_what_was_wrong_before(run):
    """Resident is not faster than the DDR delivers, and the link counts beside a DDR of about its own speed."""
    board = ["--board", "custom_a7", "--memory-model"]
    resident, streamed = run(ONE, *board, "resident"), run(ONE, *board, "weight-stream")
    assert resident["link_busy_ps"] == 0 < streamed["link_busy_ps"] < streamed["memory_ps"]
    assert streamed["memory_ps"] < 6 * resident["memory_ps"]  # 13 times with the idealised DDR in between


def test_data_and_timing_alone_take_the_same_time(tmp_path):
    """Loops that are skipped at once and instructions that are executed one by one cost the same at 100 MHz."""
    golden = unpack(archives()[0], tmp_path)
    runs = [plena_emu.run(golden.directory, isa=golden.isa, board="custom_a7", memory_model="hbm", timing_only=alone)
            for alone in (True, False)]
    assert runs[0].board_time_ps == runs[1].board_time_ps > 0
    assert runs[0].instruction_counts == runs[1].instruction_counts


def test_the_split_is_exact_with_a_timeline(run, builds, capsys):
    """Units that overlap or stall take other than the sum: the difference is named, and the whole still adds up."""
    flags = ["--board", "custom_a7", "--timing", "rtl-v1"]
    record = run(ONE, *flags)
    parts = [record[f"{name}_ps"] for name in ("compute", "memory", "housekeeping", "timeline")]
    assert sum(parts) == record["board_time_ps"] == record["latency_ps"] and record["timeline_ps"] != 0
    assert main(["run", str(builds[ONE]), "--timing-only", *flags]) == 0
    shown = [line.split(" ms")[0].split() for line in capsys.readouterr().out.splitlines()[:5]]
    total, *rows = [round(1e9 * float(words[-1])) for words in shown if words[:3] != ["host", "link", "busy"]]
    assert total == record["board_time_ps"] == sum(rows)


def test_a_named_regime_that_does_not_fit_is_said(run):
    record = run(ONE, "--board", "custom_a7", "--memory-model", "resident", "--ddr-capacity", "1M")
    assert any(line.startswith("the memory model resident is timed as if all of") for line in record["warnings"])
    assert record["board_time_ps"] == run(ONE, "--board", "custom_a7", "--memory-model", "resident")["board_time_ps"]


# --- what decides ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags, model, regime", [
    (["--board", "custom_a7"], "auto", "resident"), (["--board", "nexys_video"], "auto", "resident"),
    (["--board", "v80"], "resident", "resident"), (["--board", "v80", "--host-bandwidth", "1G"], "auto", "resident"),
    (["--board", "custom_a7", "--reference-timing"], "auto", "resident"), ([], "hbm", "hbm"),
])
def test_the_memory_model_that_is_taken_when_none_is_named(run, flags, model, regime):
    record = run(ONE, *flags)
    assert (record["model"], record["regime"]) == (model, regime)


def test_a_build_without_regions_is_timed_as_hbm_on_the_boards_part(run, builds, tmp_path):
    build = shutil.copytree(builds[ONE], tmp_path / "build")
    for name in ("weight_manifest.json", "hbm_addrs.json"):
        (build / name).unlink()
    record = run(build, "--board", "custom_a7")
    assert record["model"] == "hbm" and record["board"]["part"]["name"] == "ddr3_800_x16"
    assert " ".join(record["warnings"]).count("found neither a weight manifest nor hbm_addrs.json") == 1
    assert record["board_time_ps"] == run(build, "--board", "custom_a7", "--memory-model", "hbm")["board_time_ps"]


def test_a_board_without_a_link_refuses_what_does_not_fit(builds, capsys):
    total = footprint(load_manifest(str(builds[ONE] / "weight_manifest.json")).regions).total
    argv = ["run", str(builds[ONE]), "--timing-only", "--board", "v80", "--ddr-capacity", str(total - 1)]
    assert main(argv) == 101
    assert capsys.readouterr().err.splitlines() == [
        f"plena-emu run: error: board v80 has no host link, so all has to fit its memory: found {total} bytes, expected"
        f" at most {total - 1} (--ddr-capacity); name --host-bandwidth or a --memory-model"]


def test_a_doubled_capacity_counts_in_python(builds):
    """What a manifest states does not overrule what the caller asks of a board."""
    manifest = load_manifest(str(builds[ONE] / "weight_manifest.json"))
    small, large = (plena_emu.run(builds[ONE], timing_only=True, board="custom_a7", ddr_capacity=capacity)
                    for capacity in (footprint(manifest.regions).weight, 2**30))
    assert (small.regime, large.regime) == ("kv-swap", "resident")
    assert large.warnings == [f"the weight manifest's DDR capacity of {manifest.ddr_capacity_bytes} bytes is not used:"
                              " ddr_capacity says 1073741824"]


def test_what_is_laid_over_is_recorded(run):
    record = run(ONE, "--board", "custom_a7", "--clock-mhz", "200", "--dram", "ddr3_1600_x16", "--ddr-speed", "1/2",
                 "--ddr3-capacity", "1G", "--host-bandwidth", "1.2GB/s", "--memory-model", "kv-swap")
    assert [(one["flag"], one["before"], one["after"]) for one in record["board"]["laid_over"]] == [
        ("--clock-mhz", "100", "200"), ("--dram", "ddr3_800_x16", "ddr3_1600_x16"), ("--ddr-speed", "1", "0.5"),
        ("--ddr3-capacity", "536870912", "1073741824"), ("--host-bandwidth", "1500000000", "1200000000")]
    part = record["board"]["part"]
    assert (part["named_by"], part["peak_bytes_per_s"]) == ("--dram", 1.6e9)
    assert record["limits"]["ddr_capacity_from"] == "--ddr3-capacity"


def test_twice_the_data_rate_helps_the_memory_and_nothing_else(run):
    plain, fast = run(ONE, "--board", "custom_a7"), run(ONE, "--board", "custom_a7", "--ddr-speed", "2")
    assert plain["compute_ps"] == fast["compute_ps"] and plain["bytes_read"] == fast["bytes_read"]
    assert plain["memory_ps"] / 2 < fast["memory_ps"] < 0.7 * plain["memory_ps"]


def test_a_part_beside_the_board_file(run, tmp_path, builds, capsys):
    source = pathlib.Path(load_board("custom_a7").source).parent / "dram" / "ddr3_1600_x16.yaml"
    shutil.copy(source, tmp_path / "fast.yaml")
    board = edited_board(tmp_path / "mine.yaml", dram="fast.yaml")
    assert run(ONE, "--board", board)["board_time_ps"] == run(
        ONE, "--board", "custom_a7", "--dram", "ddr3_1600_x16")["board_time_ps"]
    board = edited_board(tmp_path / "mine.yaml", dram="gone.yaml")
    assert main(["run", str(builds[ONE]), "--timing-only", "--board", str(board)]) == 101
    line, = capsys.readouterr().err.splitlines()
    assert f"board {board}: memory.dram: DRAM description {tmp_path / 'gone.yaml'}: cannot read" in line


@pytest.mark.parametrize("flags", [
    ["--board", "custom_a7"], ["--board", "nexys_video", "--memory-model", "weight-stream"], ["--board", "v80"],
    ["--board", "custom_a7", "--clock-mhz", "50", "--ddr-speed", "2", "--ddr-capacity", "1M"],
])
def test_run_and_profile_have_one_headline(run, builds, capsys, flags):
    """The same first lines, and a bound of `plan` that is not above them."""
    record = run(ONE, *flags)
    heads = []
    for command in (["run", str(builds[ONE]), "--timing-only"], ["profile", str(builds[ONE])],
                    ["profile", str(builds[ONE]), "--by", "opcode"]):
        assert main([*command, *flags]) == 0
        heads.append(capsys.readouterr().out.splitlines()[:4])
    first = f"{record['board_time_ps'] // 10**9}.{record['board_time_ps'] % 10**9:09d} ms on "
    assert heads[0][0].startswith(first) and [head[:3] for head in heads] == [heads[0][:3]] * 3
    assert main(["profile", str(builds[ONE]), *flags, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("board_time_ps", "board_time_ms", "compute_ps", "memory_ps", "housekeeping_ps", "model", "regime"):
        assert found[name] == record[name], name
    if "--memory-model" not in flags:
        assert main(["plan", str(builds[ONE]), *flags, "--json"]) == 0
        bound = json.loads(capsys.readouterr().out)
        assert bound["compute_ps"] == record["compute_ps"] and bound["regime"] == record["regime"]
        assert bound["board_time_ps"] == bound["compute_ps"] + bound["memory_ps"] <= record["board_time_ps"]


# --- nothing is ignored without a line --------------------------------------------------------------------------

@pytest.mark.parametrize("fields, line", [
    ({"memory_model": "resident", "host_bandwidth": 7},
     "host_bandwidth is not used: the memory model resident moves nothing over the host link"),
    ({"board": "custom_a7", "host_bandwidth": 7},
     "host_bandwidth is not used: auto settled on resident, which moves nothing over the host link"),
    ({"ddr_capacity": 7}, "ddr_capacity is not used: the memory model hbm has no capacity"),
    ({"memory_model": "host-stream", "ddr_capacity": 7},
     "ddr_capacity is not used: the memory model host-stream has no capacity"),
    ({"weight_manifest": "weight_manifest.json"},
     "weight_manifest is not used: the memory model hbm has no regions"),
    ({"memory_model": "resident", "dump_hbm": True},
     "dump_hbm is not used: the memory model resident writes no hbm_dump.bin (§5.4)"),
    ({"dump_hbm": True}, "dump_hbm is not used: the run writes no dumps"),
])
def test_a_field_that_is_not_used_is_said(builds, fields, line):
    result = plena_emu.run(builds[ONE], timing_only=True, max_instructions=20, **fields)
    assert line in result.warnings
    unused = ("host_bandwidth", "ddr_capacity", "weight_manifest", "dump_hbm")
    rest = {name: value for name, value in fields.items() if name not in unused}
    plain = plena_emu.run(builds[ONE], timing_only=True, max_instructions=20, **rest)
    assert "is not used" not in " ".join(plain.warnings)


# --- flags that are wrong or contradict -------------------------------------------------------------------------

BOARD = ("--board", "custom_a7")
WRONG = [
    ("run", ["--clock-mhz", "100"], "--clock-mhz needs --board"),
    ("run", ["--ddr-speed", "2"], "--ddr-speed needs --board"),
    ("run", ["--reference-timing"], "--reference-timing needs --board"),
    ("run", [*BOARD, "--reference-timing", "--clock-mhz", "50"], "--clock-mhz: not with --reference-timing"),
    ("run", [*BOARD, "--reference-timing", "--ddr-speed", "2"], "--ddr-speed: not with --reference-timing"),
    ("run", [*BOARD, "--clock-mhz", "0"], "expected MHz, 0.001 to 1000000"),
    ("run", [*BOARD, "--clock-mhz", "-100"], "expected"),
    ("run", [*BOARD, "--clock-mhz", "nan"], "expected MHz"),
    ("run", [*BOARD, "--clock-mhz", "1e9"], "expected MHz"),
    ("run", [*BOARD, "--clock-mhz", "fast"], "clock 'fast'"),
    ("run", [*BOARD, "--clock-mhz", "٣"], "expected MHz"),
    ("run", [*BOARD, "--clock-mhz", "1", "--clock-mhz", "2"], "given more than once"),
    ("run", [*BOARD, "--ddr-speed", "0"], "data rate factor: found 0"),
    ("run", [*BOARD, "--ddr-speed", "1/0"], "data rate factor: found '1/0'"),
    ("run", [*BOARD, "--ddr-speed", "65"], "expected 1/64 to 64"),
    ("run", [*BOARD, "--dram", "ddr5"], "unknown DRAM description 'ddr5'"),
    ("run", [*BOARD, "--dram", "./gone.yaml"], "./gone.yaml: cannot read"),
    ("run", [*BOARD, "--dram", ""], "empty path"),
    ("run", [*BOARD, "--ddr-capacity", "1X"], "found suffix 'X'"),
    ("run", [*BOARD, "--ddr-capacity", "1G", "--ddr3-capacity", "2G"], "given more than once"),
    ("run", [*BOARD, "--host-bandwidth", "1.5Gb/s"], "bandwidth '1.5Gb/s': expected bytes a second"),
    ("run", [*BOARD, "--host-bandwidth", "1.5GiB/s"], "powers of 1000"),
    ("run", [*BOARD, "--host-bandwidth", "0"], "expected a whole number"),
    ("run", [*BOARD, "--host-bandwidth", "0.5"], "expected a whole number"),
    ("run", [*BOARD, "--host-bandwidth", "99999999T"], "1 to 2^64 - 1"),
    ("run", [*BOARD, "--memory-model", "ddr"], "invalid choice: 'ddr'"),
    ("run", [*BOARD, "--latency-profile", "gone"], "unknown latency profile"),
    ("run", ["--board", "v80", "--memory-model", "weight-stream"], "board v80 has no host link"),
    ("run", ["--board", "a7"], "unknown board 'a7'"),
    ("plan", ["--clock-mhz", "0"], "expected MHz"),
    ("plan", ["--ddr-speed", "x"], "data rate factor"),
    ("plan", ["--host-bandwidth", "fast"], "bandwidth 'fast'"),
    ("plan", ["--dram", "ddr5"], "unknown DRAM description"),
    ("plan", ["--ddr3-capacity", "1G"], "unrecognized arguments"),
    ("manifest", [*BOARD, "--kind", "q_proj"], "expected NAME-PATTERN=KIND"),
    ("manifest", [*BOARD, "--kind", "*=cache"], "expected NAME-PATTERN=KIND"),
    ("manifest", [*BOARD, "--kind", "=kv"], "expected NAME-PATTERN=KIND"),
    ("profile", ["--clock-mhz", "0"], "expected MHz"),
]


@pytest.mark.parametrize("command, flags, words", WRONG,
                         ids=lambda value: " ".join(value) if type(value) is list else None)
def test_wrong_and_contradictory_flags(builds, capsys, command, flags, words):
    """One clear line on standard error, nothing on standard output, a status that is not 0."""
    extra = ["--timing-only"] if command == "run" else []
    try:
        status = main([command, str(builds[ONE]), *extra, *flags])
    except SystemExit as ended:
        status = ended.code
    shown = capsys.readouterr()
    assert status in (2, 101) and shown.out == ""
    line, = shown.err.splitlines()
    assert line.startswith(("plena-emu: error: ", f"plena-emu {command}: error: ")) and words in line


@pytest.mark.parametrize("fields, words", [
    ({"clock_mhz": 100}, "clock_mhz needs board"), ({"ddr_speed": 2}, "ddr_speed needs board"),
    ({"reference_timing": True}, "reference_timing needs board"),
    ({"board": "v80", "clock_mhz": "100"}, "clock_mhz: found '100', expected a number of MHz, 0.001 to 1000000"),
    ({"board": "v80", "clock_mhz": float("inf")}, "clock_mhz: found inf, expected a number"),
    ({"board": "v80", "clock_mhz": True}, "clock_mhz: found true"),
    ({"board": "v80", "ddr_speed": "fast"}, "ddr_speed: found 'fast', expected a number such as"),
    ({"board": "v80", "ddr_speed": []}, "ddr_speed: found an empty list, expected a number from 1/64 to 64"),
    ({"board": "v80", "ddr_speed": True}, "ddr_speed: found true"),
    ({"board": "v80", "ddr_speed": float("inf")}, "ddr_speed: found inf"),
    ({"board": "v80", "ddr_speed": 65}, "ddr_speed: found 65, expected 1/64 to 64"),
    ({"board": "v80", "clock_mhz": 9, "reference_timing": True}, "clock_mhz: not with reference_timing"),
    ({"board": "v80", "reference_timing": 1}, "reference_timing: found 1"), ({"memory_model": "ddr"}, "memory_model"),
    ({"hbm_channels": 4}, "hbm_channels needs production DMA [(]dma production"),
])
def test_the_same_in_python(fields, words):
    """Messages name fields as they were typed: the flag on a command line, the keyword here."""
    with pytest.raises(UsageError, match=f"^{words}") as caught:
        RunRequest(opcode="p", timing_only=True, **fields)
    assert "--" not in str(caught.value)


def test_an_instruction_that_takes_longer_than_any_run(builds, tmp_path):
    """The slowest clock with the longest latency passes the limit of simulated time: one line with its pc."""
    latency = yaml.safe_load(pathlib.Path(load_board("custom_a7").source).read_text())["latency"]
    board = edited_board(tmp_path / "slow.yaml", clock_mhz=0.001, latency=latency | {"vector_add": 2**32 - 1,
                                                                                   "scalar_int_basic": 2**32 - 1})
    with pytest.raises(EmuError, match="simulated time passes|expected less than"):
        plena_emu.run(builds[ONE], timing_only=True, board=board)
