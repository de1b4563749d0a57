"""The golden DRAM traces: first poll, acceptance and completion of every access, to the picosecond (spec §4)."""

import pathlib

import numpy as np
import pytest

from plena_emu.cli.main import main
from plena_emu.memory.dram_replay import replay_batches
from plena_emu.memory.dram_trace_files import read_trace

HERE = pathlib.Path(__file__).resolve().parents[1]
VENDORED = HERE / "golden" / "hbm"
SHARED = HERE.parents[1] / "shared" / "golden" / "hbm"
COLUMNS = (("issue", "issue_ps"), ("accept", "accept_ps"), ("done", "done_ps"))


def traces(directory):
    """Traces of a directory as parameters; one that is skipped where there are none."""
    found = sorted(directory.glob("*.npz"))
    if not found:
        skip = pytest.mark.skip(reason=f"no golden traces in ../{directory.relative_to(HERE.parents[1])}")
        return [pytest.param(None, marks=skip, id="golden")]
    return [pytest.param(path, id=path.stem) for path in found]


def check(path):
    trace = read_trace(str(path))
    found = replay_batches(trace.dram, trace.batch_kind, trace.batch_t, trace.batch, trace.op, trace.addr, trace.isa)
    with np.load(path) as golden:
        for name, attribute in COLUMNS:
            wrong = np.flatnonzero(getattr(found, attribute) != golden[name])
            assert not len(wrong), f"{len(wrong)} of {len(trace.addr)} differ in {name}, the first is {wrong[0]}"


def test_vendored_traces_are_there():
    assert len(list(VENDORED.glob("*.npz"))) == 4


@pytest.mark.parametrize("path", traces(VENDORED))
def test_vendored_trace(path):
    check(path)


@pytest.mark.parametrize("path", traces(SHARED))
def test_shared_trace(path):
    check(path)


def test_command_on_a_trace_of_batches(tmp_path, capsys):
    """The command takes DRAM and revision from the file; its completions are those of the trace."""
    path = VENDORED / "m19_rmw_then_prefetch.npz"
    assert main(["dram", str(path), "-o", str(tmp_path / "out.csv")]) == 0
    assert "on hbm2 (of the trace), isa moe" in capsys.readouterr().out
    rows = np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1, usecols=(0, 3, 4), dtype=np.int64)
    with np.load(path) as golden:
        for column, (name, _) in enumerate(COLUMNS):
            assert (rows[:, column] == golden[name]).all()
