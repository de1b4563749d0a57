"""What a run, plan or profile on a board says of its memory, clock and flags: the same in every view (spec §10.1)."""

import json
import lzma
import pathlib
import shutil

import pytest
import yaml

import plena_emu
from plena_emu.boards import load_board
from plena_emu.boards.dram_schema import load_dram
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests" / "base_clm60m_dec_L1_m64b16_a7"
FILES = ("plena_settings.toml", "hbm_size.txt", "weight_manifest.json", "hbm_addrs.json", "hbm_sizes.json",
         "tensor_layouts.json")
NO_PART = "board custom_a7 names no memory.dram: the idealised DDR of §3.5, 19.2 GB/s, stands in for its memory"
A7 = ("--board", "custom_a7")

pytestmark = pytest.mark.usefixtures("empty_directory")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Build directory of a golden program, for timing alone."""
    folder = tmp_path_factory.mktemp("told") / "build"
    folder.mkdir()
    packed = (GOLDEN / "generated_machine_code.mem.xz").read_bytes()
    (folder / "generated_machine_code.mem").write_bytes(lzma.decompress(packed))
    for file in FILES:
        shutil.copy(GOLDEN / file, folder / file)
    return folder


@pytest.fixture
def said(build, capsys):
    """`said(command, *flags)` -> what a command about the build prints."""

    def call(command, *flags, status=0):
        capsys.readouterr()
        alone = ["--timing-only"] if command == "run" else []
        assert main([command, str(build), *alone, *map(str, flags)]) == status
        return capsys.readouterr().out

    return call


@pytest.fixture
def record(said):
    """The same as the record of the command."""
    return lambda command, *flags: json.loads(said(command, *flags, "--json", *(["-"] if command == "run" else [])))


@pytest.fixture
def no_part(tmp_path):
    """A board file without memory.dram."""
    data = yaml.safe_load(pathlib.Path(load_board("custom_a7").source).read_text())
    del data["memory"]["dram"]
    path = tmp_path / "none.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


# --- a board without a part -----------------------------------------------------------------------------------

def test_the_idealised_ddr_is_behind_every_model(record, no_part):
    """Also behind `hbm`, which then takes what plain reads take (resident); one warning (§10.2)."""
    hbm, resident = (record("run", "--board", no_part, "--memory-model", model) for model in ("hbm", "resident"))
    assert hbm["board_time_ps"] == resident["board_time_ps"] and hbm["dram_statistics"] is None
    assert hbm["model"] == "hbm" and hbm["limits"] is None
    assert [line for line in hbm["warnings"] if "memory" in line] == [NO_PART]
    by_lines = [record("run", "--board", no_part, "--memory-model", model, "--dma", "production")["board_time_ps"]
                for model in ("hbm", "resident")]
    assert by_lines[0] == by_lines[1] != hbm["board_time_ps"]


@pytest.mark.parametrize("command", ["run", "plan", "profile"])
def test_a_data_rate_of_no_part_is_not_laid_over(record, no_part, command):
    plain, fast = (record(command, "--board", no_part, *flags) for flags in ([], ["--ddr-speed", "2"]))
    assert plain["board_time_ps"] == fast["board_time_ps"]
    assert f"{NO_PART}, and --ddr-speed is not used" in fast["warnings"] and NO_PART in plain["warnings"]
    assert (fast["board"] if command == "run" else fast)["laid_over"] == []
    other = record(command, "--board", no_part, "--dram", "ddr3_800_x16", "--ddr-speed", "2")
    assert [one["flag"] for one in (other["board"] if command == "run" else other)["laid_over"]] == [
        "--dram", "--ddr-speed"]
    assert NO_PART not in " ".join(other["warnings"])


def test_a_bandwidth_that_is_not_used_is_not_laid_over(record):
    found = record("run", *A7, "--host-bandwidth", "1G")
    assert found["board"]["laid_over"] == [] and "--host-bandwidth is not used" in " ".join(found["warnings"])
    found = record("run", *A7, "--host-bandwidth", "1G", "--memory-model", "kv-swap")
    assert [one["flag"] for one in found["board"]["laid_over"]] == ["--host-bandwidth"]


def test_the_reference_time_on_another_dram(record):
    """Not the board's part is replaced there, but the memory of the reference; the record has the one that counts."""
    flags = [*A7, "--reference-timing", "--dram", "ddr4"]
    for model, before in (("resident", "the idealised DDR of §3.5, 19.2 GB/s"), ("hbm", "hbm2")):
        found = record("run", *flags, "--memory-model", model)
        assert found["board"]["laid_over"] == [{"flag": "--dram", "before": before, "after": "ddr4"}]
        assert found["board"]["part"]["name"] == "ddr4" and found["time_basis"] == "reference"
    assert record("run", *A7, "--reference-timing")["board"]["part"] is None


def test_one_warning_without_regions_in_the_reference_time(record, build, tmp_path, capsys):
    other = shutil.copytree(build, tmp_path / "other")
    for name in ("weight_manifest.json", "hbm_addrs.json"):
        (other / name).unlink()
    found = plena_emu.run(other, timing_only=True, board="custom_a7", reference_timing=True)
    assert found.warnings == ["found neither a weight manifest nor hbm_addrs.json, so no region of the memory is known:"
                              " timed as with memory_model hbm"]
    named = plena_emu.run(other, timing_only=True, board="custom_a7", reference_timing=True, memory_model="hbm")
    assert named.warnings == ["board custom_a7 has ddr3_1600 memory, the model hbm times an HBM2"]
    assert named.latency_ps == found.latency_ps


# --- what every view says -------------------------------------------------------------------------------------

VIEWS = [("run",), ("plan",), ("profile",), ("profile", "--by", "operator"), ("profile", "--by", "region")]


@pytest.mark.parametrize("command", VIEWS, ids=" ".join)
def test_every_view_names_part_clock_and_what_was_laid_over(said, record, command):
    flags = [*A7, "--clock-mhz", "150", "--ddr-speed", "3", "--ddr-capacity", "1G"]
    text = " ".join(said(*command, *flags).split())
    for words in ("custom_a7, 150 MHz (rounded to 6,667 ps a cycle)", "ddr3_800_x16 x 3 (board custom_a7), 4.80192 GB/s"
                  " peak, its clock rounded to 833 ps, 3.3 % of the time in refresh",
                  "laid over --clock-mhz 150 in place of 100", "laid over --ddr-speed 3 in place of 1",
                  "laid over --ddr-capacity 1073741824 in place of 536870912",
                  "DDR capacity 1,073,741,824 bytes = 1 GiB (--ddr-capacity)", "(board custom_a7)",
                  "ms on custom_a7 at 150 MHz", "host link busy 0.000000000 ms beside them"):
        assert words in text, words
    found = record(*command, *flags)
    of_board = found["board"] if isinstance(found["board"], dict) else found
    assert (of_board["core_period_ps"], of_board["core_period_exact"]) == (6667, False)
    part = of_board["part"]
    assert (part["clock_period_ps"], part["clock_period_exact"], part["name"]) == (833, False, "ddr3_800_x16 x 3")
    assert len(of_board["laid_over"]) == 3


def test_run_and_profile_have_one_headline(said):
    heads = [said(*command, *A7).splitlines()[:4] for command in VIEWS if command != ("plan",)]
    assert all(head == heads[0] for head in heads) and heads[0][0].endswith(" ms on custom_a7 at 100 MHz")


def test_a_static_profile_says_its_clock(record, said):
    found = record("profile", "--static", *A7, "--clock-mhz", "150")
    assert found["laid_over"] == [{"flag": "--clock-mhz", "before": "100", "after": "150"}]
    assert (found["core_period_ps"], found["core_period_exact"], found["part"]) == (6667, False, None)
    assert "memory part" not in said("profile", "--static", *A7)


def test_a_timeline_has_parts_without_shares(said, record):
    """Parts of the serial run take longer than the whole where units overlap: they are no shares of it."""
    flags = [*A7, "--timing", "rtl-v1", "--memory-model", "resident"]
    head = said("run", *flags).splitlines()[:4]
    assert [line.split("  ")[0] for line in head[1:]] == [
        "compute in series", "memory in series", "stalls less overlap of the timeline"]
    assert "%" not in " ".join(head)


def test_a_run_that_was_stopped_is_not_the_programs(said):
    assert said("run", *A7, "--max-instructions", 20, status=3).startswith("0.")
    head = said("run", *A7, "--max-instructions", 20, status=3).splitlines()[0]
    assert head.endswith(" ms on custom_a7 at 100 MHz, stopped before its end")


def test_a_comparison_over_two_bases_is_said(build, tmp_path, capsys):
    files = []
    for name, reference in (("a", False), ("b", True), ("c", False)):
        result = plena_emu.run(build, timing_only=True, board="custom_a7", reference_timing=reference)
        (tmp_path / name).write_text(result.to_json())
        files.append(str(tmp_path / name))
    capsys.readouterr()
    note = "note: the first run tells its board's time, the second the reference's time (§10.1)"
    assert main(["diff", files[0], files[1]]) == 0 and capsys.readouterr().out.splitlines()[1].startswith(note)
    assert main(["diff", files[0], files[2]]) == 0 and "note:" not in capsys.readouterr().out


# --- plans ----------------------------------------------------------------------------------------------------

def test_a_plan_that_run_refuses_says_so(record, said):
    found = record("plan", "--board", "v80", "--ddr-capacity", "1M")
    line, = (line for line in found["warnings"] if "host link" in line)
    assert line.endswith("; run refuses it, and weight-stream has no times, without --host-bandwidth")
    assert found["board_time_ps"] is None
    assert said("run", "--board", "v80", "--ddr-capacity", "1M", status=101) == ""
    for flags in (["--board", "v80"], ["--board", "v80", "--ddr-capacity", "1M", "--host-bandwidth", "1G"]):
        assert "host link" not in " ".join(record("plan", *flags)["warnings"])


def test_what_a_capacity_takes_the_place_of(record, build):
    """Without a board that was named the manifest's capacity had counted, with one the board's."""
    manifest = json.loads((build / "weight_manifest.json").read_text())
    manifest["ddr_capacity_bytes"] = 2359295
    (build / "other.json").write_text(json.dumps(manifest))
    before = [plena_emu.plan(build / "other.json", *board, ddr_capacity=2**30).laid_over[0].before
              for board in ((), ("custom_a7",))]
    assert before == ["2359295", str(2**29)]


def test_what_lays_over_a_plan_in_python(build, record):
    """The keywords of `plan` are those of `run`, and do what the flags do."""
    flags = [*A7, "--clock-mhz", "150", "--dram", "ddr3_1600_x16", "--ddr-speed", "1.5"]
    found = plena_emu.plan(build, "custom_a7", clock_mhz=150, dram="ddr3_1600_x16", ddr_speed=1.5)
    told = record("plan", *flags)
    assert [getattr(found, name) for name in ("board_time_ps", "compute_ps", "memory_ps", "core_period_ps")] == [
        told[name] for name in ("board_time_ps", "compute_ps", "memory_ps", "core_period_ps")]
    assert [(one.flag, one.after) for one in found.laid_over] == [
        ("clock_mhz", "150"), ("dram", "ddr3_1600_x16"), ("ddr_speed", "1.5")]
    assert found.part.named_by == "dram" and told["part"]["named_by"] == "--dram"


@pytest.mark.parametrize("call", [plena_emu.plan, plena_emu.profile, plena_emu.run])
@pytest.mark.parametrize("fields, message", [
    ({"clock_mhz": "x"}, "clock_mhz: found 'x', expected a number of MHz, 0.001 to 1000000"),
    ({"clock_mhz": 1e7}, "clock_mhz: found 10000000.0, expected a number of MHz, 0.001 to 1000000"),
    ({"ddr_speed": float("inf")}, "ddr_speed: found inf, expected a number from 1/64 to 64"),
    ({"ddr_speed": False}, "ddr_speed: found false, expected a number from 1/64 to 64"),
    ({"dram": 7}, "dram: found 7, expected a path"),
])
def test_wrong_values_have_one_message_everywhere(build, call, fields, message):
    with pytest.raises(UsageError) as caught:
        call(build, board="custom_a7", **({"timing_only": True} if call is plena_emu.run else {}), **fields)
    assert str(caught.value) == message


# --- data rates -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("factor, text", [("1/3", "1/3"), ("3/2", "1.5"), ("0.333333", "0.333333"), ("2.50", "2.5"),
                                          ("4/1", "4"), ("1/64", "0.015625")])
def test_a_factor_is_shown_as_people_write_it(record, factor, text):
    found = record("plan", *A7, "--ddr-speed", factor)
    assert found["laid_over"][0]["after"] == text and found["part"]["name"] == f"ddr3_800_x16 x {text}"


def test_a_rate_that_the_part_cannot_have(build, capsys):
    for command in (["plan", str(build)], ["run", str(build), "--timing-only"]):
        assert main([*command, *A7, "--ddr-speed", "40"]) == 101
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"plena-emu {command[0]}: error: --ddr-speed 40: ddr3_800_x16 at 40 times its data rate: timing.tRFC: found"
            " 4160, expected an integer from 0 to 4095")
    assert main(["plan", str(build), *A7, "--ddr-speed", "39"]) == 0
    with pytest.raises(EmuError, match="^ddr_speed 40: ddr3_800_x16 at 40 times"):
        plena_emu.run(build, timing_only=True, board="custom_a7", ddr_speed=40)


# --- the part of a board file ---------------------------------------------------------------------------------

@pytest.mark.parametrize("part, message", [
    ("nope", "unknown DRAM description 'nope', expected one of ddr3_1600_x16, ddr3_800_x16, ddr4, hbm2"),
    ("./nope", "nope: cannot read"), ("wrong.yaml", "wrong.yaml: organisation"),
])
def test_boards_checks_the_part_of_a_file(tmp_path, build, capsys, part, message):
    data = yaml.safe_load(pathlib.Path(load_board("custom_a7").source).read_text())
    data["memory"]["dram"] = part
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(data))
    text = pathlib.Path(load_dram("ddr4").source).read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("bankgroup: 4", "bankgroup: 3"))
    for command in (["boards"], ["run", str(build), "--timing-only", "--board"]):
        assert main([*command, str(tmp_path / "mine.yaml")]) in (2, 101)
        line, = capsys.readouterr().err.splitlines()
        assert f"board {tmp_path / 'mine.yaml'}: memory.dram: " in line and message in line


# --- names ----------------------------------------------------------------------------------------------------

def test_every_undecided_name_is_told(tmp_path, capsys):
    """However many layers: names that differ in numbers alone are one pattern, with their count."""
    names = [f"model.layers.{layer}.{name}.weight" for layer in range(31) for name in ("q_proj", "k_proj")]
    names += ["lm_head", "experts[0].w1.weight", "X"]
    for file, table in (("hbm_addrs", {name: 1024 * k for k, name in enumerate(names)}),
                        ("hbm_sizes", dict.fromkeys(names, 64))):
        (tmp_path / f"{file}.json").write_text(json.dumps(table))
    assert main(["manifest", str(tmp_path), *A7, "--json"]) == 0
    line, = json.loads(capsys.readouterr().out)["warnings"]
    assert line.startswith("model.layers.*.q_proj.weight (31), model.layers.*.k_proj.weight (31), lm_head,"
                           " experts[0].w1.weight look like weights or caches by name and count as activations; the")
    kinds = {"model.layers.*": "weight", "lm_head": "weight", "experts[0].w?.weight": "weight", "[ab]*": "kv"}
    made, report = plena_emu.manifest(tmp_path, "custom_a7", kinds=kinds)
    assert [region.kind for region in made.regions] == ["weight"] * 64 + ["activation"]
    assert report.warnings == ["kinds [ab]*=kv is not used: no region has such a name"]
    line, = plena_emu.manifest(tmp_path, "custom_a7", kinds={"model*": "weight"})[1].warnings
    assert line.startswith("lm_head, experts[0].w1.weight look like") and "--kind" not in line


@pytest.mark.parametrize("kinds, message", [
    ([("a", "kv")], "kinds: found a list, expected a dict"),
    ({"a": "cache"}, "kinds['a']: found 'cache', expected one of"),
    ({3: "kv"}, "kinds: found the pattern 3, expected text"),
    ({"": "kv"}, "kinds: found the pattern '', expected text"),
])
def test_wrong_kinds(build, kinds, message):
    with pytest.raises(UsageError) as caught:
        plena_emu.manifest(build, "custom_a7", kinds=kinds)
    assert str(caught.value).startswith(message)


def test_the_help_of_a_plan_has_no_run_without_a_board(capsys):
    texts = []
    for command in ("plan", "run"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        texts.append(" ".join(capsys.readouterr().out.split()))
    assert "without a board in place" not in texts[0] and "without a board in place" in texts[1]


def test_an_estimate_names_part_clock_and_what_was_laid_over(capsys):
    command = ["estimate", "tiny", *A7, "--prefill", "4", "--decode", "1", "--clock-mhz", "150", "--ddr-speed", "3"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["flag"] for one in found["on_board"]["laid_over"]] == ["--clock-mhz", "--ddr-speed"]
    assert main(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "150 MHz (rounded to 6,667 ps a cycle)" in text and "ddr3_800_x16 x 3 (board custom_a7)" in text
