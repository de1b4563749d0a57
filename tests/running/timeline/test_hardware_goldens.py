"""Whole runs of the drop-in with `--timing-mode` against the goldens of spec chapter 7: every byte and every figure."""

import json

import hardware_runs as hr
import pytest

RUNS = hr.runs()
LONG = 20_000  # instructions: longer runs are compared without their event trace
SERIAL_SHARE = 3  # one run in so many is compared in serial mode: the timeline contains the serial run


def name_of(run):
    return f"{run['program']}-{run['channels']}"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


def run_mode(mode, run, programs, capsys, *more):
    """Standard error of a run, its files in the working directory."""
    directory = hr.unpack(run, programs)
    level = run["profile" if mode == "rtl-v1" else "serial_profile"]["profile_level"]
    status = hr.drop_in(*hr.arguments(directory, run["channels"]), "--timing-mode", mode, "--profile-memory",
                        "--profile-memory-level", level, "--profile-output", "profile.json", *more)
    assert status == 0
    return capsys.readouterr().err


@pytest.mark.parametrize("run", RUNS, ids=name_of)
def test_rtl_timeline_of_a_golden_run(run, programs, empty_directory, tmp_path, capsys):
    trace = ["--event-trace", "deep/trace.json"] if run["instructions"] < LONG else []
    # The compiled programs have the stock SRAM sizes, whose dumps take longer than the runs: others test those.
    dumps = [] if run["program"].startswith("tm_") else ["--no-state-dumps"]
    text = run_mode("rtl-v1", run, programs, capsys, "--rtl-validation-output", "validation.json", *trace, *dumps)
    cwd = tmp_path / "cwd"
    latency = run["rtl_latency_ps"]
    serial = run["serial_latency_ps"]
    assert f"Latency {latency // 1000}.{latency % 1000:03d}ns" in text.splitlines()[-1]
    assert f"functional_executor_latency={serial // 1000}.{serial % 1000:03d}ns" in text
    assert run["hbm_statistics"] in text
    profile = json.loads((cwd / "profile.json").read_text())
    assert hr.differences(hr.without_calibration(profile), run["profile"]) == []
    validation = (cwd / "validation.json").read_text()
    assert validation.endswith("}\n") and hr.differences(json.loads(validation), run["validation"]) == []
    if trace:
        events = json.loads((cwd / "deep" / "trace.json").read_text())
        assert hr.digest(events["events"]) == run["trace_sha256"]
        assert hr.differences(events["rtl_validation"], run["validation"]) == []
    assert dumps or hr.dump_differences(run, cwd) == []


@pytest.mark.parametrize("run", RUNS[::SERIAL_SHARE], ids=name_of)
def test_serial_latency_of_a_golden_run(run, programs, empty_directory, tmp_path, capsys):
    text = run_mode("legacy", run, programs, capsys, "--no-state-dumps")
    latency = run["serial_latency_ps"]
    assert f"Latency {latency // 1000}.{latency % 1000:03d}ns" in text.splitlines()[-1]
    assert run["hbm_statistics"] in text
    profile = json.loads((tmp_path / "cwd" / "profile.json").read_text())
    assert hr.differences(profile, run["serial_profile"]) == []
    assert sorted(path.name for path in (tmp_path / "cwd").iterdir()) == ["profile.json"]
