"""`run --pc-log`: a line for each instruction of a window, with simulated time, stage and registers."""

from pathlib import Path

import pytest
from oracle import control, goldens

from plena_emu.api import run
from plena_emu.cli.main import main
from plena_emu.errors import EmuError, UsageError
from plena_emu.kernels.compiler.atomics import IS_ATOMIC
from plena_emu.memory import following
from plena_emu.memory.models import RegimeModel
from plena_emu.running import gathered_timing
from plena_emu.running.pc_log import Start, parse_start

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "linear" / "build"
TITLES = ["count", "start_ns", "took_ns", "pc", "layer", "operator", "instruction", "rd", "rs1", "rs2"]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return str(goldens.unpack(goldens.find("base_aten_linear"), tmp_path_factory.mktemp("build")).directory)


def rows(path):
    head, *body = (line.split("\t") for line in path.read_text().splitlines())
    assert head == TITLES
    return [dict(zip(TITLES, line, strict=True)) for line in body]


def ps(text):
    return int(text.replace(".", ""))


@pytest.fixture(scope="module")
def whole(build, tmp_path_factory):
    """The log of the whole run."""
    path = tmp_path_factory.mktemp("log") / "all.tsv"
    result = run(build, timing_only=True, pc_log=str(path), pc_log_count=10**6)
    return result, rows(path)


def test_every_instruction(whole, build):
    result, lines = whole
    assert [int(line["count"]) for line in lines] == list(range(result.instructions))
    now = 0
    for line in lines:
        assert ps(line["start_ns"]) == now
        now += ps(line["took_ns"])
    assert now == result.end_ps
    times = {}
    for line in lines:
        key = (None if line["layer"] == "-" else int(line["layer"]), line["operator"])
        times[key] = times.get(key, 0) + ps(line["took_ns"])
    assert times == {row.key: row.figures.time_ps for row in result.stages.stages}


def test_registers_are_those_before_the_instruction(whole, build):
    """Registers before each instruction, against the integer rules of §1.6 and §1.7."""
    gp = [0] * 16
    words = control.read_words(f"{build}/generated_machine_code.mem")
    for line in whole[1]:
        word = words[int(line["pc"])]
        fields = {"rd": word >> 6 & 15, "rs1": word >> 10 & 15, "rs2": word >> 14 & 15}
        for name, register in fields.items():
            assert int(line[name]) == gp[register], line
        mnemonic = line["instruction"].split(" ")[0]
        if mnemonic == "S_ADDI_INT":
            gp[fields["rd"]] = gp[fields["rs1"]] + (word >> 14) & 0xFFFFFFFF
        elif mnemonic == "C_LOOP_START":
            gp[fields["rd"]] = word >> 10
        elif mnemonic == "C_LOOP_END":
            gp[fields["rd"]] -= 1
        else:
            assert not mnemonic.endswith("_INT")


@pytest.mark.parametrize("fields", [
    {"timing_only": True}, {"timing_only": True, "threads": 2, "memo": False}, {"threads": 2}, {"threads": 1},
])
@pytest.mark.parametrize("place, count", [("count=0", 5), ("count=57", 300), ("count=5900", 1000), ("pc=40", 20),
                                          ("linear", 3), ("embed", 100)])
def test_windows_are_parts_of_the_whole(build, whole, tmp_path, fields, place, count):
    path = tmp_path / "w.tsv"
    result = run(build, pc_log=str(path), pc_log_from=place, pc_log_count=count, **fields)
    lines = whole[1]
    name, _, number = place.partition("=")
    first = {"count": int(number or 0), "pc": next((k for k, line in enumerate(lines) if line["pc"] == number), 0)}.get(
        name, next((k for k, line in enumerate(lines) if line["operator"] == place), 0))
    assert rows(path) == lines[first : first + count]
    assert (result.latency_ps, result.stages) == (whole[0].latency_ps, whole[0].stages)


def test_max_instructions_ends_a_window(build, whole, tmp_path):
    path = tmp_path / "w.tsv"
    run(build, timing_only=True, pc_log=str(path), pc_log_from="count=10", max_instructions=20)
    assert rows(path) == whole[1][10:20]


def test_what_cannot_be(build, tmp_path, capsys):
    path = str(tmp_path / "w.tsv")
    for place, message in (("pc=80", "the program has 80 words"), ("norm", "no such stage"), ("0/linear", "0/linear")):
        with pytest.raises(EmuError, match=message):
            run(build, timing_only=True, pc_log=path, pc_log_from=place)
    with pytest.raises(EmuError, match="--from count=999999999: the run ended after [0-9]+ instructions"):
        run(build, timing_only=True, pc_log=path, pc_log_from="count=999999999")
    for place in ("", "pc=", "pc=-1", "Linear", "1", "a/b", "x=3"):
        with pytest.raises(UsageError, match="expected count=N"):
            parse_start(place)
    assert not (tmp_path / "w.tsv").exists()
    with pytest.raises(UsageError, match="not together with"):
        run(build, timing_only=True, pc_log=path, timeline=path)
    assert main(["run", build, "--timing-only", "--count", "3", "--quiet"]) == 2
    assert "need --pc-log" in capsys.readouterr().err


def test_places():
    assert parse_start("3/attn.qkv") == Start(layer=3, operator="attn.qkv")
    assert parse_start("ffn.gate_up") == Start(operator="ffn.gate_up")
    assert parse_start("pc=12") == Start(pc=12) and parse_start("count=0") == Start(count=0)


def test_command_line(build, tmp_path):
    path = tmp_path / "w.tsv"
    window = ["--pc-log", str(path), "--from", "linear", "--count", "4"]
    assert main(["run", build, "--timing-only", "--quiet", *window]) == 0
    assert [line["operator"] for line in rows(path)] == ["linear"] * 4


@pytest.mark.skipif(not IS_ATOMIC, reason="kernels in plain Python run on one thread")
@pytest.mark.parametrize("start", ["count=0", "count=60"])
@pytest.mark.parametrize("model", ["hbm", "resident"])
def test_one_thread_at_a_time_has_the_memory(model, start, tmp_path, monkeypatch):
    """A window's events are timed by the thread of control: the one that follows it must have left the memory then.

    It waits for events without end here; both at once ended in an endless loop, or with wrong figures.
    """
    monkeypatch.setattr(gathered_timing, "most_threads", lambda: 2)
    monkeypatch.setattr(following, "PATIENCE", 1 << 40)
    at_work, met = [], []
    follow, advance = following.SharedBatch.run, RegimeModel.advance

    def following_run(self):
        at_work.append(1)
        try:
            follow(self)
        finally:
            at_work.pop()

    def advancing(self, events, count):
        met.append(len(at_work))
        return advance(self, events, count)

    monkeypatch.setattr(following.SharedBatch, "run", following_run)
    monkeypatch.setattr(RegimeModel, "advance", advancing)
    found = []
    for threads in (1, 2):
        path = tmp_path / f"{threads}.tsv"
        result = run(EXAMPLE, timing_only=True, memory_model=model, threads=threads, pc_log=str(path),
                     pc_log_from=start, pc_log_count=100)
        found.append((result.latency_ps, result.bytes_read, path.read_text()))
    assert found[0] == found[1]
    assert len(met) > 1 and not any(met)
