"""Does `plena-emu bench` measure what it says, refuse figures of wrong runs, and see what got slower?"""

import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import pytest

from plena_emu.bench import suite as bench_suite
from plena_emu.bench.compare import compare
from plena_emu.bench.programs import WALLS, Walls, find_workloads
from plena_emu.bench.record import BenchRecord, Machine, figure, means, read_record, timing
from plena_emu.bench.suite import run_process
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.program.assembler import assemble, mem_text
from plena_emu.report import bench_plot
from plena_emu.report.bench import bench_text

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
PROGRAM = "base_fz_00008"
EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
REFERENCE = {"small": {"resident": 1.4, "hbm": 2.4}, "stock": {"resident": 3.0, "hbm": 5.0}}

pytestmark = pytest.mark.usefixtures("empty_directory")


def golden_directory(folder, walls=None, change=lambda expected: None):
    """A directory of golden programs with one program in it, whose expected.json `change` may alter."""
    programs = folder / "golden" / "programs"
    programs.mkdir(parents=True)
    with tarfile.open(GOLDEN / "programs" / f"{PROGRAM}.tar.xz") as tar:
        tar.extractall(folder, filter="data")
    path = folder / PROGRAM / "expected.json"
    expected = json.loads(path.read_text())
    change(expected)
    path.write_text(json.dumps(expected))
    with tarfile.open(programs / f"{PROGRAM}.tar.xz", "w:xz") as tar:
        tar.add(folder / PROGRAM, PROGRAM)
    if walls is not None:
        (folder / "golden" / WALLS).write_text(json.dumps(walls))
    return folder / "golden", expected


def fake_executable(folder, monkeypatch, latency_ps, statistics, more=""):
    """A stand-in for the drop-in: notes its arguments and environment, leaves a dump, reports what it is told to."""
    path = folder / "fake"
    path.write_text(f"#!{sys.executable}\n" + f"""
import json, os, sys
with open({str(folder / "calls")!r}, "a") as file:
    file.write(json.dumps([sys.argv[1:], dict(os.environ), os.listdir()]) + "\\n")
open("vram_dump.bin", "w").close()
{more}
record = "2026-11-22T11:40:49.343859Z  INFO transactional_emulator"
print(record + "::runner: HBM Statistics - " + {statistics!r}, file=sys.stderr)
print(record + ": Simulation completed. Latency {latency_ps // 1000}.{latency_ps % 1000:03}ns", file=sys.stderr)
""")
    path.chmod(0o755)
    monkeypatch.setattr(bench_suite, "find_executable", lambda: str(path))
    return lambda: [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def bench(capsys, *arguments):
    """Status and output of a benchmark."""
    status = main(["bench", *map(str, arguments)])
    return status, capsys.readouterr()


def expected_run(expected, model):
    return next(run for run in expected["runs"] if run["id"] == model)


def test_runs_in_this_process(tmp_path, capsys):
    golden, expected = golden_directory(tmp_path, {PROGRAM: REFERENCE})
    status, output = bench(capsys, PROGRAM, "--golden", golden, "--runs", 2, "--modes", "timing-only,data",
                           "--json", "r.json")
    assert status == 0 and output.err == ""
    record = read_record("r.json")
    assert record.runs == 2 and record.process == [] and record.means == []
    assert [(found.model, found.mode) for found in record.kernel] == [
        ("resident", "data"), ("resident", "timing-only"), ("hbm", "data"), ("hbm", "timing-only")]
    for found in record.kernel:
        assert (found.program, found.golden, found.isa) == (PROGRAM, True, "base")
        assert found.latency_ps == expected_run(expected, found.model)["latency_ps"] == found.cycles * 1000
        assert set(found.wall) == {"startup", "load", "simulate", "dump"}
        assert all(len(phase.samples_s) == 2 for phase in found.wall.values())
        simulate = found.wall["simulate"].median_s
        assert found.instructions > 0 and found.instructions_per_s == pytest.approx(found.instructions / simulate)
        assert found.cycles_per_s == pytest.approx(found.cycles / simulate)
        assert found.reference_s == pytest.approx(REFERENCE["small"][found.model] - 0.40)
        assert found.speedup == pytest.approx(found.reference_s / simulate)
    assert PROGRAM in output.out and "Kernel level" in output.out and "Process level" not in output.out
    assert os.listdir(".") == ["r.json"]


def test_the_record_describes_the_machine(tmp_path, capsys):
    golden, _ = golden_directory(tmp_path)
    status, output = bench(capsys, PROGRAM, "--golden", golden, "--runs", 2, "--modes", "timing-only", "--models",
                           "hbm", "--json", "-")
    record = json.loads(output.out)
    machine = record["machine"]
    assert status == 0 and machine["cpu"] and machine["cores"] >= machine["usable_cores"] >= 1
    assert machine["memory_bytes"] > 2**28 and len(machine["load_average"]) == 3 and machine["kernel"]
    assert set(machine["versions"]) == {"plena-emu", "python", "numba", "llvmlite", "numpy"}
    assert record["kernel"][0]["speedup"] is None
    command = record.pop("command")
    assert command[:3] == ["plena-emu", "bench", PROGRAM] and str(golden) in command
    assert str(tmp_path) not in json.dumps(record)


def test_whole_processes(tmp_path, capsys, monkeypatch):
    golden, expected = golden_directory(tmp_path, {PROGRAM: REFERENCE}, lambda expected: expected.update(isa="moe"))
    run = expected_run(expected, "hbm")
    calls = fake_executable(tmp_path, monkeypatch, run["latency_ps"], run["hbm_statistics"])
    monkeypatch.setenv("RUST_LOG", "off")
    status, output = bench(capsys, PROGRAM, "--golden", golden, "--runs", 3, "--modes", "process", "--models", "hbm",
                           "--json", "r.json")
    assert status == 0, output.err
    record = read_record("r.json")
    assert record.kernel == [] and len(record.process) == 1
    found = record.process[0]
    assert list(found.wall) == ["process"] and len(found.wall["process"].samples_s) == 3
    assert found.reference_s == REFERENCE["stock"]["hbm"]
    assert found.speedup == pytest.approx(found.reference_s / found.wall["process"].median_s)
    assert len(calls()) == 4
    for arguments, variables, files in calls():
        assert arguments == run["args"] and variables["PLENA_ISA"] == "moe" and "RUST_LOG" not in variables
        assert "vram_dump.bin" not in files and "generated_machine_code.mem" in files


def test_the_real_executable(capsys):
    status, output = bench(capsys, "examples/linear", "--runs", 2, "--modes", "process", "--models", "hbm",
                           "--json", "-")
    assert status == 0, output.err
    found = json.loads(output.out)["process"][0]
    assert found["program"] == "examples/linear" and found["latency_ps"] > 0 and found["golden"] is False


@pytest.mark.parametrize("mode", ["data", "timing-only", "process"])
def test_no_figure_for_a_wrong_latency(tmp_path, capsys, monkeypatch, mode):
    def later(expected):
        expected_run(expected, "hbm")["latency_ps"] += 1

    golden, expected = golden_directory(tmp_path, change=later)
    run = expected_run(expected, "hbm")
    fake_executable(tmp_path, monkeypatch, run["latency_ps"] - 1, run["hbm_statistics"])
    status, output = bench(capsys, PROGRAM, "--golden", golden, "--runs", 2, "--modes", mode, "--models", "hbm",
                           "--json", "r.json")
    assert status == 101 and output.out == "" and output.err.count("\n") == 1
    assert f"{PROGRAM} on hbm, {mode}: latency_ps {run['latency_ps'] - 1}, expected {run['latency_ps']}" in output.err
    assert not pathlib.Path("r.json").exists()


@pytest.mark.parametrize("key, value", [("hbm_statistics", "Bytes read: 1"), ("dynamic_instructions", 7)])
def test_no_figure_for_other_wrong_results(tmp_path, capsys, key, value):
    def change(expected):
        (expected if key in expected else expected_run(expected, "hbm"))[key] = value

    golden, _ = golden_directory(tmp_path, change=change)
    status, output = bench(capsys, PROGRAM, "--golden", golden, "--modes", "data", "--models", "hbm")
    assert status == 101 and output.err.count("\n") == 1 and f"expected {value!r}"[:-1] in output.err.replace(
        "HBM Statistics - ", "")


def test_processes_and_runs_here_must_agree(tmp_path, capsys, monkeypatch):
    """A program without an expected.json is checked against itself."""
    fake_executable(tmp_path, monkeypatch, 5, "Bytes read: 0")
    status, output = bench(capsys, "examples/linear", "--runs", 2, "--models", "hbm", "--modes", "process,data")
    assert status == 101 and "examples/linear on hbm, data: latency_ps" in output.err and "expected 5" in output.err


@pytest.mark.parametrize("more, message", [
    ("sys.exit('no such thing')", "exit status 1: no such thing"),
    ("print('quiet'); sys.exit(0)", "no latency or statistics, 'quiet'"),
])
def test_a_process_that_fails(tmp_path, capsys, monkeypatch, more, message):
    fake_executable(tmp_path, monkeypatch, 1, "", more)
    status, output = bench(capsys, "examples/linear", "--models", "hbm", "--modes", "process")
    assert status == 101 and message in output.err and output.err.count("\n") == 1


def test_peak_memory_is_that_of_the_process_or_not_known(tmp_path):
    hungry = "import sys; b = bytearray(250 << 20); b[::4096] = b'x' * len(b[::4096])"
    small = f"import sys; sys.path[:] = {sys.path!r}; from plena_emu.bench.suite import run_process;"
    for script, holds in (("pass", lambda peak: peak is None or peak < 100 << 20),
                          (hungry, lambda peak: 250 << 20 < peak < 350 << 20)):
        code = f"{small} print(run_process([sys.executable, '-c', {script!r}], 'base')[1])"
        # A shell between: this process may have been larger than what is measured, and its child would inherit that.
        command = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert holds(None if out.strip() == "None" else int(out)), out
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    assert run_process([sys.executable, "-S", "-c", "pass"], "base")[1] is None


def test_default_selection(tmp_path):
    golden, _ = golden_directory(tmp_path, {"not_there": REFERENCE, PROGRAM: REFERENCE})
    shutil.copy(golden / "programs" / f"{PROGRAM}.tar.xz", golden / "programs" / "a.tar.xz")
    workloads, notes = find_workloads([], str(golden), False)
    assert [(found.name, found.walls is not None) for found in workloads] == [
        (PROGRAM, True), ("examples/linear", False)]
    assert notes == []
    workloads, _ = find_workloads([], str(golden), True)
    assert [found.name for found in workloads] == [PROGRAM, "a", "examples/linear"]
    (golden / WALLS).unlink()
    workloads, notes = find_workloads([], str(golden), False)
    assert [found.name for found in workloads] == ["examples/linear"] and "--all" in notes[0]
    workloads, notes = find_workloads([], None, False)
    assert [found.name for found in workloads] == ["examples/linear"] and "--golden names" in notes[0]


def test_programs_by_name_archive_and_directory(tmp_path):
    golden, _ = golden_directory(tmp_path)
    names = [PROGRAM, f"{PROGRAM}.tar.xz", "examples/linear", str(EXAMPLE), str(tmp_path / PROGRAM)]
    workloads, _ = find_workloads(names, str(golden), False)
    assert [(found.name, found.golden) for found in workloads] == [
        (PROGRAM, True), (PROGRAM, True), ("examples/linear", False), ("build", False), (PROGRAM, True)]
    with pytest.raises(UsageError, match=f"'base_fz_8': neither .* close to it: {PROGRAM}"):
        find_workloads(["base_fz_8"], str(golden), False)


def test_programs_without_a_run_are_named(tmp_path, capsys):
    def only_hbm(expected):
        expected["runs"] = [expected_run(expected, "hbm")]

    golden, _ = golden_directory(tmp_path, change=only_hbm)
    arguments = (PROGRAM, "--golden", golden, "--runs", 2, "--modes", "timing-only")
    status, output = bench(capsys, *arguments)
    assert status == 0 and f"note: no run on resident: {PROGRAM}" in output.out
    status, output = bench(capsys, *arguments, "--models", "resident")
    assert status == 101 and "nothing was measured" in output.err and f"no run on resident: {PROGRAM}" in output.err


def test_timing_that_depends_on_data_is_left_out(tmp_path, capsys):
    build = tmp_path / "topk"
    shutil.copytree(EXAMPLE, build)
    words = assemble("V_TOPK gp0, gp0, gp0, 0\nS_LD_INT gp1, gp0, 0\n", "moe", "text")
    (build / "generated_machine_code.mem").write_text(mem_text(words))
    status, output = bench(capsys, build, "--isa", "moe", "--modes", "data,timing-only", "--models", "hbm", "--runs", 2,
                           "--json", "-")
    record = json.loads(output.out)
    assert status == 0 and [found["mode"] for found in record["kernel"]] == ["data"]
    assert "not in timing-only mode, as timing can depend on data: topk" in record["notes"]


@pytest.mark.parametrize("name, text, message", [
    ("expected.json", "{", "expected.json: not JSON"),
    ("expected.json", '{"isa": "base"}', "runs: found nothing, expected a list"),
])
def test_a_broken_program(tmp_path, capsys, name, text, message):
    golden, _ = golden_directory(tmp_path)
    (tmp_path / PROGRAM / name).write_text(text)
    status, output = bench(capsys, tmp_path / PROGRAM, "--golden", golden)
    assert status == 101 and message in output.err and output.err.count("\n") == 1


@pytest.mark.parametrize("wall", [0.3, 0.4, 0.400001, 1.4])
def test_a_reference_that_is_all_start_up_has_no_speedup(wall):
    walls = Walls(small={"hbm": wall}, stock={})
    seconds = walls.simulate_s("hbm")
    assert (seconds is None) == (wall <= 0.4) and walls.simulate_s("resident") is None
    found = made([1.0], mode="data", reference_s=seconds)
    assert len(means([found])) == (seconds is not None)


@pytest.mark.parametrize("walls, message", [
    ({PROGRAM: {"small": {"hbm": -1.0}, "stock": {}}}, "small.hbm: found -1.0, expected a number above 0"),
    ({PROGRAM: {"small": {}, "stock": {"hbm": 0}}}, "stock.hbm: found 0, expected a number above 0"),
])
def test_walls_that_no_clock_shows(tmp_path, capsys, walls, message):
    golden, _ = golden_directory(tmp_path, walls)
    status, output = bench(capsys, PROGRAM, "--golden", golden)
    assert status == 101 and message in output.err and output.err.count("\n") == 1


def test_arguments_that_no_process_takes(tmp_path, capsys):
    def change(expected):
        expected["runs"][0]["args"] = ["a\0b"]

    golden, _ = golden_directory(tmp_path, change=change)
    status, output = bench(capsys, PROGRAM, "--golden", golden)
    assert status == 101 and "runs[0].args[0]" in output.err and "text without NUL characters" in output.err
    assert output.err.count("\n") == 1


def test_times_below_zero_are_no_result(capsys):
    text = record(made([1.0])).to_json()
    pathlib.Path("a.json").write_text(text.replace('"median_s": 1.0', '"median_s": -1.0'))
    status, output = bench(capsys, "--compare", "a.json", "a.json")
    assert status == 101 and "median_s: found -1.0, expected a number from 0" in output.err


def test_a_broken_archive_and_broken_walls(tmp_path, capsys):
    golden, _ = golden_directory(tmp_path, {PROGRAM: {"small": {}}})
    status, output = bench(capsys, PROGRAM, "--golden", golden)
    assert status == 101 and WALLS in output.err and "stock" in output.err and output.err.count("\n") == 1
    (golden / WALLS).unlink()
    archive = golden / "programs" / f"{PROGRAM}.tar.xz"
    archive.write_bytes(archive.read_bytes()[:2000])
    status, output = bench(capsys, PROGRAM, "--golden", golden)
    assert status == 101 and "cannot unpack" in output.err and output.err.count("\n") == 1


@pytest.mark.parametrize("arguments, status, message", [
    (["--runs", "1"], 2, "at least 2"),
    (["--modes", "data,fast"], 2, "'fast'"),
    (["--models", "ddr"], 2, "'ddr'"),
    (["--plot", "p.pdf"], 2, ".png or .svg"),
    (["nothing"], 2, "'nothing'"),
    (["--golden", "absent"], 101, "absent"),
    (["--json", "absent/r.json"], 101, "directory absent does not exist"),
    (["--compare", "a", "b", "--all"], 2, "measures nothing"),
    (["--compare", "absent", "b"], 101, "absent: cannot read"),
])
def test_refused_command_lines(capsys, arguments, status, message):
    try:
        found = main(["bench", *arguments])
    except SystemExit as stop:
        found = stop.code
    assert found == status and message in capsys.readouterr().err


# Synthetic records: means, tables, comparison, plot.

MACHINE = Machine(cpu="Abacus", cores=2, usable_cores=2, memory_bytes=2**34, architecture="x", kernel="K 1",
                  load_average=(0.0, 0.0, 0.0), versions={"numba": "1"})


def made(samples, program="p", mode="process", model="hbm", latency_ps=1000, **more):
    """A figure whose headline phase has the given samples."""
    fields = {"instructions": 200_000, "reference_s": None, "golden": True} | more
    wall = {"process": samples} if mode == "process" else {"startup": [1.0], "load": [1.0], "simulate": samples,
                                                           "dump": [1.0]}
    return figure(program=program, isa="base", model=model, mode=mode, latency_ps=latency_ps, wall=wall, **fields)


def record(*figures, machine=MACHINE):
    return BenchRecord(started="now", machine=machine, runs=5, notes=[], means=means(list(figures)),
                       kernel=[found for found in figures if found.mode != "process"],
                       process=[found for found in figures if found.mode == "process"])


def test_timing():
    found = timing([3.0, 1.0, 2.0, 10.0, 2.5])
    assert (found.median_s, found.mad_s) == (2.5, 0.5) and found.samples_s[3] == 10.0


def test_means_count_what_they_should():
    figures = [
        made([1.0], "a", reference_s=4.0), made([1.0], "b", reference_s=9.0),
        made([1.0], "a", model="resident", reference_s=6.0),
        made([2.0], "a", mode="data", reference_s=100.0),
        made([1.0], "small", reference_s=1e6, instructions=100_000), made([1.0], "unknown", reference_s=1e6,
                                                                           instructions=None),
        made([1.0], "own", reference_s=1e6, golden=False), made([1.0], "no wall"),
    ]
    found = {(mean.mode, mean.model): (mean.programs, mean.speedup, mean.smallest) for mean in means(figures)}
    assert found.keys() == {("process", "hbm"), ("process", "resident"), ("process", "all"), ("data", "hbm")}
    assert found["process", "hbm"] == pytest.approx((2, 6.0, 4.0))
    assert found["process", "all"] == pytest.approx((3, math.cbrt(4 * 9 * 6), 4.0))
    assert found["data", "hbm"] == pytest.approx((1, 50.0, 50.0))


def test_tables_hold_both_levels_apart():
    text = bench_text(record(made([2.0], "wide", reference_s=8.0), made([0.5], "narrow", mode="data", reference_s=8.0)))
    kernel, process = text.index("Kernel level"), text.index("Process level")
    assert kernel < text.index("narrow") < process < text.index("wide")
    assert "16.0" in text and "4.0" in text and "Abacus" in text


STEADY = [1.00, 1.01, 0.99, 1.00, 1.02]


@pytest.mark.parametrize("old, new, verdict", [
    (STEADY, [1.10 * s for s in STEADY], "slower"),
    (STEADY, [0.90 * s for s in STEADY], "faster"),
    (STEADY, [1.02 * s for s in STEADY], "same"),
    ([1.0] * 5, [1.02] * 5, "same"),  # within 3 %
    ([1.0] * 5, [1.05] * 5, "slower"),
    ([0.9, 1.0, 1.1, 0.8, 1.2], [1.0, 1.1, 1.2, 0.9, 1.3], "same"),  # 10 % with a spread of 10 %
    ([0.9, 1.0, 1.1, 0.8, 1.2], [2.0] * 5, "slower"),
    ([1.0] * 5, [0.9, 1.2, 1.4, 0.8, 1.2], "same"),  # the new spread counts as well
    ([0.0010] * 5, [0.0014] * 5, "same"),  # 0.4 ms
    ([0.0010] * 5, [0.0016] * 5, "slower"),
    ([0.0] * 5, [1.0] * 5, "slower"),
])
def test_changes_beyond_noise(old, new, verdict):
    """Phases of runs in this process: simulate has the samples, the three others stay the same."""
    found = compare(record(made([1.0], mode="data")), record(made([1.0], mode="data")))
    assert (found.slower, found.faster, found.unchanged) == ([], [], 4)
    first, second = made([1.0], mode="data"), made([1.0], mode="data")
    first.wall["simulate"], second.wall["simulate"] = timing(old), timing(new)
    found = compare(record(first), record(second))
    assert [change.phase for change in found.slower] == ["simulate"] * (verdict == "slower")
    assert [change.phase for change in found.faster] == ["simulate"] * (verdict == "faster")
    assert found.unchanged == 3 + (verdict == "same")


def test_only_like_is_compared_with_like():
    other = Machine(**{**{key: getattr(MACHINE, key) for key in MACHINE.__struct_fields__},
                       "cpu": "Comptometer", "versions": {"numba": "2"}, "load_average": (1.0, 1.0, 1.0)})
    old = record(made([1.0], "same"), made([1.0], "gone"), made([1.0], "changed"), made([1.0], "mode"))
    new = record(made([1.0], "same"), made([1.0], "new"), made([9.0], "changed", latency_ps=2000),
                 made([9.0], "mode", model="resident"), machine=other)
    found = compare(old, new)
    assert (found.slower, found.faster, found.unchanged) == ([], [], 1)
    text = "\n".join(found.remarks)
    for line in ("cpu: Abacus before and Comptometer now", "numba: 1 before and 2 now",
                 "gone hbm process: only in the old", "new hbm process: only in the new",
                 "changed hbm process: not compared, latency 1000 ps before and 2000",
                 "mode resident process: only in the new"):
        assert line in text
    assert "load" not in text


@pytest.mark.parametrize("factor, status", [(1.0, 0), (2.0, 1), (0.5, 0)])
def test_compare_command(capsys, factor, status):
    for path, scale in (("old.json", 1.0), ("new.json", factor)):
        pathlib.Path(path).write_text(record(made([scale * sample for sample in STEADY])).to_json())
    found, output = bench(capsys, "--compare", "old.json", "new.json")
    assert found == status
    assert f"{int(factor > 1)} slower, {int(factor < 1)} faster, {int(factor == 1)} within noise" in output.out
    assert ("Slower" in output.out, "Faster" in output.out) == (factor > 1, factor < 1)


@pytest.mark.parametrize("text, message", [
    ("", "not JSON"), ("[]", "found an empty list, expected a table"), ("\xff", "not UTF-8"),
    ("{}", "format: found nothing, expected plena-emu bench 1, a result of plena-emu bench"),
    ('{"format": "plena-emu bench 1"}', "started: found nothing, expected text"),
    ('{"a":' * 200000, "nested too deeply"),
])
def test_files_that_are_no_results(capsys, text, message):
    pathlib.Path("a.json").write_bytes(text.encode("latin-1"))
    status, output = bench(capsys, "--compare", "a.json", "a.json")
    assert status == 101 and message in output.err and output.err.count("\n") == 1


def test_a_result_of_another_format(capsys):
    written = record(made([1.0]))
    written.format = "plena-emu bench 0"
    pathlib.Path("a.json").write_text(written.to_json())
    with pytest.raises(EmuError, match="format: found 'plena-emu bench 0', expected plena-emu bench 1"):
        read_record("a.json")


def test_without_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, output = bench(capsys, "--plot", "p.svg")
    assert status == 101 and output.err.count("\n") == 1 and "needs matplotlib" in output.err


@pytest.mark.parametrize("ending, magic", [(".png", b"\x89PNG"), (".svg", b"<?xml")])
@pytest.mark.parametrize("reference", [None, 8.0])
def test_plot(ending, magic, reference):
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    drawn = record(made([1.0], reference_s=reference), made([2.0], "q", mode="data", model="resident"))
    bench_plot.write_plot(drawn, f"p{ending}")
    first = pathlib.Path(f"p{ending}").read_bytes()
    bench_plot.write_plot(drawn, f"p{ending}")
    assert first.startswith(magic) and pathlib.Path(f"p{ending}").read_bytes() == first


def test_a_directory_whose_name_is_no_text_is_named_escaped(tmp_path):
    build = tmp_path / "caf\udce9"
    build.mkdir()
    (build / "generated_machine_code.mem").write_text("")
    (found,), _ = find_workloads([str(build)], None, False)
    assert found.name == r"caf\udce9" and found.source == str(build)
