"""What `plena-emu run` shows on a terminal while it runs: stage, simulated time, share of the work, time left."""

import itertools
import shutil

import pytest
from oracle import goldens

from plena_emu.cli import run as command
from plena_emu.config.build_dir import fields_of
from plena_emu.logs import Log
from plena_emu.request import RunRequest
from plena_emu.running.runner import execute


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return str(goldens.unpack(goldens.find("base_aten_linear"), tmp_path_factory.mktemp("build")).directory)


@pytest.fixture
def shown(monkeypatch):
    """`shown(build)` -> (total, done, text) of every update of the bar, and the result."""

    def show(build, **fields):
        updates = []
        with command.progress_bar() as bar:
            monkeypatch.setattr(bar.bar, "update", lambda task, total, completed, description: updates.append(
                (total, completed, description)))
            monkeypatch.setattr("plena_emu.running.simulation.SLICE", 500)
            request = RunRequest(**fields_of(build, {"dump_dir": None, "timing_only": True, "stages": False,
                                                     "progress": bar, **fields}))
            result = execute(request, Log("off"))
        return updates, result

    return show


def test_share_and_time_are_those_of_the_run(build, shown):
    updates, result = shown(build)
    total, done, text = updates[-1]
    assert total == done == result.instructions  # loops say how many there will be: nothing else leaves one
    assert text.endswith(f"  {result.end_ps / 1e6:,.1f} µs simulated")
    assert all(earlier[1] <= later[1] for earlier, later in itertools.pairwise(updates))


def test_stages_are_named_once_a_run_takes_long(build, shown, monkeypatch):
    """A short run is over before anybody could read them, so it does not look for their names."""
    assert all(text.startswith("pc ") for *_, text in shown(build)[0])
    monkeypatch.setattr(command, "NAMES_AFTER", -1)
    texts = [text for *_, text in shown(build, max_instructions=3000)[0]]
    assert any(text.startswith(("linear", "embed")) for text in texts)


def test_a_malformed_file_of_stages_does_not_stop_a_run_that_asks_for_none(build, shown, monkeypatch, tmp_path):
    copy = shutil.copytree(build, tmp_path / "copy")
    (copy / "stages.json").write_text("{")
    monkeypatch.setattr(command, "NAMES_AFTER", -1)
    updates, result = shown(str(copy))
    assert result.instructions and updates[-1][2].startswith("pc ")
