"""`plena-emu diff`: what two runs differ in, and the exit status for CI."""

import json

import pytest
from oracle import goldens

from plena_emu.api import run
from plena_emu.cli.main import main
from plena_emu.running.attribution.differences import differences


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """JSON records of one program: as it is, on a slower memory, on a board, without stages."""
    folder = tmp_path_factory.mktemp("records")
    build = str(goldens.unpack(goldens.find("base_aten_linear"), folder).directory)
    manifest = folder / "m.json"
    manifest.write_text('{"activation_ceiling": 0, "regions": []}')
    modes = {"a": {}, "same": {}, "slow": {"memory_model": "resident", "weight_manifest": str(manifest)},
             "board": {"board": "custom_a7"}, "bare": {"stages": False}, "part": {"max_instructions": 2000}}
    results = {name: run(build, timing_only=True, **fields) for name, fields in modes.items()}
    for name, result in results.items():
        (folder / f"{name}.json").write_text(result.to_json())
    return folder, results


def diff(capsys, folder, *arguments):
    paths = [str(folder / f"{name}.json") if not name.startswith("-") and "%" not in name else name
             for name in arguments]
    status = main(["diff", *paths])
    return status, capsys.readouterr().out


def test_equal_runs(records, capsys):
    status, text = diff(capsys, records[0], "a", "same", "--fail-above", "0%")
    assert status == 0
    assert text.splitlines() == ["latency 38978.000 ns -> 38978.000 ns (unchanged)", "nothing else differs"]


def test_what_changed_comes_first(records, capsys):
    folder, results = records
    status, text = diff(capsys, folder, "a", "slow")
    assert status == 0
    before, after = results["a"], results["slow"]
    assert text.startswith("latency 38978.000 ns -> ")
    assert f"{100 * (after.latency_ps / before.latency_ps - 1):+.3f} %" in text.splitlines()[0]
    assert "model" in text and '"resident"' in text
    found = differences(before, after)
    for changes in (found.stages, found.regions):
        times = [change.size for change in changes if change.figure.endswith("_ps")]
        assert times == sorted(times, reverse=True) and times
    operators = {change.of: change.after - change.before for change in found.stages if change.figure == "time_ps"}
    assert sum(operators.values()) == after.end_ps - before.end_ps


@pytest.mark.parametrize("limit, status", [("0%", 1), ("0.001", 1), ("2%", 1), ("400%", 0)])
def test_status_for_ci(records, capsys, limit, status):
    found, text = diff(capsys, records[0], "a", "slow", f"--fail-above={limit}")
    assert found == status and ("the latency grew by more than" in text) == bool(status)
    assert diff(capsys, records[0], "slow", "a", f"--fail-above={limit}")[0] == 0  # faster is no failure


def test_settings_and_inputs(records, capsys):
    folder, results = records
    found = differences(results["a"], results["board"])
    assert {one.key for one in found.inputs} >= {"sources.board", "board.name", "board.clock_mhz"}
    assert not {one.key for one in found.inputs} & {"board.cycles", "board.seconds"}
    assert '"custom_a7"' in diff(capsys, folder, "a", "board")[1]


def test_runs_without_stages_and_of_other_length(records, capsys):
    folder, results = records
    assert "note: the second run has no stages" in diff(capsys, folder, "a", "bare")[1]
    found = differences(results["a"], results["part"])
    assert {change.figure for change in found.totals} >= {"latency_ps", "instructions"}
    assert found.slower_by < 0


def test_json(records, capsys):
    folder, results = records
    status, text = diff(capsys, folder, "a", "slow", "--json", "--fail-above=2%")
    document = json.loads(text)
    assert status == 1 and document["format"] == "plena-emu diff 1"
    assert document["latency"]["after"] == results["slow"].latency_ps


@pytest.mark.parametrize("content, message", [
    ("{", "not JSON"), ("[]", "format: found nothing"), ('{"format": "plena-emu run 99"}', "found 'plena-emu run 99'"),
    ('{"format": "plena-emu run 1"}', "expected"), ("\udcff", "not UTF-8"),
])
def test_records_that_are_none(records, tmp_path, capsys, content, message):
    path = tmp_path / "r.json"
    path.write_text(content, errors="surrogateescape")
    assert main(["diff", str(records[0] / "a.json"), str(path)]) == 101
    error = capsys.readouterr().err
    assert message in error and str(path) in error and error.count("\n") == 1


def _changed(record, path, value):
    *way, last = path
    for step in way:
        record = record[step]
    if value is None:
        del record[last]
    else:
        record[last] = value


FIGURE = ("stages", "stages", 0, "figures")


@pytest.mark.parametrize("path, value, message", [
    ((*FIGURE, "compute_ps"), None, "stages.stages[0].figures.compute_ps: found nothing"),
    ((*FIGURE, "memory_ps"), None, "stages.stages[0].figures.memory_ps: found nothing"),
    ((*FIGURE, "swaps"), -1, "stages.stages[0].figures.swaps: found -1"),
    ((*FIGURE, "compute_ps"), 7, "stages.stages: the sum of compute_ps: found"),
    (("stages", "opcodes", 0, "figures", "instructions"), 7, "stages.opcodes: the sum of instructions: found"),
    (("stages", "regions", 0, "figures", "bytes_read"), 7, "stages.regions: the sum of bytes_read: found 7"),
    (("stages", "stages", 0, "key"), [0, "a", "b"], "stages.stages[0].key: found"),
    (("stages", "stages", 0, "key"), ["0", "a"], "stages.stages[0].key: found"),
    (("stages", "regions", 0, "key"), [3], "stages.regions[0].key: found"),
    (("latency_ps",), -5, "latency_ps: found -5, expected 0 or more"),
    (("latency_ps",), 0, "latency_ps: found 0, expected 38978000"),
    (("latency_ps",), 10**400, "latency_ps: found 1000"),
    ((*FIGURE, "bytes_read"), 10**400, "expected an integer below 2^100"),
    (("end_ps",), 1, "end_ps: found 1, expected 38978000, compute_ps + memory_ps"),
])
def test_records_that_contradict_themselves(records, path, value, message, tmp_path, capsys):
    record = json.loads((records[0] / "a.json").read_text())
    _changed(record, path, value)
    (tmp_path / "r.json").write_text(json.dumps(record))
    for words in (["diff", str(records[0] / "a.json"), str(tmp_path / "r.json")],
                  ["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")]):
        if words[0] == "report":
            pytest.importorskip("matplotlib")
        assert main(words) == 101
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and str(tmp_path / "r.json") in error
    assert not (tmp_path / "r.html").exists()


def test_records_without_stages_or_of_half_a_run(records, tmp_path, capsys):
    """Neither is silently equal."""
    folder = records[0]
    record = json.loads((folder / "a.json").read_text())
    del record["stages"]
    (folder / "removed.json").write_text(json.dumps(record))
    for name in ("removed", "bare"):
        text = diff(capsys, folder, name, "a")[1]
        assert "the first run has no stages" in text and "nothing else differs" not in text
    assert "the second run was stopped before its end" in diff(capsys, folder, "a", "part")[1]
    pytest.importorskip("matplotlib")
    for names in (["part"], ["a", "part"]):
        page = tmp_path / "r.html"
        assert main(["report", *(str(folder / f"{name}.json") for name in names), "-o", str(page)]) == 0
        assert page.read_text().count("stopped before its end") >= len(names)


@pytest.mark.parametrize("limit", ["x", "-1%", "nan", "inf"])
def test_limits_that_are_none(records, limit, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["diff", "a", "b", f"--fail-above={limit}"])
    assert stop.value.code == 2 and "percentage" in capsys.readouterr().err
