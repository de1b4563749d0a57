"""`--dram` of `plena-emu run`: a DRAM description in place of a model's memory (spec §3.6, chapter 4)."""

import json
import lzma
import os
import pathlib
import shutil

import msgspec
import numpy as np
import pytest

from plena_emu.boards import load_board
from plena_emu.boards.dram_schema import load_dram
from plena_emu.cli.main import main
from plena_emu.memory.dram_replay import replay_batches
from plena_emu.memory.dram_trace_files import read_trace

BUILD = pathlib.Path(__file__).resolve().parents[1] / "golden" / "manifests" / "base_clm60m_dec_L1_m64b16_a7"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Build directory without preloads: runs are of timing alone."""
    folder = tmp_path_factory.mktemp("dram")
    packed = (BUILD / "generated_machine_code.mem.xz").read_bytes()
    (folder / "generated_machine_code.mem").write_bytes(lzma.decompress(packed))
    for name in ("plena_settings.toml", "hbm_size.txt", "weight_manifest.json"):
        shutil.copy(BUILD / name, folder / name)
    return folder


@pytest.fixture
def run(build, tmp_path):
    """Record of a run on a model with further flags."""

    def call(model, *flags):
        out = tmp_path / "out.json"
        argv = ["run", str(build), "--timing-only", "--threads", "1", "--memory-model", model, "--quiet"]
        assert main([*argv, "--json", str(out), *flags]) == 0
        return json.loads(out.read_text())

    return call


def test_hbm_is_hbm2(run):
    plain, named = run("hbm"), run("hbm", "--dram", "hbm2")
    assert plain["latency_ps"] == named["latency_ps"]
    assert plain["dram_statistics"] == named["dram_statistics"]
    assert (plain["sources"]["dram"], named["sources"]["dram"]) == (None, "hbm2")


def test_a_resident_model_is_plain_reads(run):
    """Nothing waits for the host, so the capacity model is that of plain reads; idealised banks are another memory."""
    plain, resident = run("hbm", "--dram", "ddr4"), run("resident", "--dram", "ddr4")
    assert resident["latency_ps"] == plain["latency_ps"]
    assert resident["dram_statistics"] == plain["dram_statistics"]
    assert resident["dram_statistics"]["refreshes"] > 0
    assert run("resident")["latency_ps"] != plain["latency_ps"]
    assert run("resident")["dram_statistics"] is None


@pytest.mark.parametrize("model", ["weight-stream", "kv-swap", "host-stream", "layer-swap"])
def test_inner_memory_of_the_host_models(run, model):
    """What the model moves does not depend on the memory behind it; its time does, and is above the host link's."""
    banks, ddr4 = run(model), run(model, "--dram", "ddr4")
    assert ddr4["model_line"] == banks["model_line"]
    assert ddr4["bytes_read"] == banks["bytes_read"]
    counted = ddr4["dram_statistics"]
    assert (counted["dram"], counted["bytes"]) == ("ddr4", ddr4["bytes_read"] + ddr4["bytes_written"])
    assert ddr4["latency_ps"] != banks["latency_ps"]
    assert ddr4["latency_ps"] > 0.9 * banks["latency_ps"]
    assert counted["last_event_ps"] <= ddr4["latency_ps"]


def test_statistics_add_up(run):
    record = run("hbm")
    counted = record["dram_statistics"]
    assert counted["bytes"] == 64 * (counted["reads"] + counted["writes"])
    assert counted["bytes"] == record["bytes_read"] + record["bytes_written"]
    requests = counted["row_hits"] + counted["row_misses"] + counted["row_conflicts"] + counted["forwarded_reads"]
    assert requests == counted["bytes"] // 16
    assert counted["read_latency_mean_ps"] <= counted["read_latency_p99_ps"] <= counted["read_latency_max_ps"]
    assert len(counted["channel_busy_share"]) == 8
    assert 0 < counted["bandwidth_bytes_per_s"] < counted["peak_bandwidth_bytes_per_s"] == 64e9


def test_a_description_of_ones_own(run, tmp_path):
    text = pathlib.Path(load_dram("ddr4").source).read_text()
    path = tmp_path / "slow.yaml"
    path.write_text(text.replace("read_latency: 20", "read_latency: 40"))
    slow, stock = run("hbm", "--dram", str(path)), run("hbm", "--dram", "ddr4")
    assert slow["latency_ps"] > stock["latency_ps"]
    assert slow["sources"]["dram"] == str(path)


@pytest.mark.parametrize("before, after, message", [
    ("read_latency: 20", "read_latency: no", "read_latency"),
    ("preceding: RD, following: WR", "preceding: RD, following: XX", "timing[4].following: found 'XX'"),
    ("bankgroup: 4", "bankgroup: 3", "organisation.bankgroup: found 3, expected a power of two"),
    ("bankgroup: [8^6, 9^7]", "bankgroup: [8^6, 8^6]", "the bit sums depend on each other"),
])  # fmt: skip
def test_a_description_that_is_wrong(build, tmp_path, capsys, before, after, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(pathlib.Path(load_dram("ddr4").source).read_text().replace(before, after))
    assert main(["run", str(build), "--timing-only", "--dram", str(path)]) == 101
    error = capsys.readouterr().err
    assert error.startswith(f"plena-emu run: error: DRAM description {path}")
    assert message in error
    assert error.count("\n") == 1


def test_the_summary_tells_of_the_controller(build, capsys):
    assert main(["run", str(build), "--timing-only", "--threads", "1", "--dram", "ddr4"]) == 0
    out = capsys.readouterr().out
    for words in ("DRAM rows", "DRAM read latency", "DRAM bandwidth", "DRAM channels busy", "DRAM refreshes"):
        assert words in out


# --- a run as a trace ---------------------------------------------------------------------------


BOARD = ["--board", "custom_a7", "--ddr-speed", "3", "--clock-mhz", "150"]


def changed(path, name="ddr3_800_x16", before="tRCD: 6", after="tRCD: 7"):
    """A copy of a description that ships, with another number."""
    text = pathlib.Path(load_dram(name).source).read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    return path


@pytest.mark.parametrize("flags, model", [
    ([], "hbm"), (["--isa", "base", "--dram", "ddr4"], "hbm"), (["--dram", "ddr3_800_x16"], "resident"),
    (BOARD, "resident"), (BOARD, "hbm"), ([*BOARD, "--dram", "./mine.yaml"], "resident"),
    (["--board", "./board.yaml"], "resident"), (["--dram", "./mine.yaml"], "hbm"),
])  # fmt: skip
def test_a_run_replayed_takes_as_long(run, tmp_path, capsys, monkeypatch, flags, model):
    """The trace holds memory and revision as they were, and each access; what is not computing is the replay's time."""
    monkeypatch.chdir(tmp_path)
    changed(tmp_path / "mine.yaml")
    board = pathlib.Path(load_board("custom_a7").source).read_text()
    (tmp_path / "board.yaml").write_text(board.replace("dram: ddr3_800_x16", "dram: ./mine.yaml"))
    path, out = tmp_path / "run.npz", tmp_path / "replay.json"
    record = run(model, *flags, "--memory-trace", str(path))
    (tmp_path / "mine.yaml").unlink()  # the trace needs no file of the run
    assert main(["dram", str(path), "--json", str(out)]) == 0
    replayed, counted = json.loads(out.read_text()), record["dram_statistics"]
    capsys.readouterr()
    for key in ("dram", "reads", "writes", "bytes", "row_hits", "row_misses", "row_conflicts", "refreshes",
                "read_latency_mean_ps", "read_latency_max_ps", "last_event_ps", "channel_busy_share"):
        assert replayed[key] == counted[key], key
    trace = read_trace(str(path))
    found = replay_batches(trace.dram, trace.batch_kind, trace.batch_t, trace.batch, trace.op, trace.addr, trace.isa)
    assert len(found.done_ps) == (record["bytes_read"] + record["bytes_written"]) // 64
    computed = int(trace.batch_t.sum())
    assert found.done_ps.max() - computed == record["memory_ps"]


def test_a_changed_part_is_told_from_the_one_that_ships(run, tmp_path, capsys):
    """A copy keeps its name; record, statistics and replay say that it is another memory, and so does a faster one."""
    path, trace = changed(tmp_path / "mine.yaml"), tmp_path / "run.npz"
    name = f"ddr3_800_x16 changed ({path})"
    record = run("resident", "--board", "custom_a7", "--dram", str(path), "--memory-trace", str(trace))
    assert record["board"]["part"]["name"] == record["dram_statistics"]["dram"] == name
    assert record["board"]["laid_over"] == [{"flag": "--dram", "before": "ddr3_800_x16", "after": str(path)}]
    fast = run("resident", "--board", "custom_a7", "--dram", str(path), "--ddr-speed", "1.5")
    assert fast["board"]["part"]["name"] == f"{name} x 1.5"
    assert main(["dram", str(trace)]) == 0
    assert f"{trace} on {name} (of the trace), isa" in capsys.readouterr().out
    assert main(["dram", str(trace), "--dram", "ddr4"]) == 0
    assert f"{trace} on ddr4 (--dram), isa" in capsys.readouterr().out
    changed(path, before="tRCD: 6", after="tRCD:   6")
    assert load_dram(path).label == "ddr3_800_x16"  # a copy of which nothing is changed
    described = msgspec.structs.replace(load_dram("hbm2"), read_latency=9)
    assert described.label == "hbm2 changed"


def test_a_trace_is_the_same_bytes_wherever_the_product_lies(run, tmp_path):
    """It holds no path: of the run's files it keeps what they say."""
    path = tmp_path / "run.npz"
    run("hbm", "--dram", "ddr4", "--memory-trace", str(path))
    text = str(np.load(path)["description"])
    assert json.loads(text)["name"] == "ddr4" and os.path.dirname(load_dram("ddr4").source) not in text


@pytest.mark.parametrize("flags", [["--memory-model", "resident"], ["--board", "./none.yaml"],
                                   ["--board", "./none.yaml", "--memory-model", "hbm"]])
def test_a_trace_of_the_idealised_ddr_needs_a_dram(build, tmp_path, capsys, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    board = pathlib.Path(load_board("custom_a7").source).read_text()
    (tmp_path / "none.yaml").write_text(board.replace("dram: ddr3_800_x16", ""))
    assert main(["run", str(build), "--timing-only", "--quiet", "--memory-trace", "run.npz", *flags]) == 0
    capsys.readouterr()
    assert main(["dram", "run.npz"]) == 101
    line, = capsys.readouterr().err.splitlines()
    assert line == ("plena-emu dram: error: trace run.npz: the run's memory was the idealised DDR of §3.5, which is no"
                    " DRAM behind a controller: expected --dram NAME (--list shows those that ship)")
    assert main(["dram", "run.npz", "--dram", "ddr4"]) == 0
    assert "run.npz on ddr4 (--dram), isa" in capsys.readouterr().out


@pytest.mark.parametrize("target, message", [
    ("t.csv", "--memory-trace t.csv: expected a name that ends in .npz"),
    ("none/t.npz", "--memory-trace none/t.npz: directory none does not exist"),
])  # fmt: skip
def test_traces_that_cannot_be_written(build, capsys, target, message):
    assert main(["run", str(build), "--timing-only", "--memory-trace", target]) in (2, 101)
    assert message in capsys.readouterr().err
