"""Does `plena-emu sweep` show, write and refuse what docs/sweep.md says?"""

import csv
import json
import re
import shutil
import subprocess
import sys

import pytest
from sweep_studies import LINEAR, ROOT

from plena_emu.cli.main import main
from plena_emu.cli.sweep_progress import Pace

BASE = ["sweep", LINEAR, "--memory-model", "resident,weight-stream", "--host-bandwidth", "1M..4M", "--workers", "0"]


def ran(arguments, capsys, status=0):
    assert main(arguments) == status
    return capsys.readouterr()


def refused(arguments, capsys):
    """The one line on standard error."""
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    said = capsys.readouterr()
    assert status in (2, 101) and said.out == "" and said.err.count("\n") == 1, said
    return said.err


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_table_and_every_file(tmp_path, capsys):
    files = [word for name in ("csv", "jsonl", "json") for word in (f"--{name}", str(tmp_path / name))]
    said = ran([*BASE, *files], capsys)
    assert "weight-stream" in said.out and "4 MB/s" in said.out and said.err.startswith("6 points\n")
    lines = (tmp_path / "jsonl").read_text().splitlines()
    assert len(rows_of(tmp_path / "csv")) == len(lines) == 6
    record = json.loads((tmp_path / "json").read_text())
    assert record["format"] == "plena-emu sweep 1" and record["varying"] == ["memory_model", "host_bandwidth"]
    assert record["points"] == [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", ["csv", "jsonl"])
def test_rows_on_standard_output_have_no_table_around_them(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ran([*BASE, f"--{name}", "file"], capsys)
    assert ran([*BASE, f"--{name}", "-"], capsys).out == (tmp_path / "file").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", ["1025", "9999999"])
def test_an_absurd_number_of_workers_is_refused(number, capsys):
    assert f"workers: found {number}, expected at most 1024" in refused([*BASE[:-2], "--workers", number], capsys)


def test_selections(capsys):
    said = ran([*BASE, "--best=-time_ms", "--top", "1", "--pareto", "time_ms,host_bandwidth", "--pivot",
                "host_bandwidth,memory_model"], capsys)
    assert re.search(r"^1 MB/s +\S+ +\S+$", said.out, re.M)
    assert "Largest time_ms" in said.out and "No point beats these in time_ms and host_bandwidth" in said.out
    shown = ran([*BASE, "--columns", "regime,bytes_read"], capsys).out.splitlines()[0]
    assert re.fullmatch(r"point +memory model +host bandwidth +regime +bytes read", shown)


def test_points_come_in_the_order_of_the_flags(capsys):
    words = ["--host-bandwidth", "1M,2M", "--axis", "hbm_size=1M,2M", "--memory-model=resident,weight-stream"]
    said = ran(["sweep", LINEAR, *words, "--workers", "0"], capsys).out.splitlines()
    assert re.match(r"point +host bandwidth +hbm size +memory model", said[0])
    assert [re.split(" {2,}", line)[1:4] for line in said[1:4]] == [
        ["1 MB/s", "1 MiB", "resident"], ["1 MB/s", "1 MiB", "weight-stream"], ["1 MB/s", "2 MiB", "resident"]]


def test_dry_run_runs_nothing_and_says_how_much(tmp_path, capsys):
    said = ran([*BASE, "--dry-run", "--store", str(tmp_path / "s"), "--where", "host_bandwidth > 1000000"], capsys)
    assert said.out == ("4 points of 6 combinations, 1 program; 0 are stored\n"
                        "less than a second in one process, less where points share more work\n")
    assert not (tmp_path / "s").exists()


def test_a_failed_point_is_a_row_and_a_status(tmp_path, capsys):
    said = ran(["sweep", "--model", "tiny", "--axis", "isa=base,moe", "--layers", "1", "--workers", "0", "--csv",
                str(tmp_path / "s.csv")], capsys, 1)
    assert "1 of 2 points failed" in said.out and "offset 16 is no multiple of 64" in said.out
    rows = rows_of(tmp_path / "s.csv")
    assert [bool(row["error"]) for row in rows] == [False, True] and rows[1]["time_ms"] == ""


def test_failures_name_what_the_user_named_and_are_the_same_again(tmp_path, capsys):
    """The message of a run that names its build directory: never a temporary one, and the same in each run."""
    build = tmp_path / "mine"
    shutil.copytree(LINEAR, build)
    (build / "weight_manifest.json").unlink()
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.csv")
        ran(["sweep", str(build), "--memory-model", "kv-swap", "--workers", "0", "--ddr-capacity", "1K,2K,3K", "--csv",
             str(files[-1])], capsys, 1)
    rows = rows_of(files[0])
    assert files[0].read_bytes() == files[1].read_bytes()
    for row in rows:
        assert str(build) in row["error"] and "plena-sweep-" not in row["error"] and "{program}" not in row["error"]


def test_a_long_table_shows_every_board_and_why_points_failed(capsys):
    said = ran(["sweep", "--model", "tiny", "--layers", "1", "--board", "custom_a7,nexys_video,v80", "--ddr-capacity",
                "2K..1M/25", "--workers", "0", "--pivot", "ddr_capacity,board"], capsys, 1).out
    assert re.search(r"^\d+ of 75 points failed$", said, re.M)
    failed = re.search(r"^ *(\d+)  [0-9a-f]{10}  board=v80 .*board v80 has no host link", said, re.M)
    assert failed and f"{failed[1]} of 75 points failed" in said and said.count("has no host link") == 1
    said = ran(["sweep", "--model", "tiny", "--layers", "1", "--board", "custom_a7,nexys_video,v80", "--ddr-capacity",
                "2K..1M/25", "--workers", "0"], capsys, 1).out
    assert all(re.search(rf"^[0-9a-f]{{10}} +{board} ", said, re.M) for board in ("custom_a7", "nexys_video", "v80"))
    assert "more points between these" in said and said.count("has no host link") == 1


def test_a_point_has_a_report(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="the extra `report`")
    said = ran([*BASE, "--plot", str(tmp_path / "f.svg")], capsys)
    point = re.search(r"^([0-9a-f]{10}) +weight-stream +4 MB/s", said.out, re.M)[1]
    ran([*BASE, "--quiet", "--report", point, str(tmp_path / "p.html")], capsys)
    page = (tmp_path / "p.html").read_text()
    assert "4,000,000" in page and "weight-stream" in page and "/tmp" not in page and "cannot read" not in page
    assert "<svg" in (tmp_path / "f.svg").read_text()


@pytest.mark.parametrize("arguments, message", [
    (["--best", "nope"], "column 'nope'"),
    (["--pareto", "time_ms"], "expected at least two columns"),
    (["--pivot", "board"], "--pivot board: expected DOWN,ACROSS"),
    (["--columns", "x"], "column 'x'"),
    (["--kind", "heat"], "need --plot"),
    (["--plot", "x.gif"], "expected a file name that ends in"),
    (["--csv", "nowhere/s.csv"], "--csv nowhere/s.csv: directory nowhere does not exist"),
    (["--csv", "same", "--jsonl", "same"], "expected a file for each"),
    (["--best", "regime"], "column regime: holds text"),
    (["--pareto", "time_ms,memory_model"], "column memory_model: holds text"),
    (["--pivot", "build,memory_model"], "pivot: two points have build"),
    (["--report", "zzz", "r.html"], "none of the study's ids begin so"),
    (["--plot", "x.svg", "--plot-columns", "a,b"], "column 'a'"),
    (["--plot", "x.svg", "--kind", "pareto"], "a Pareto front needs two columns"),
    (["--plot", "x.svg", "--kind", "heat", "--plot-columns", "build,memory_model"], "found two with build"),
    (["--plot", "x.svg", "--kind", "curve", "--plot-columns", "memory_model"], "a curve needs a key of numbers"),
    (["--top", "3"], "--top: needs --best"),
    (["--best", "time_ms", "--top", "0"], "--top: found 0"),
    (["--retry-failed"], "--retry-failed needs --store"),
    (["--resume"], "--resume needs --store"),
    (["--scheduler", "tcp://x:1"], "--scheduler: not with --workers"),
    (["--parquet", "/proc/x"], "--parquet /proc/x: cannot write: "),
    (["--csv", "/proc/x"], "--csv /proc/x: cannot write: "),
    (["--report", "0", "/proc/x"], "--report /proc/x: cannot write: "),
    (["--memory-limit", "1K"], "memory limit of a worker: found 1024 bytes, expected at least 209715200"),
    (["--memory-limit", "1G"], "--memory-limit: needs worker processes"),
    (["--axis", "x"], "--axis x: expected KEY=VALUES"),
    (["--axis", "memory_model=hbm"], "--axis memory_model: given more than once"),
    (["--axis", "layers=3"], "layers: a build is compiled already"),
    (["--where", "x >"], "no condition"),
    (["--where", "ddr_capacity >= 4M"], "ddr_capacity: found no such axis, expected one of build, memory_model"),
    (["--best", ""], "argument --best: found an empty value"),
    (["--pivot", ""], "argument --pivot: found an empty value"),
    (["--pareto", ""], "argument --pareto: found an empty value"),
    (["--columns", " "], "argument --columns: found an empty value"),
    (["--scheduler", ""], "argument --scheduler: found an empty value"),
    (["--plot", "x.svg", "--plot-columns", ""], "argument --plot-columns: found an empty value"),
    (["--columns", "regime,time_ms,regime"], "--columns: found regime twice"),
    (["--csv", "-", "--json", "-"], "--csv and --json: found - more than once"),
    (["--board", "custom_a7", "--board", "v80"], "given more than once"),
])
def test_one_line_for_what_makes_no_sense(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text("axes: {build: x}\n")
    monkeypatch.setattr("plena_emu.sweeping.local.LocalEngine.outcomes", lambda *_: pytest.fail("a point ran"))
    assert message in refused([*BASE, *arguments], capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_study_file_with_flags_over_it(tmp_path, capsys):
    study = tmp_path / "s.yaml"
    study.write_text(f"axes:\n  build: {LINEAR}\n  memory_model: resident\n  host_bandwidth: 1M..4M\n")
    said = ran(["sweep", str(study), "--host-bandwidth", "7M", "--workers", "0"], capsys)
    assert said.err.startswith("1 point\n")
    assert main(["sweep", str(study), "--axis", "nope=3"]) == 2 and "unknown key" in capsys.readouterr().err
    assert "a study file has keys of its own" in refused(["sweep", str(study), "--where", "layers > 1"], capsys)
    assert "found a study beside other arguments" in refused(["sweep", LINEAR, str(study)], capsys)


def test_how_much_is_left_is_said_when_enough_was_seen():
    """Not of the first points, which compile and load; then by the rate of the last minute."""
    now = [0.0]
    pace = Pace(lambda: now[0])
    for now[0], finished, left in ((1, 1, None), (4, 9, None), (6, 9, None), (10, 20, 490.0), (40, 30, 1293.3),
                                   (65, 500, 62.1), (100, 900, 6.9), (110, 1000, 0.0)):
        pace.reached(finished)
        assert pace.left(1000) == (left if left is None else pytest.approx(left, rel=0.01)), now
    pace.restart()
    assert pace.left(2000) is None and pace.rate == 0.0


def test_what_few_need_is_imported_where_it_is_used():
    """The package and the drop-in do without Dask, Optuna, pyarrow and matplotlib; a sweep in one process too."""
    heavy = "{'dask', 'distributed', 'optuna', 'pyarrow', 'matplotlib', 'pandas', 'numba'}"
    code = (f"import sys, plena_emu; import plena_emu.cli.dropin; a = {heavy} & set(sys.modules)\n"
            f"plena_emu.sweep(build={LINEAR!r}, memory_model='resident', workers=0)\n"
            f"print(a, {heavy} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set() set()", done.stdout + done.stderr


def test_the_page_about_sweeps_runs(tmp_path, monkeypatch):
    """Every Python block of docs/sweep.md."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "sweep.md").read_text(), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/sweep.md", "exec"), {})
