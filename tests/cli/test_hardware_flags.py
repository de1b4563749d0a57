"""Flags of hardware timing (spec §7.12): what needs what, exit codes, and the files as the drop-in writes them."""

import io
import json
import re
import shutil

import hardware_runs as hr
import pytest
import tomlkit

import plena_emu
from plena_emu.cli import main as plena
from plena_emu.errors import EmuError, UsageError
from plena_emu.report.summary import print_summary
from plena_emu.request import RunRequest

RUN = next(run for run in hr.runs() if run["program"] == "tm_fz_047")


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return hr.unpack(RUN, tmp_path_factory.mktemp("build"))


def refused(capsys, *flags):
    """Standard error of a drop-in run that does not get past its command line."""
    try:
        status = hr.drop_in(*flags)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("flag", [
    ["--hbm-channels", "8"], ["--event-trace", "x"], ["--dma-event-trace", "x"], ["--rtl-validation-output", "x"],
    ["--require-rtl-validated"], ["--profile-memory"], ["--profile-memory-level", "opcode"], ["--profile-output", "x"],
    ["--no-state-dumps"],
])  # fmt: skip
def test_a_flag_of_the_chapter_needs_the_mode(flag, build, empty_directory, capsys):
    assert f"{flag[0]} needs --timing-mode" in refused(capsys, *hr.arguments(build), *flag)


@pytest.mark.parametrize("flags, text", [
    (["--timing-mode", "rtl-v2"], "invalid choice"),
    (["--timing-mode", "rtl-v1", "--profile-output", "x"], "--profile-output needs --profile-memory"),
    (["--timing-mode", "rtl-v1", "--hbm-channels", "0"], "expected a power of two from 1 to 256"),
    (["--timing-mode", "rtl-v1", "--hbm-channels", "7"], "expected a power of two from 1 to 256"),
    (["--timing-mode", "rtl-v1", "--hbm-channels", "512"], "expected a power of two from 1 to 256"),
])  # fmt: skip
def test_usage_errors(flags, text, build, empty_directory, capsys):
    assert text in refused(capsys, *hr.arguments(build), *flags)


def test_without_the_mode_nothing_of_the_chapter_applies(build, empty_directory, tmp_path, capsys):
    assert hr.drop_in(*hr.arguments(build)) == 0
    text = capsys.readouterr().err
    assert "timing_mode" not in text and "DMA accounting" not in text
    assert (tmp_path / "cwd" / "fpsram_dump.bin").stat().st_size == 2048


def test_records_of_a_run(build, empty_directory, capsys):
    assert hr.drop_in(*hr.arguments(build), "--timing-mode", "rtl-v1", "--hbm-channels", "16") == 0
    text = capsys.readouterr().err
    assert 'Pipeline clock_period_ps=1000 timing_mode="rtl-v1"' in text
    assert "HBM channels 16, peak 256 GB/s" in text
    last, before = text.splitlines()[-1], text.splitlines()[-2]
    assert "Simulation completed. Latency" in last
    assert 'Simulation completed timing_mode="rtl-v1" latency=' in before


def test_fp_sram_has_2048_entries(build, empty_directory, tmp_path):
    assert hr.drop_in(*hr.arguments(build), "--timing-mode", "legacy", "--log-level", "off") == 0
    assert (tmp_path / "cwd" / "fpsram_dump.bin").stat().st_size == 4096


def test_a_run_that_is_not_validated_ends_with_4_and_all_its_files(build, empty_directory, tmp_path, capsys):
    status = hr.drop_in(*hr.arguments(build), "--timing-mode", "rtl-v1", "--require-rtl-validated", "--event-trace",
                        "trace.json", "--log-level", "off")
    assert status == 4
    assert capsys.readouterr().err.count("\n") == 1
    assert {path.name for path in (tmp_path / "cwd").iterdir()} == {
        "trace.json", "mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin"}  # fmt: skip


def test_nothing_is_validated_in_serial_mode_which_is_said_before_the_run(build, empty_directory, tmp_path, capsys):
    flags = ["--timing-mode", "legacy", "--require-rtl-validated", "--log-level", "off"]
    assert hr.drop_in(*hr.arguments(build), *flags) == 101
    assert capsys.readouterr().err.count("\n") == 1
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.parametrize("flag, kind", [("--dma-event-trace", "DMA event trace"),
                                        ("--rtl-validation-output", "validation")])
def test_traces_appear_together_or_not_at_all(flag, kind, build, empty_directory, tmp_path, capsys):
    (tmp_path / "cwd" / "directory").mkdir()
    flags = ["--timing-mode", "rtl-v1", "--event-trace", "e.json", flag, "directory", "--log-level", "off"]
    assert hr.drop_in(*hr.arguments(build), *flags) == 101
    line = capsys.readouterr().err
    assert f"{kind} directory: cannot write" in line and line.count("\n") == 1
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == ["directory"]


def test_event_traces_as_files(build, empty_directory, tmp_path):
    assert hr.drop_in(*hr.arguments(build), "--timing-mode", "rtl-v1", "--event-trace", "a/b/trace.json",
                      "--dma-event-trace", "dma.json", "--log-level", "off", "--no-state-dumps") == 0
    text = (tmp_path / "cwd" / "a" / "b" / "trace.json").read_text()
    trace = json.loads(text)
    assert text == json.dumps(trace, indent=2)
    assert list(trace) == ["schema_version", "timing_mode", "clock_period_ps", "timing_calibration", "rtl_validation",
                           "events"]
    assert (trace["schema_version"], trace["timing_mode"]) == (3, "rtl-v1")
    dma = json.loads((tmp_path / "cwd" / "dma.json").read_text())
    assert list(dma) == ["schema_version", "timing_mode", "clock_period_ps", "dma_timing_semantics",
                         "timing_calibration", "rtl_validation", "events"]
    assert dma["schema_version"] == 2 and dma["rtl_validation"] == trace["rtl_validation"]
    assert dma["events"] == [event for event in trace["events"] if event["resource"].startswith("hbm_")]


def test_serial_event_trace(build, empty_directory, tmp_path):
    assert hr.drop_in(*hr.arguments(build), "--timing-mode", "legacy", "--event-trace", "trace.json",
                      "--rtl-validation-output", "validation.json", "--log-level", "off", "--no-state-dumps") == 0
    trace = json.loads((tmp_path / "cwd" / "trace.json").read_text())
    assert list(trace) == ["schema_version", "timing_mode", "clock_period_ps", "rtl_validation", "events"]
    events = trace["events"]
    assert len(events) == RUN["instructions"]
    assert events[-1]["completion_cycle"] == RUN["serial_latency_ps"] // RUN["clock_period_ps"]
    assert {event["calibration_status"] for event in events} == {"legacy_functional_observed"}
    assert all(event["issue_cycle"] == event["accepted_cycle"] == event["start_cycle"] for event in events)
    assert trace["rtl_validation"]["status"] == "out_of_calibration_domain"
    assert json.loads((tmp_path / "cwd" / "validation.json").read_text()) == trace["rtl_validation"]


def test_serial_validation_needs_a_trace_or_a_profile(build, empty_directory, tmp_path, capsys):
    flags = ["--timing-mode", "legacy", "--rtl-validation-output", "validation.json"]
    assert hr.drop_in(*hr.arguments(build), *flags) == 0
    assert "--rtl-validation-output is not written" in capsys.readouterr().err
    assert not (tmp_path / "cwd" / "validation.json").exists()


def test_a_trace_that_cannot_be_written_is_an_error_without_dumps(build, empty_directory, tmp_path, capsys):
    (tmp_path / "cwd" / "file").write_text("")
    status = hr.drop_in(*hr.arguments(build), "--timing-mode", "rtl-v1", "--event-trace", "file/trace.json",
                        "--log-level", "off")
    assert status == 101
    assert "file/trace.json" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "cwd").iterdir()] == ["file"]


def test_a_profile_that_cannot_be_written_is_a_warning(build, empty_directory, capsys):
    assert hr.drop_in(*hr.arguments(build), "--timing-mode", "rtl-v1", "--profile-memory", "--profile-output",
                      "no/where.json", "--no-state-dumps") == 0
    assert "no/where.json" in capsys.readouterr().err


def test_the_profile_goes_beside_the_program(build, empty_directory):
    assert hr.drop_in(*hr.arguments(build), "--timing-mode", "rtl-v1", "--profile-memory", "--log-level", "off",
                      "--no-state-dumps") == 0
    profile = json.loads((build / "memory_profile.json").read_text())
    assert profile["profile_level"] == "opcode" and "opcodes" in profile


def run_json(capsys, build, *flags):
    """Record of `plena-emu run`."""
    assert plena.main(["run", str(build), "--no-dumps", "--json", "-", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_two_switches_of_run(build, capsys):
    reference = run_json(capsys, build)
    assert reference["hardware"] is None
    both = run_json(capsys, build, "--timing", "rtl-v1")
    assert (both["latency_ps"], both["hardware"]["serial_latency_ps"]) == (RUN["rtl_latency_ps"],
                                                                          RUN["serial_latency_ps"])
    assert both["hardware"]["dma"] == "production"
    dma = run_json(capsys, build, "--dma", "production")
    assert dma["latency_ps"] == RUN["serial_latency_ps"] and dma["hardware"]["timeline"] is None
    timeline = run_json(capsys, build, "--timing", "rtl-v1", "--dma", "reference")
    assert timeline["hardware"]["serial_latency_ps"] == reference["latency_ps"]
    assert timeline["hardware"]["dma_transfers"] is None


def test_timing_alone_and_two_threads_give_the_same(build, capsys):
    alone = run_json(capsys, build, "--timing", "rtl-v1", "--timing-only")
    both = run_json(capsys, build, "--timing", "rtl-v1", "--threads", "2")
    assert alone["hardware"] == both["hardware"] and alone["latency_ps"] == both["latency_ps"]


@pytest.mark.parametrize("fields, text", [
    ({"timing": "rtl-v9"}, "unknown timing 'rtl-v9'"),
    ({"dma": "fast"}, "dma"),
    ({"hbm_channels": 8}, "hbm_channels needs production DMA"),
    ({"event_trace": "x"}, "event_trace needs hardware timing"),
    ({"memory_profile": "opcode"}, "a memory profile needs production DMA"),
    ({"profile_output": "x", "timing": "rtl-v1"}, "profile_output needs memory_profile"),
    ({"hbm_channels": 12, "timing": "rtl-v1"}, "hbm_channels: found 12, expected a power of two"),
    ({"memory_trace": "x.npz", "dma": "production"}, "a memory trace needs reference DMA"),
    ({"dram": "ddr4", "hbm_channels": 4, "timing": "rtl-v1"}, "found 4 asked for: only hbm2 takes another number"),
])  # fmt: skip
def test_requests_that_are_refused(fields, text, build):
    import plena_emu

    with pytest.raises(EmuError, match=text.replace("(", r"\(")):
        plena_emu.run(str(build), **fields)


def test_a_request_says_whether_the_chapter_applies():
    files = {"opcode": "x", "hbm": "x", "fpsram": "x"}
    assert not RunRequest(**files).is_hardware
    assert RunRequest(**files, timing="rtl-v1").dma == "production"
    assert RunRequest(**files, timing="rtl-v1", dma="reference").is_hardware


def test_the_summary_shows_both_latencies_units_and_stalls(build, capsys):
    assert plena.main(["run", str(build), "--no-dumps", "--timing", "rtl-v1"]) == 0
    text = capsys.readouterr().out
    timeline = RUN["profile"]["timeline"]
    assert f"{RUN['serial_latency_ps'] / 1000:,.3f} ns" in text
    assert f"{timeline['total_makespan_cycles']:,} cycles" in text
    longest = max(timeline["stall_cycles_by_reason"], key=timeline["stall_cycles_by_reason"].get)
    assert longest in text and "hbm_matrix_dma" in text


def test_a_clock_that_was_asked_for_needs_no_board(build):
    """§7.12: --clock-mhz, else the board's clock, else CLOCK_PERIOD_PS."""
    slow, usual = (plena_emu.run(str(build), timing="rtl-v1", timing_only=True, **more) for more in
                   ({"clock_mhz": 500}, {}))
    assert (slow.hardware.clock_period_ps, usual.hardware.clock_period_ps) == (2000, 1000)
    assert slow.latency_ps == 2000 * slow.hardware.timeline["total_makespan_cycles"]
    assert slow.compute_ps == 2 * usual.compute_ps


def test_a_clock_without_board_and_hardware_timing_is_refused(build):
    with pytest.raises(UsageError, match="clock_mhz needs board, or hardware timing"):
        plena_emu.run(str(build), clock_mhz=500, timing_only=True)


@pytest.mark.parametrize("size, found", [("0", "--hbm-size: found 0"), ("100", "error: --hbm-size: found 100")])
def test_an_hbm_size_that_the_chapter_refuses_is_101(size, found, build, empty_directory, capsys):
    flags = list(hr.arguments(build))
    if "--hbm-size" in flags:
        at = flags.index("--hbm-size")
        del flags[at : at + 2]
    assert hr.drop_in(*flags, "--timing-mode", "legacy", "--hbm-size", size) == 101
    assert found in capsys.readouterr().err
    if size == "0":
        assert "expected at least 1 byte" in refused(capsys, *flags, "--hbm-size", size)


def with_settings(build, tmp_path, **config):
    """A build directory like `build` whose settings have other entries of CONFIG."""
    document = tomlkit.parse((build / "plena_settings.toml").read_text())
    for key, value in config.items():
        document["TRANSACTIONAL"]["CONFIG"][key] = {"value": value}
    shutil.copytree(build, tmp_path / "changed")
    (tmp_path / "changed" / "plena_settings.toml").write_text(tomlkit.dumps(document))
    return tmp_path / "changed"


CHANNELS = [  # fields of the run, channels that it really has, part of the warning about HBM_CHANNELS = 128
    ({"dram": "ddr4"}, 1, "HBM_CHANNELS: found 128, not used: ddr4 has 1 channel"),
    ({"dram": "hbm2_2000"}, 8, "HBM_CHANNELS: found 128, not used: hbm2_2000 has 8 channels"),
    ({"board": "v80"}, 16, "HBM_CHANNELS: found 128, not used"),
    ({"board": "custom_a7", "reference_timing": True, "memory_model": "hbm"}, 128, None),
    ({"dma": "reference"}, 8, "HBM_CHANNELS: found 128, not used: hbm2 has 8 channels without dma production"),
    ({}, 128, None),
    ({"hbm_channels": 16}, 16, None),
]


@pytest.mark.parametrize("fields, channels, warning", CHANNELS)
def test_the_record_has_the_channels_that_were_timed_and_others_are_said(fields, channels, warning, build, tmp_path):
    changed = with_settings(build, tmp_path, HBM_CHANNELS=128)
    result = plena_emu.run(str(changed), timing="rtl-v1", timing_only=True, **fields)
    assert result.hardware.hbm_channels == channels
    found = [line for line in result.warnings if "HBM_CHANNELS" in line]
    assert (warning is None and not found) or (len(found) == 1 and warning in found[0])
    assert f"{channels} channel" in summary(result)


def summary(result):
    stream = io.StringIO()
    print_summary(result, stream)
    return stream.getvalue()


def test_stock_settings_are_not_warned_about(build, tmp_path):
    changed = with_settings(build, tmp_path, HBM_CHANNELS=8)
    result = plena_emu.run(str(changed), timing="rtl-v1", timing_only=True, dram="ddr4")
    assert not [line for line in result.warnings if "HBM_CHANNELS" in line]


def test_channels_on_the_idealised_banks_are_said(build, tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"activation_ceiling": 0, "regions": []}))
    result = plena_emu.run(str(build), dma="production", timing_only=True, memory_model="resident",
                           weight_manifest=str(manifest), hbm_channels=4)
    assert result.hardware.hbm_channels is None
    assert "hbm_channels is not used: the idealised DDR of §3.5 has no channels" in result.warnings
    assert "the idealised DDR of §3.5" in summary(result)


def test_channels_of_the_record_at_info(build, empty_directory, capsys):
    assert plena.main(["run", str(build), "--dma", "production", "--dram", "ddr4", "--no-dumps",
                       "--log-level", "info"]) == 0
    assert "ddr4 channels 1, peak 19.2 GB/s" in capsys.readouterr().err


def test_the_summary_tells_measured_from_validated(build):
    result = plena_emu.run(str(build), timing="rtl-v1", timing_only=True)
    timeline = result.hardware.timeline
    counts, total = timeline["timing_calibration_status_counts"], result.instructions
    text = " ".join(summary(result).split())
    assert sum(counts.values()) == total
    assert f"{100 * counts.get('full_machine_measured', 0) / total:.1f} % measured on the RTL" in text
    assert f"{100 * timeline['rtl_validation']['validated_opcodes'] / total:.1f} % of the instructions" in text


def test_parts_of_a_timeline_are_those_in_series_and_sum_to_its_latency(build):
    result = plena_emu.run(str(build), timing="rtl-v1", timing_only=True)
    rows = re.findall(r"(compute in series|memory in series|stalls less overlap of the timeline|housekeeping[a-z ]*)"
                      r" +(-?[0-9,]+) ps(.*)", summary(result))
    assert sum(int(number.replace(",", "")) for _, number, _ in rows) == result.latency_ps
    assert len(rows) >= 3 and all("%" not in rest for *_, rest in rows)


@pytest.mark.parametrize("clock", [1000, 2000])
def test_reference_timing_has_the_cycle_of_a_run_without_a_board(clock, build, tmp_path):
    changed = with_settings(build, tmp_path, CLOCK_PERIOD_PS=clock)
    fields = {"timing_only": True, "dma": "production", "memory_model": "hbm"}
    without = plena_emu.run(str(changed), **fields)
    board = plena_emu.run(str(changed), board="custom_a7", reference_timing=True, **fields)
    assert without.hardware.clock_period_ps == board.hardware.clock_period_ps == clock
    assert f"cycles of {clock:,} ps (--reference-timing)" in summary(board)


def test_a_size_that_the_build_directory_names_is_its_fault(build, tmp_path):
    changed = with_settings(build, tmp_path, CLOCK_PERIOD_PS=1000)
    (changed / "hbm_size.txt").write_text("100")
    with pytest.raises(EmuError) as error:
        plena_emu.run(str(changed), timing="rtl-v1", timing_only=True)
    assert str(error.value) == f"{changed / 'hbm_size.txt'}: found 100, expected a multiple of 64 bytes"
