"""Are two executables timed in turns on the same programs, and does growth count what it says?"""

import os
import pathlib
import sys

import pytest

from plena_emu.bench import growth, suite
from plena_emu.bench.record import Growth, GrowthPoint, read_record, timing
from plena_emu.bench.side_by_side import LEAST_NET_S, Turns, compared, in_turns, net_seconds, with_one_instruction
from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.report import bench as bench_report

pytestmark = pytest.mark.usefixtures("empty_directory")
ARGS = ["--opcode", "program.mem", "--hbm", "image.bin", "--fpsram", "fp.bin"]


def executable(path, latency, log):
    """A stand-in that writes down its name and program, and reports a latency."""
    path.write_text(f"#!{sys.executable}\n" + f"""
import sys
with open({str(log)!r}, "a") as file:
    file.write({path.name!r} + " " + sys.argv[sys.argv.index("--opcode") + 1] + chr(10))
record = "2026-11-22T11:40:49.343859Z  INFO transactional_emulator"
print(record + "::runner: HBM Statistics - Bytes read: 0 | Bytes written: 0 | Utilization: 0.00e0 bytes/sec")
print(record + ": Simulation completed. Latency {latency}.000ns")
""")
    path.chmod(0o755)
    return str(path)


def test_turns():
    seen = []

    def run(command):
        seen.append(command)
        return (0.5 if command[0] == "own" else 2.0) if "program.mem" in command else 0.1, 7 + len(seen), command[0]

    checked = []
    own, reference = in_turns(run, lambda command, output: checked.append((command, output)), ("own", "other"), ARGS, 2)
    assert own.whole == [0.5, 0.5] and reference.whole == [2.0, 2.0]
    assert own.startup == reference.startup == [0.1, 0.1]
    assert checked == [(name, name) for name in ("other", "own", "own", "other", "other", "own")]
    assert len(seen) == 12 and own.peak == 18 and reference.peak == 16  # of whole runs, the warming turn left out
    found = compared("p", "hbm", own, reference, 5)
    assert found.ratio == 4.0 and found.net_ratio == pytest.approx(1.9 / 0.4)


def test_what_lies_within_noise_has_no_net_ratio():
    assert net_seconds(timing([0.3, 0.3]), timing([0.1, 0.1])) == pytest.approx(0.2)
    assert net_seconds(timing([0.3, 0.5]), timing([0.1, 0.3])) is None
    assert net_seconds(timing([0.1]), timing([0.1 - LEAST_NET_S / 2])) is None
    turns = Turns("own", [0.1, 0.1], [0.1, 0.1])
    assert compared("p", "hbm", turns, Turns("other", [9.0, 9.0], [0.1, 0.1]), None).net_ratio is None


def test_one_instruction_takes_the_place_of_the_program():
    assert with_one_instruction(ARGS) == ["--opcode", "one_instruction.mem", *ARGS[2:]]
    assert pathlib.Path("one_instruction.mem").read_text() == "0x00000062\n"
    for args in ([], ["--hbm", "x"], ["--opcode"]):
        with pytest.raises(EmuError, match="expected --opcode FILE"):
            with_one_instruction(args)


def test_both_executables_run_the_example(tmp_path, capsys, monkeypatch):
    log = tmp_path / "log"
    own, other = executable(tmp_path / "own", 12, log), executable(tmp_path / "other", 12, log)
    monkeypatch.setattr(suite, "find_executable", lambda: own)
    command = ["bench", "examples/linear", "--modes", "timing-only", "--models", "hbm", "--runs", "2"]
    # The stand-ins say 12 ns and the run in this process something else: it is seen.
    assert main([*command, "--reference", other]) == 101
    assert "latency_ps" in capsys.readouterr().err
    monkeypatch.setattr(suite, "KERNEL_MODES", ())
    assert main([*command, "--reference", other, "--json", "r.json"]) == 0
    text = capsys.readouterr().out
    assert f"Side by side with {other}" in text and "geometric mean" in text
    record = read_record("r.json")
    assert record.reference == other and record.kernel == record.process == []
    (found,) = record.side_by_side
    assert (found.program, found.model) == ("examples/linear", "hbm") and len(found.own.samples_s) == 2
    lines = log.read_text().splitlines()[-12:]
    assert lines[:4] == ["other generated_machine_code.mem", "other one_instruction.mem",
                         "own generated_machine_code.mem", "own one_instruction.mem"]


def test_another_latency_is_seen(tmp_path, capsys, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setattr(suite, "find_executable", lambda: executable(tmp_path / "own", 12, log))
    other = executable(tmp_path / "other", 13, log)
    command = ["bench", "examples/linear", "--modes", "timing-only", "--models", "hbm", "--reference", other]
    assert main(command) == 101
    assert "expected 13000" in capsys.readouterr().err


@pytest.mark.parametrize("flags, message", [
    (["--reference", "none"], "--reference none: found no file that can be executed"),
    (["--preset", "m64b16"], "--preset needs --growth"),
    (["--growth", "tiny", "examples/linear"], "--growth measures a model alone"),
    (["--growth", "tiny", "--reference", sys.executable], "--growth measures a model alone"),
])
def test_flags(capsys, flags, message):
    assert main(["bench", *flags]) == 2
    assert message in capsys.readouterr().err


def test_growth(capsys, monkeypatch):
    monkeypatch.setattr(growth, "TOKENS", (64, 128))
    assert main(["bench", "--growth", "tiny", "--runs", "2", "--models", "resident", "--json", "r.json"]) == 0
    text = capsys.readouterr().out
    layers, tokens = read_record("r.json").growth
    assert (layers.grows, tokens.grows) == ("layers", "tokens") and layers.memory_model == "resident"
    assert [(point.layers, point.tokens) for point in layers.points] == [(1, 64), (2, 64)]
    assert [(point.layers, point.tokens) for point in tokens.points] == [(1, 64), (1, 128)]
    one, two = layers.points
    assert one.instructions < two.instructions < 2.2 * one.instructions and one.accesses < two.accesses
    assert len(one.simulate.samples_s) == 2 and layers.points[0] == tokens.points[0]
    assert 0 < one.control.median_s + one.timing.median_s <= one.simulate.median_s
    assert "Growth of tiny (m64b16) on resident with layers" in text and os.listdir(".") == ["r.json"]


def test_the_series_end_with_the_whole_model():
    assert [point[0] for point in growth.series_of(30)["layers"]] == [1, 2, 4, 8, 16, 30]
    assert [point[0] for point in growth.series_of(32)["layers"]] == [1, 2, 4, 8, 16, 32]
    assert growth.series_of(1)["layers"] == [(1, 64)]


def growth_of(*nanoseconds):
    """A growth whose control takes so many nanoseconds an instruction, and timing ten times as many an access."""
    points = [GrowthPoint(layers=count, tokens=64, instructions=10 * count, accesses=count,
                          simulate=timing([1e-9 * 20 * count * each]), control=timing([1e-9 * 10 * count * each]),
                          timing=timing([1e-9 * 10 * count * each]))
              for count, each in zip((1, 2, 4, 8), nanoseconds, strict=True)]
    return Growth(model="m", preset="p", memory_model="hbm", grows="layers", points=points)


@pytest.mark.parametrize(("nanoseconds", "rise", "fall", "told"), [
    ((5.0, 5.5, 5.0, 5.25), 0.1, 1 / 11, "flat (within 10%)"),
    ((8.0, 4.0, 2.0, 2.2), 0.1, 0.75, "falls by up to 75%"),
    ((4.0, 5.0, 2.0, 3.0), 0.5, 0.6, "RISES by up to 50%"),  # from the third point on, whatever came before
])
def test_rise_and_fall(nanoseconds, rise, fall, told):
    found = growth_of(*nanoseconds)
    for what in ("control_ns", "timing_ns"):
        assert (found.rise(what), found.fall(what)) == pytest.approx((rise, fall))
        assert bench_report._course(found, what) == told
    assert [point.timing_ns for point in found.points] == pytest.approx([10 * each for each in nanoseconds])

