"""Event traces as tables: the events of the goldens, row by row (spec §7.11)."""

import csv
import hashlib
import json

import hardware_runs as hr
import pytest

import plena_emu
from plena_emu.cli import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.running.timeline import event_table

SHORT = [run for run in hr.runs() if run["program"].startswith(("tm_hz", "tm_fz")) and run["instructions"] < 3000][::6]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


def run_table(run, programs, path, **more):
    return plena_emu.run(str(hr.unpack(run, programs)), timing="rtl-v1", hbm_channels=run["channels"], timing_only=True,
                         event_table=str(path), **more)


@pytest.mark.parametrize("run", SHORT, ids=lambda run: run["program"])
def test_rows_are_the_events_of_the_golden(run, programs, tmp_path):
    run_table(run, programs, tmp_path / "deep" / "events.csv")
    title, rows = (tmp_path / "deep" / "events.csv").read_bytes().split(b"\n", 1)
    assert title.decode().split(",") == list(event_table.COLUMNS)
    assert hashlib.sha256(rows).hexdigest() == run["trace_sha256"]


@pytest.mark.parametrize("batch", [7, event_table.BATCH_ROWS])
def test_parquet_has_the_rows_of_the_csv(batch, programs, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(event_table, "BATCH_ROWS", batch)
    for name in ("events.csv", "events.parquet"):
        run_table(SHORT[0], programs, tmp_path / name)
    with open(tmp_path / "events.csv", newline="") as file:
        expected = list(csv.reader(file))
    table = parquet.read_table(tmp_path / "events.parquet")
    assert table.column_names == expected[0]
    found = zip(*(column.to_pylist() for column in table.columns), strict=True)
    assert [["" if value is None else str(int(value)) if isinstance(value, bool) else str(value) for value in row]
            for row in found] == expected[1:]
    assert {row[-2] for row in expected[1:]} > {""} and table.column("stall_reason").null_count > 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_are_bounded_and_the_rest_is_counted(suffix, programs, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    found = run_table(SHORT[0], programs, tmp_path / f"e.{suffix}", event_rows=5)
    left = SHORT[0]["instructions"] - 5
    assert any(f"{left} instructions after the first 5 are left out" in line for line in found.warnings)
    if suffix == "csv":
        assert len((tmp_path / "e.csv").read_text().splitlines()) == 6
    else:
        assert pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "e.parquet").num_rows == 5


def test_json_is_what_the_drop_in_writes(programs, tmp_path):
    run = SHORT[0]
    build, channels = str(hr.unpack(run, programs)), str(run["channels"])
    assert main.main(["run", build, "--timing", "rtl-v1", "--hbm-channels", channels, "--timing-only", "--quiet",
                      "--event-trace", str(tmp_path / "e.json")]) == 0
    assert hr.digest(json.loads((tmp_path / "e.json").read_text())["events"]) == run["trace_sha256"]


def test_a_serial_run_has_a_table_too(programs, tmp_path):
    run = SHORT[0]
    plena_emu.run(str(hr.unpack(run, programs)), dma="production", hbm_channels=run["channels"], timing_only=True,
                  event_table=str(tmp_path / "e.csv"))
    rows = list(csv.DictReader((tmp_path / "e.csv").read_text().splitlines()))
    assert len(rows) == run["instructions"]
    assert all(row["issue_cycle"] == row["start_cycle"] and row["stall_reason"] == "" for row in rows)


@pytest.mark.parametrize("fields, message", [
    ({"event_table": "e.txt", "timing": "rtl-v1"}, "expected a name that ends in .parquet or .csv"),
    ({"event_table": "e.csv"}, "event_table needs hardware timing"),
    ({"event_table": "e.csv", "timing": "rtl-v1", "event_rows": 0}, "event_rows"),
    ({"timing": "rtl-v1", "event_rows": 5}, "event_rows needs event_table"),
    ({"timing": "rtl-v1", "event_rows": 5, "event_trace": "e.json"}, "event_rows needs event_table"),
])
def test_what_is_refused(fields, message, programs):
    with pytest.raises(UsageError, match=message):
        plena_emu.run(str(hr.unpack(SHORT[0], programs)), **fields)


@pytest.mark.parametrize("flags, message", [
    (["--event-trace", "e.csv"], "--event-trace needs hardware timing"),
    (["--event-trace", "e.txt", "--timing", "rtl-v1"], "expected a name that ends in .parquet, .csv or .json"),
    (["--event-rows", "3", "--timing", "rtl-v1"], "--event-rows needs --event-trace"),
    (["--event-trace", "e.json", "--event-rows", "3", "--timing", "rtl-v1"], "not with FILE.json"),
    (["--event-trace", "e.csv", "--json", "e.csv", "--timing", "rtl-v1"], "--event-trace e.csv"),
])
def test_flags_that_are_refused(flags, message, programs, capsys):
    with pytest.raises(SystemExit) as status:
        raise SystemExit(main.main(["run", str(hr.unpack(SHORT[0], programs)), "--timing-only", *flags]))
    assert status.value.code == 2 and message in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_an_error(programs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmuError, match="event trace .*cannot write"):
        run_table(SHORT[0], programs, tmp_path / "file" / "e.csv")
