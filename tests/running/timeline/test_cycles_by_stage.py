"""Cycles of a timeline by stage, opcode and loop are exact parts of the run, as the list of its events has them."""

import csv
import json
import re

import hardware_runs as hr
import pytest

import plena_emu
from plena_emu.cli import main
from plena_emu.report.cycles import cycles_text
from plena_emu.result.cycle_table import Cycles

ALL = hr.runs()
COMPILED = next(run for run in ALL if run["program"].startswith("base_") and run["instructions"] < 100_000)
RANDOM = next(run for run in ALL if run["program"].startswith("tm_hz"))
RUNS = [COMPILED, RANDOM]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: run["program"])
def found(request, programs):
    """(result, events) of a run."""
    build = str(hr.unpack(request.param, programs))
    path = programs / "events.csv"
    result = plena_emu.run(build, timing="rtl-v1", hbm_channels=request.param["channels"], timing_only=True, loops=True,
                           event_table=str(path), timeline=str(programs / "timeline.json"))
    with open(path, newline="") as file:
        return result, list(csv.DictReader(file)), json.loads((programs / "timeline.json").read_text())


def summed(rows) -> Cycles:
    total = Cycles()
    for row in rows:
        total = total.plus(row.cycles)
    return total


@pytest.mark.parametrize("names", [("layer", "operator"), ("operator",), ("layer",), ("opcode",)], ids=str)
def test_parts_sum_to_the_timeline(found, names):
    result, *_ = found
    timeline, total = result.hardware.timeline, summed(result.hardware.stages.by(*names))
    assert total.cycles == timeline["total_makespan_cycles"]
    assert total.instructions == timeline["frontend_issue_cycles"] == result.instructions
    reasons = timeline["stall_cycles_by_reason"]
    assert total.stalls | {"pipeline_recovery": total.recovery} == {"pipeline_recovery": 0} | reasons
    assert total.backend_wait == sum(timeline["backend_wait_cycles_by_reason"].values())
    assert total.work == timeline["resource_work_cycles"]


def test_opcodes_have_what_their_events_say(found):
    result, events, _ = found
    expected: dict[str, list[int]] = {}
    for event in events:
        issue, accepted, recovery, start, completion = (int(event[f"{name}"]) for name in (
            "issue_cycle", "accepted_cycle", "recovery_cycles", "start_cycle", "completion_cycle"))
        sums = expected.setdefault(event["opcode"], [0, 0, 0, 0, 0])
        for k, value in enumerate((1, accepted - issue - recovery, recovery, start - accepted, completion - start)):
            sums[k] += value
    rows = {row.key[0]: row.cycles for row in result.hardware.stages.by("opcode")}
    assert {name: [c.instructions, c.stall, c.recovery, c.backend_wait, sum(c.work.values())]
            for name, c in rows.items()} == expected
    last = max(events, key=lambda event: (int(event["completion_cycle"]), int(event["sequence"])))
    assert [name for name, c in rows.items() if c.drain] in ([last["opcode"]], [])


def test_rows_of_the_text_are_the_sums_they_say(found):
    result = found[0]
    lines = cycles_text(result, ("opcode",), 10_000).splitlines()
    at = next(number for number, line in enumerate(lines) if "recovery" in line and "drain" in line)
    opcodes = [row.key[0] for row in result.hardware.stages.by("opcode")]
    rows = [line.split() for line in lines[at + 1 :] if line.split() and line.split()[0] in opcodes]
    assert len(rows) == len(opcodes)
    for row in rows:
        numbers = [int(cell.replace(",", "")) for cell in row if re.fullmatch("[0-9,]+", cell)]
        cycles, issued, stalled, recovery, drain, *_ = numbers
        assert cycles == issued + stalled + recovery + drain
    assert any(row.cycles.recovery for row in result.hardware.stages.by("opcode"))


def test_the_outermost_loops_hold_what_is_inside_them(found):
    result, *_ = found
    loops = {row.key[0]: row.cycles for row in result.hardware.stages.by("loop")}
    for path, cycles in loops.items():
        inner = [other for name, other in loops.items() if name.startswith(f"{path} / ")
                 and " / " not in name[len(path) + 3 :]]
        assert sum(other.cycles for other in inner) <= cycles.cycles


def test_tracks_of_units_are_their_utilization(found):
    result, _, document = found
    timeline, period = result.hardware.timeline, result.hardware.clock_period_ps
    names = {event["tid"]: event["args"]["name"] for event in document["traceEvents"] if event["name"] == "thread_name"}
    busy: dict[str, int] = {}
    ends: dict[str, int] = {}
    for event in document["traceEvents"]:
        if event["ph"] == "X" and event["cat"] != "layer":
            track = names[event["tid"]]
            assert round(event["ts"] * 1e6) >= ends.get(track, 0)
            ends[track] = round(event["ts"] * 1e6) + event["args"]["ps"]
            busy[track] = busy.get(track, 0) + event["args"]["ps"]
    makespan = timeline["total_makespan_cycles"]
    assert busy.pop("stages") == makespan * period
    assert busy == {name: round(share * makespan / 100) * period
                    for name, share in timeline["resource_utilization"].items()}
    assert max(ends.values()) == makespan * period


def test_slices_of_stages_are_the_table(found):
    result, _, document = found
    by_operator: dict[str, list[int]] = {}
    for event in document["traceEvents"]:
        if event["ph"] == "X" and event["cat"] == "stages":
            sums = by_operator.setdefault(event["name"], [0, 0])
            sums[0] += event["args"]["ps"]
            sums[1] += event["args"]["stall_ps"]
    period = result.hardware.clock_period_ps
    assert by_operator == {row.key[0]: [row.cycles.cycles * period, (row.cycles.stall + row.cycles.recovery) * period]
                           for row in result.hardware.stages.by("operator")}


def test_merged_slices_keep_their_sums(programs):
    build, path = str(hr.unpack(COMPILED, programs)), programs / "few.json"
    result = plena_emu.run(build, timing="rtl-v1", hbm_channels=COMPILED["channels"], timing_only=True,
                           timeline=str(path), timeline_slices=100)
    events = [event for event in json.loads(path.read_text())["traceEvents"] if event["ph"] == "X"]
    stages = sum(event["args"]["ps"] for event in events if event["cat"] == "stages")
    assert result.timeline.bucket_ps > 0 and stages == result.latency_ps
    matrix = sum(event["args"]["ps"] for event in events if event["cat"] == "matrix_compute")
    assert matrix == pytest.approx(result.hardware.timeline["resource_utilization"].get("matrix_compute", 0)
                                   * result.latency_ps / 100)


def test_profile_shows_them(programs, capsys):
    build = str(hr.unpack(COMPILED, programs))
    assert main.main(["profile", build, "--by", "opcode", "--timing", "rtl-v1", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert main.main(["profile", build, "--by", "opcode", "--timing", "rtl-v1"]) == 0
    text = capsys.readouterr().out
    makespan = sum(int(row["cycles"]) for row in rows)
    assert f"makespan   {makespan:,} cycles" in text and "M_MM" in text


@pytest.mark.parametrize("flags, message", [
    (["--by", "region", "--timing", "rtl-v1"], "--by region: not with --timing"),
    (["--timing", "rtl-v1"], "--timing needs --by"),
    (["--static", "--timing", "rtl-v1"], "--timing: not with --static"),
])
def test_what_profile_refuses(flags, message, programs, capsys):
    with pytest.raises(SystemExit) as status:
        raise SystemExit(main.main(["profile", str(hr.unpack(COMPILED, programs)), *flags]))
    assert status.value.code == 2 and message in capsys.readouterr().err


def test_without_stages_nothing_is_counted_by_word(programs):
    build = str(hr.unpack(COMPILED, programs))
    result = plena_emu.run(build, timing="rtl-v1", timing_only=True, stages=False)
    assert result.hardware.stages is None and result.stages is None
