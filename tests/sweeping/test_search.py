"""Does a search find what a full sweep finds, with few points, always the same ones, whoever ends it meanwhile?"""

import json
import re

import pytest
from sweep_studies import HERE, LINEAR, Told

import plena_emu
from plena_emu.cli.main import main
from plena_emu.errors import EmuError
from plena_emu.sweeping.engine import EngineOptions, Interrupted
from plena_emu.sweeping.search import run_search
from plena_emu.sweeping.space import Space
from plena_emu.sweeping.store import Store
from plena_emu.sweeping.study import SearchSpec, make_study

pytest.importorskip("optuna", reason="the extra `search`")

GRID = {"build": LINEAR, "board": "custom_a7,nexys_video", "clock_mhz": "100..190:10", "ddr_speed": "0.5,1,1.5,2",
        "ddr_capacity": "16K..64K", "host_bandwidth": "1M,10M"}
LIMIT = "clock_mhz * ddr_speed <= 240"


def found(store=None, watcher=None, engine=HERE, axes=GRID, **search):
    spec = SearchSpec(**({"minimize": ["time_ms"], "trials": 48} | search))
    return run_search(make_study(axes, search=spec), engine, Store(store), watcher or Told())


@pytest.fixture(scope="module")
def everything():
    """Every point of the grid."""
    return plena_emu.sweep(**GRID, workers=0)


@pytest.mark.parametrize("constraints", [[], [LIMIT]])
def test_the_optimum_of_a_grid_within_a_tenth_of_its_points(everything, constraints):
    result = found(constraints=constraints)
    assert len(everything) == result.combinations == 480 and len(result) <= 48
    allowed = [row for row in everything if not constraints or row.get("clock_mhz") * row.get("ddr_speed") <= 240]
    best = min(row.get("time_ms") for row in allowed)
    (answer,) = result.answers.rows
    assert answer.get("time_ms") == best and answer in allowed
    by_id = {row.id: row for row in everything}
    assert all(by_id[row.id].figures == row.figures for row in result) and len(set(ids(result))) == len(result)


def test_several_objectives_have_a_front(everything):
    result = found(minimize=["time_ms", "ddr_capacity"], maximize=["host_bandwidth"], trials=30)
    def score(row):
        return row.get("time_ms"), row.get("ddr_capacity"), -row.get("host_bandwidth")

    scores = [score(row) for row in result]
    front = {mine for mine in scores if not any(
        all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine for other in scores)}
    assert {score(row) for row in result.answers} == front
    assert len(result) == 30 and result.directions["host_bandwidth"] == "maximize"


def ids(result):
    return [row.id for row in result]


def test_the_same_seed_asks_for_the_same_points(tmp_path):
    one = found(trials=20, seed=3)
    assert ids(one) == ids(found(trials=20, seed=3, store=str(tmp_path)))
    assert ids(one) != ids(found(trials=20, seed=4))
    assert ids(one) == ids(found(trials=12, seed=3))[:12] + ids(one)[12:]


class Stops(Told):
    """Ctrl-C after some points."""

    def __init__(self, after):
        super().__init__()
        self.after = after

    def done(self, points, failures):
        super().done(points, failures)
        if self.count == self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 7, 9, 16])
def test_a_search_that_is_ended_goes_on_as_if_it_had_not_been(after, tmp_path):
    whole = found(trials=24, seed=1)
    with pytest.raises(Interrupted):
        found(trials=24, seed=1, store=str(tmp_path), watcher=Stops(after))
    told = Told()
    again = found(trials=24, seed=1, store=str(tmp_path), watcher=told)
    assert ids(again) == ids(whole) and told.count <= 24 - after + 1
    assert [row.figures for row in again.answers] == [row.figures for row in whole.answers]
    more = found(trials=32, seed=1, store=str(tmp_path))
    assert ids(more)[:24] == ids(whole) and len(more) == 32


@pytest.mark.parametrize("search", [
    {}, {"constraints": [LIMIT]}, {"minimize": ["time_ms", "ddr_capacity"]}, {"parallel": 4, "seed": 6},
])
def test_more_trials_later_are_the_trials_of_one_search(search, tmp_path):
    """Also where a round was left half full: what is known of it when it is filled up is what was known before."""
    whole = found(trials=30, **search)
    for trials in (3, 11, 21, 30):
        result = found(trials=trials, store=str(tmp_path), **search)
        assert ids(result) == ids(whole)[:trials]
    assert ids(result.answers) == ids(whole.answers)


def test_more_trials_later_prune_alike(tmp_path):
    search = {"axes": {"model": "tiny", "prefill": "3..6", "board": "custom_a7", "clock_mhz": "60..150:30"},
              "fidelity": {"layers": 1}, "parallel": 4}
    whole = found(trials=15, **search)
    found(trials=10, store=str(tmp_path), **search)
    result = found(trials=15, store=str(tmp_path), **search)
    assert (ids(result), result.pruned) == (ids(whole), whole.pruned) and whole.pruned > 0


def test_workers_change_nothing(tmp_path):
    pytest.importorskip("distributed", reason="the extra `sweep`")
    assert ids(found(trials=16, engine=EngineOptions(workers=2))) == ids(found(trials=16))


def test_a_space_smaller_than_the_trials_is_run_whole():
    result = found(axes={"build": LINEAR, "memory_model": "resident,weight-stream", "host_bandwidth": "1M..4M"},
                   trials=100)
    assert len(result) == 6 == len(set(ids(result)))


def test_conditions_and_zips_bind_a_search():
    axes = {"build": LINEAR, "board": "custom_a7,nexys_video", "clock_mhz": "100,150", "ddr_speed": "0.5,1,2"}
    study = make_study(axes, [["board", "clock_mhz"]], "ddr_speed > 0.5", SearchSpec(minimize=["time_ms"], trials=9))
    result = run_search(study, HERE, Store(None), Told())
    pairs = {(row.get("board"), row.get("clock_mhz")) for row in result}
    assert pairs == {("custom_a7", 100.0), ("nexys_video", 150.0)} and len(result) == 4
    assert all(row.get("ddr_speed") > 0.5 for row in result)


def test_failures_are_rows_and_no_answers():
    result = found(axes={"model": "tiny", "layers": 1, "prefill": "3,4", "isa": "base,moe"}, trials=4)
    assert len(result) == 4 and len(result.failures) == 2
    assert result.answers.rows[0].get("prefill") == 3


def test_no_point_keeps_the_constraints():
    result = found(constraints=["time_ms < 0"], trials=5)
    assert len(result) == 5 and result.answers.rows == []


def test_what_is_worse_with_fewer_layers_is_not_run_in_full():
    axes = {"model": "tiny", "prefill": "3..8", "board": "custom_a7", "clock_mhz": "60..150:30"}
    result = found(axes=axes, trials=24, fidelity={"layers": 1}, parallel=4)
    full = found(axes=axes, trials=24, parallel=4)
    assert result.pruned > 0 and len(result) + result.pruned == 24 == len(full)
    assert result.answers.rows[0].id == full.answers.rows[0].id
    assert all("layers" not in row.values for row in result)
    assert ids(result) == ids(found(axes=axes, trials=24, fidelity={"layers": 1}, parallel=4))


def test_parameters_stand_for_values_and_back():
    study = make_study({"build": LINEAR, "board": [None, "v80"], "clock_mhz": [3, 2, 1],
                        "ddr_capacity": "1M,4M,2M", "host_bandwidth": "1M..8M", "isa": "base"})
    space = Space(study)
    seen = list(space.each_value())
    assert len(seen) == 1 + 1 + 2 + 2 + 3
    for values in seen:
        assert space.values_of(space.parameters_of(values)) == values
    assert "board" not in seen[0] and seen[1]["board"] == "v80"
    assert space._is_ordered(("clock_mhz",)) and not space._is_ordered(("ddr_capacity",))


@pytest.mark.parametrize("search, message", [
    ({"minimize": []}, "search: found no objective"),
    ({"minimize": ["nope"]}, "column 'nope'"),
    ({"minimize": ["regime"]}, "column regime: holds text"),
    ({"minimize": ["id"]}, "column id: holds text"),
    ({"minimize": ["build"]}, "column build: holds text"),
    ({"constraints": ["regime > 3"]}, "constraint 'regime > 3': found text and a number"),
    ({"constraints": ["time_ms < 3 or memory_model + 1 > 2"]}, "expected two of a kind"),
    ({"maximize": ["time_ms"]}, "search: found a column twice"),
    ({"constraints": ["nope > 3"]}, "constraint 'nope > 3': nope: found no such key or column"),
    ({"constraints": ["time_ms >"]}, "constraint 'time_ms >': no condition"),
    ({"trials": 0}, "search.trials: found 0"),
    ({"parallel": 0}, "search.parallel: found 0"),
    ({"fidelity": {"layers": 1}}, "search.fidelity: layers: expected layers, prefill or batch of a model"),
    ({"minimize": ["time_ms", "bytes_read"], "fidelity": {"layers": 1}}, "search.fidelity: needs one objective"),
])
def test_searches_that_make_no_sense(search, message):
    with pytest.raises(EmuError) as raised:
        found(**search)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_every_value_is_checked_before_a_point_runs():
    told = Told()
    with pytest.raises(EmuError, match="unknown board 'v9'"):
        found(axes=GRID | {"board": "custom_a7,v80,v9"}, watcher=told)
    assert told.count == 0


def test_the_call_and_the_command_are_one(tmp_path, capsys):
    axes = {key: value for key, value in GRID.items() if key != "build"}
    result = plena_emu.search(build=LINEAR, **axes, minimize="time_ms", trials=10, seed=2, constraints=LIMIT, workers=0)
    assert re.match(r"<SearchResult 10 of 480 points, 1 answers>", repr(result))
    flags = [word for key, value in axes.items() for word in (f"--{key.replace('_', '-')}", value)]
    command = ["search", LINEAR, *flags, "--minimize", "time_ms", "--trials", "10", "--seed", "2", "--constraint",
               LIMIT, "--workers", "0"]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "r.json").read_text())
    assert [point["id"] for point in record["points"]] == ids(result)
    assert record["answers"] == ids(result.answers) and ids(result.answers)[0][:10] in said
    assert "The best point, minimizing time_ms" in said and "10 of 480 points ran" in said
    assert main([*command[:-4], "--constraint", "time_ms < 0", "--workers", "0"]) == 1
    assert "no point keeps every constraint" in capsys.readouterr().out
    for more, message in ((["--fidelity", "x"], "expected KEY=N"), (["--trials", "x"], "decimal digits"),
                          (["--columns", ""], "found an empty value"), (["--columns", "nope"], "column 'nope'"),
                          (["--columns", "regime,regime"], "found regime twice")):
        try:
            assert main([*command, *more]) == 2
        except SystemExit as stop:
            assert stop.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(EmuError, match="trials: found 'x'"):
        plena_emu.search(build=LINEAR, minimize="time_ms", trials="x")


def test_a_study_file_holds_a_search(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(f"axes: {{build: {LINEAR}, memory_model: resident, host_bandwidth: 1M..8M}}\n"
                    "search: {minimize: [time_ms], trials: 3, seed: 5, constraints: ['host_bandwidth > 1000000']}\n")
    result = plena_emu.search(path, workers=0)
    assert len(result) == 3 and result.answers.rows[0].get("host_bandwidth") > 10**6


@pytest.mark.parametrize("axes, fidelity", [
    ({}, {"layers": 9}), ({}, {"layers": 2}), ({"layers": 2}, {"layers": 2}), ({}, {"batch": 1}), ({}, {"layers": 0}),
    ({"prefill": "3,9"}, {"prefill": 9}), ({"past": 5}, {"prefill": 3}),
])
def test_a_fidelity_has_to_be_cheaper(axes, fidelity):
    """tiny has two layers."""
    with pytest.raises(EmuError, match=f"search.fidelity: {next(iter(fidelity))}: found"):
        found(axes={"model": "tiny", "board": "custom_a7,v80"} | axes, trials=2, fidelity=fidelity)
