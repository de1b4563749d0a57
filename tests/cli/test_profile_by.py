"""`plena-emu profile --by`: tables, CSV and JSON of the figures of a run."""

import csv
import io
import json

import pytest
from oracle import goldens

from plena_emu.api import run
from plena_emu.cli.main import main
from plena_emu.report.quantities import milliseconds
from plena_emu.result import FIELDS


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return str(goldens.unpack(goldens.find("base_aten_linear"), tmp_path_factory.mktemp("build")).directory)


def output(capsys, *arguments):
    assert main(["profile", *arguments]) == 0
    return capsys.readouterr().out


def test_table(build, capsys):
    text = output(capsys, build, "--by", "operator")
    head, rows = text.split("\n\n")
    assert "0.00 % of the time is other" in head and "generated_asm_code.asm" in head
    titles, first, second = rows.strip().split("\n")
    assert titles.split()[0] == "operator" and first.split()[0] == "linear" and second.split()[0] == "embed"
    result = run(build, timing_only=True)
    linear = next(row.figures for row in result.stages.by("operator") if row.key == ("linear",))
    assert f"{linear.time_ps / 1e6:,.3f}" in first and f"{linear.bytes_read:,}" in first
    assert "█" in first and first.count("█") + first.count("▒") == 24


@pytest.mark.parametrize("key", ["layer", "operator", "layer,operator", "operator,layer", "region", "opcode", "loop"])
def test_csv_holds_every_figure(build, key, capsys):
    names = key.split(",")
    rows = list(csv.DictReader(io.StringIO(output(capsys, build, "--by", key, "--csv"))))
    assert list(rows[0]) == [*names, *FIELDS, "array_utilization"]
    result = run(build, timing_only=True, loops=True)
    expected = {tuple("" if part is None else str(part) for part in row.key): row.figures
                for row in result.stages.by(*names)}
    assert len(rows) == len(expected)
    for row in rows:
        figures = expected[tuple(row[name] for name in names)]
        for field in FIELDS:
            value = getattr(figures, field)
            assert row[field] == ("" if value is None else str(value))


def test_the_headline_is_that_of_the_run(build, capsys):
    """On a board: latency and its parts to the picosecond; else nanoseconds. Times from 10 ms on are in ms."""
    flags = ["--board", "custom_a7", "--memory-model", "hbm", "--clock-mhz", "1"]
    lines = output(capsys, build, "--by", "operator", *flags).splitlines()
    result = run(build, timing_only=True, board="custom_a7", memory_model="hbm", clock_mhz=1)
    assert lines[0] == f"{milliseconds(result.board_time_ps)} on custom_a7 at 1 MHz"
    assert lines[1].split()[:2] == ["compute", milliseconds(result.compute_ps).split()[0]]
    assert "time ms" in " ".join(lines) and result.latency_ps > 10**10
    linear = next(row.figures for row in result.stages.by("operator") if row.key == ("linear",))
    assert f"{linear.time_ps / 1e9:,.3f}" in next(line for line in lines if line.startswith("linear"))
    lines = output(capsys, build, "--by", "operator", *flags[:4], "--reference-timing").splitlines()
    assert " ms on " not in lines[0] and "custom_a7's latencies, --reference-timing" in lines[1]


def test_json_is_the_record_of_the_run(build, capsys):
    found = json.loads(output(capsys, build, "--by", "region", "--json"))
    assert found["stages"]["regions"][0]["key"] == ["outside"]  # the build has no tables
    assert found["timing_only"] and found["stages"]["loops"] is None


def test_machine_code_alone_has_loops_for_stages(build, tmp_path, capsys):
    with open(f"{build}/generated_machine_code.mem") as words, open(f"{build}/plena_settings.toml") as toml:
        (tmp_path / "other.mem").write_text(words.read())
        (tmp_path / "plena_settings.toml").write_text(toml.read())
    text = output(capsys, str(tmp_path / "other.mem"), "--by", "operator")
    assert "from loops" in text and "no loop" in text and "loop 33-50" in text


@pytest.mark.parametrize("arguments, message", [
    (["--by", "colour"], "invalid choice"),
    (["--csv"], "--csv needs --by"), (["--by", "layer", "--csv", "--json"], "--csv: found --json as well"),
    (["--static", "--csv"], "--csv: not with --static"),
    (["--static", "--memory-model", "auto"], "--memory-model: not with --static"),
    (["--static", "--ddr-capacity", "1M"], "--ddr-capacity: not with --static"),
    (["--static", "--ddr3-capacity", "1M"], "--ddr3-capacity: not with --static"),
    (["--static", "--host-bandwidth", "1M"], "--host-bandwidth: not with --static"),
    (["--static", "--reference-timing"], "--reference-timing: not with --static"),
    (["--static", "--hbm-size", "1M"], "--hbm-size: not with --static"),
    (["--static", "--dram", "ddr4"], "--dram: not with --static"),
    (["--by", "layer", "--static"], "--by: not with --static"),
    (["--by", "layer", "--latencies", "settings"], "--latencies needs --static"),
    (["--latencies", "board"], "--latencies needs --static"),
    (["--clock-mhz", "50"], "--clock-mhz needs --board"), (["--ddr-speed", "2"], "--ddr-speed needs --board"),
    (["--reference-timing"], "--reference-timing needs --board"),
    (["--board", "custom_a7", "--memory-model", "kv-swap"], "needs"),
])
def test_flags_that_do_not_go_together(build, arguments, message, capsys):
    try:
        status = main(["profile", build, *arguments])
    except SystemExit as stop:
        status = stop.code
    assert status in (2, 101)
    assert message in capsys.readouterr().err


def test_assembly_cannot_run(build, capsys):
    assert main(["profile", f"{build}/generated_asm_code.asm", "--by", "layer"]) == 2
    assert "only machine code runs, expected a build directory or FILE.mem" in capsys.readouterr().err
