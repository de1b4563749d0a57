"""Do the rows of a sweep say what its runs say, and do selections, files and figures show them as they are?"""

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweep_studies import LINEAR, unpacked_clm

import plena_emu
from plena_emu.errors import EmuError, UsageError
from plena_emu.report.sweep_figures import KINDS, choose_kind, draw_sweep
from plena_emu.report.sweeps import pivot_blocks, sweep_blocks
from plena_emu.report.table import render
from plena_emu.sweeping.outputs import csv_bytes, json_lines, parquet_bytes
from plena_emu.sweeping.results import FIGURES, Row, SweepResult

MIB = 2**20


@pytest.fixture(scope="module")
def clm(tmp_path_factory):
    return unpacked_clm(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def swept(clm):
    return plena_emu.sweep(build=clm, board=["custom_a7", "nexys_video"], ddr_capacity="2M..16M", workers=0)


def rows_of(*figures, keys=("a", "b")):
    rows = [Row(id=f"{n:032x}", values={"a": n, "b": str(n)}, figures=dict(found)) for n, found in enumerate(figures)]
    return SweepResult(rows, list(keys), list(keys))


def test_rows_are_what_single_runs_say(clm, swept):
    for row in swept:
        run = plena_emu.run(clm, timing_only=True, board=row.values["board"], ddr_capacity=row.values["ddr_capacity"])
        for name in ("latency_ps", "compute_ps", "memory_ps", "link_busy_ps", "bytes_read", "regime", "instructions",
                     "board_time_ms", "cycles", "utilization_bytes_per_s"):
            assert row.figures[name] == getattr(run, name), name
        assert row.figures["time_ms"] == run.board_time_ms and row.figures["part"] == run.board.part.name
        assert row.figures["kv_swaps"] == run.model_statistics["kv_swaps"]
        assert row.warnings == [line.replace(f"{clm}/", "") for line in run.warnings]
        assert row.figures["row_hits"] == run.dram_statistics["row_hits"]
        assert row.figures["footprint_bytes"] == run.model_statistics["total_footprint_bytes"]
    assert [row.get("regime") for row in swept][:4] == ["weight-stream", "kv-swap", "resident", "resident"]


def test_compiled_models_say_what_their_builds_say(tmp_path):
    """Each model is compiled by hand and run from its own settings; the sweep shares those of a geometry."""
    from plena_emu import models

    axes = {"layers": 1, "prefill": [3, 9, 17], "preset": ["m16b4", "m64b16", "m32b16"],
            "vector_sram_rows": [None, 9000]}
    swept = plena_emu.sweep(model="tiny", **axes, board="custom_a7", workers=0)
    assert len(swept) == 18
    for row in swept:
        build = str(tmp_path / row.id)
        options = {key: row.values[key] for key in axes if key in row.values}
        models.compile("tiny", build, weights="none", **options)
        run = plena_emu.run(build, timing_only=True, board="custom_a7")
        assert (row.figures["latency_ps"], row.figures["bytes_read"]) == (run.latency_ps, run.bytes_read)
        assert row.figures["mlen"] == run.geometry.mlen and row.figures["footprint_bytes"]


def test_best_and_worst(swept):
    best = swept.best("time_ms", 3)
    assert [row.get("regime") for row in best] == ["resident"] * 3 and len(best) == 3
    assert swept.best("link_busy_ps", 1, largest=True).rows[0].get("board") == "nexys_video"
    times = [row.get("time_ms") for row in swept.best("time_ms", 99)]
    assert times == sorted(times) and len(times) == 8


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 48), min_size=1, max_size=20))
def test_the_front_is_what_nothing_beats(places):
    result = rows_of(*({"time_ms": place % 7, "bytes_read": place // 7} for place in places))
    for signs in ((1, 1), (1, -1), (-1, -1)):
        signed = list(zip(signs, ("time_ms", "bytes_read"), strict=True))
        names = [("-" if sign < 0 else "") + name for sign, name in signed]
        score = {row.id: [sign * row.get(name) for sign, name in signed] for row in result}
        expected = {one for one, mine in score.items()
                    if not any(all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine
                               for other in score.values())}
        assert {row.id for row in result.pareto(*names)} == expected


def test_pivot(swept):
    pivot = swept.pivot("ddr_capacity", "board", "regime")
    assert pivot.rows == [2 * MIB, 4 * MIB, 8 * MIB, 16 * MIB] and pivot.columns == ["custom_a7", "nexys_video"]
    assert pivot.cells[1] == ["kv-swap", "kv-swap"]
    text = render(pivot_blocks(pivot))
    assert "4 MiB" in text and text.count("kv-swap") == 2


@pytest.mark.parametrize("call, message", [
    (lambda r: r.best("nope"), "column 'nope': found no such column"),
    (lambda r: r.best("regime"), "column regime: holds text"),
    (lambda r: r.pareto("time_ms"), "at least two columns"),
    (lambda r: r.pareto("time_ms", "board"), "column board: holds text"),
    (lambda r: r.pivot("board", "build"), "two points have board custom_a7"),
])
def test_what_cannot_be_selected(swept, call, message):
    with pytest.raises(UsageError, match=message):
        call(swept)


def test_files_have_every_column_of_every_point(swept):
    rows = list(csv.DictReader(io.StringIO(csv_bytes(swept).decode())))
    lines = [json.loads(line) for line in json_lines(swept).splitlines()]
    assert lines == swept.records() and len(rows) == len(lines) == 8
    for row, line in zip(rows, lines, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}
    assert list(rows[0])[:4] == ["id", "build", "board", "ddr_capacity"] and list(rows[0])[-1] == "error"


def test_parquet_and_pandas_have_the_same(swept, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `sweep`")
    found = parquet.read_table(io.BytesIO(parquet_bytes(swept))).to_pylist()
    assert found == [{**row, "error": None} for row in swept.records()]
    mixed = rows_of({"time_ms": 1}, {"time_ms": 2.5}, {"time_ms": None})
    read = parquet.read_table(io.BytesIO(parquet_bytes(mixed))).to_pylist()
    assert [row["time_ms"] for row in read] == [1.0, 2.5, None]
    pandas = pytest.importorskip("pandas")
    frame = swept.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame["time_ms"].tolist() == [row.get("time_ms") for row in swept]


@pytest.mark.parametrize("width", [40, 60, 80, 200, None])
def test_tables_fit_and_lose_nothing(swept, width):
    text = render(sweep_blocks(swept), width)
    assert all(row.id[:10] in text for row in swept) and "weight-stream" in text and "911.158" in text
    if width and width >= 60:
        assert max(map(len, text.splitlines())) <= max(width, 60)


def test_a_narrow_terminal_has_fewer_figures_and_still_a_line_a_point(swept):
    for width in (64, 70, 80):
        lines = render(sweep_blocks(swept, width=width), width).splitlines()
        assert len([line for line in lines if any(line.startswith(row.id[:10]) for row in swept)]) == 8
        assert "time ms" in lines[0] and "regime" in lines[0] and max(map(len, lines)) <= width
    assert "bytes read" in render(sweep_blocks(swept, width=200), 200)


def test_long_tables_say_what_is_left_out():
    many = rows_of(*({"time_ms": n, "latency_ps": 1, "compute_ps": 1} for n in range(100)))
    text = render(sweep_blocks(many))
    assert "and 60 more points" in text and len(text.splitlines()) == 42


def test_failures_are_shown_with_why():
    bad = SweepResult([Row(id="f" * 32, values={"a": 1}, failure="model x: too long")], ["a"], [])
    text = render(sweep_blocks(bad))
    assert "1 of 1 points failed" in text and "a=1" in text and "model x: too long" in text


def test_figures_exist_for_every_kind_and_are_the_same_again(swept):
    pytest.importorskip("matplotlib", reason="the extra `report`")
    columns = {"curve": (), "heat": (), "pareto": ("time_ms", "ddr_capacity"), "parallel": ()}
    for kind in KINDS:
        one, other = (draw_sweep(swept, kind, columns[kind], "svg") for _ in range(2))
        assert one == other and b"<svg" in one
    for kind in KINDS:  # text is text, also where an axis is logarithmic
        assert "mathdefault" not in draw_sweep(swept, kind, columns[kind], "svg").decode()
    text = draw_sweep(swept, "curve", (), "svg").decode()
    assert "everything fits: 4.5 MiB" in text and "weights fit: 3.66 MiB" in text and ">kv-swap<" in text
    assert draw_sweep(swept, "heat", (), "png").startswith(b"\x89PNG")


@pytest.fixture
def tied():
    """Two boards with the same times, and one point that failed."""
    rows = [Row(id=f"{n:032x}", values={"board": f"b{n // 3}", "clock_mhz": 100.0 + n % 3},
                figures={"time_ms": 5.0 - n % 3, "regime": "resident"}) for n in range(5)]
    failed = Row(id="f" * 32, values={"board": "b1", "clock_mhz": 102.0}, failure="too fast")
    return SweepResult([*rows, failed], ["board", "clock_mhz"], ["board", "clock_mhz"])


def drawn(result, kind, columns=()):
    """The axes of a figure before it is written, and its texts."""
    from matplotlib.figure import Figure

    kept = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, *arguments, **more: kept.append(figure))
        draw_sweep(result, kind, columns, "png")
    axes = kept[0].axes[0]
    return axes, [text.get_text() for text in axes.texts]


def test_a_curve_under_another_is_seen_and_failed_points_are_marked(tied):
    pytest.importorskip("matplotlib", reason="the extra `report`")
    axes, _ = drawn(tied, "curve")
    below, above = [line for line in axes.lines if line.get_label() in ("b0", "b1")]
    assert below.get_linewidth() > above.get_linewidth() + 2
    (crosses,) = [line for line in axes.lines if line.get_marker() == "x"]
    assert list(crosses.get_xdata()) == [102.0] and crosses.get_color() == above.get_color()
    assert [text.get_text() for text in axes.figure.legends[0].texts] == ["b0", "b1", "resident", "failed"]


def test_points_of_a_front_in_one_place_are_named_together(tied):
    pytest.importorskip("matplotlib", reason="the extra `report`")
    _, texts = drawn(tied, "pareto", ("time_ms", "clock_mhz"))
    assert "board b0\nboard b1" in texts and len(texts) == 3
    many = SweepResult([Row(id=f"{n:032x}", values={"board": f"b{n}"}, figures={"time_ms": 1.0, "cycles": 1.0})
                        for n in range(9)], ["board"], ["board"])
    assert drawn(many, "pareto", ("time_ms", "cycles"))[1] == ["board b0\nboard b1\nboard b2\nand 6 more"]


def test_a_heat_map_tells_cells_whose_points_failed(tied):
    pytest.importorskip("matplotlib", reason="the extra `report`")
    assert sorted(drawn(tied, "heat")[1]) == ["3", "4", "4", "5", "5", "failed"]
    again = SweepResult([*tied, *tied], ["board", "clock_mhz", "dram"], ["board", "clock_mhz", "dram"])
    with pytest.raises(EmuError, match="needs two keys that vary, found board, clock_mhz, dram: give the others one"):
        draw_sweep(again, "heat", (), "svg")
    with pytest.raises(EmuError, match="one point a cell, found two with board b0 and clock_mhz 100: dram has to have"):
        draw_sweep(again, "heat", ("board", "clock_mhz"), "svg")


@pytest.mark.parametrize("most", [12, 1200])
def test_text_of_figures_is_no_mathematics(most):
    """Neither of an axis that is logarithmic, nor of a name with a dollar."""
    pytest.importorskip("matplotlib", reason="the extra `report`")
    rows = [Row(id=f"{n:032x}", values={"model": f"$x^{{${n % 2}", "board": f"b{n // 2}"},
                figures={"time_ms": 1.0 + most * n / 4}) for n in range(4)]
    found = SweepResult(rows, ["model", "board"], ["model", "board"])
    for kind in ("heat", "parallel"):
        text = draw_sweep(found, kind, (), "svg").decode()
        assert "mathdefault" not in text and "$x^{$1" in text


def test_the_kind_of_figure_follows_what_varies():
    result = rows_of({"time_ms": 1}, {"time_ms": 2})
    assert choose_kind(result, ()) == "curve"
    rows = [Row(id=f"{n:032x}", values={"a": str(n % 5), "b": str(n // 5)}, figures={"time_ms": n}) for n in range(25)]
    assert choose_kind(SweepResult(rows, ["a", "b"], ["a", "b"]), ()) == "heat"
    assert choose_kind(SweepResult(rows, ["a", "b", "c"], ["a", "b", "c"]), ()) == "parallel"


@pytest.mark.parametrize("kind, columns, message", [
    ("curve", ("board", "time_ms"), "needs a key of numbers"),
    ("heat", ("board",), None), ("pareto", (), "needs two columns"), ("parallel", ("board",), "two columns or more"),
    ("curve", ("nope",), "no such column"),
])
def test_figures_that_cannot_be(swept, kind, columns, message):
    pytest.importorskip("matplotlib")
    if message is None:
        assert draw_sweep(swept, kind, columns, "svg")
        return
    with pytest.raises(UsageError, match=message):
        draw_sweep(swept, kind, columns, "svg")


def test_the_call_takes_what_python_has(tmp_path):
    from pathlib import Path

    found = plena_emu.sweep(build=Path(LINEAR), memory_model=("resident", "weight-stream"), host_bandwidth=10**6,
                            where="memory_model == 'resident'", store=tmp_path / "s", workers=0)
    assert len(found) == 1 and found.failures == [] and "1 points" in repr(found)
    assert set(found.rows[0].figures) == set(FIGURES)
    for call, message in (
        (lambda: plena_emu.sweep(build=LINEAR, bord="v80"), "'bord': found an unknown key, expected board perhaps"),
        (lambda: plena_emu.sweep(build=LINEAR, axes={"build": "x"}), "build: found in axes and as a keyword"),
        (lambda: plena_emu.sweep(3), "study: found 3"),
        (lambda: plena_emu.sweep(build=object()), "build: found a object"),
        (lambda: plena_emu.sweep(build=LINEAR, scheduler="tcp://x:1", workers=2), "not with --workers"),
    ):
        with pytest.raises(EmuError) as raised:
            call()
        assert message in str(raised.value)


@pytest.mark.parametrize("wrong, message", [
    ({"workers": "a"}, "workers: found 'a'"), ({"workers": -1}, "workers: found -1"),
    ({"workers": 1.5}, "workers: found 1.5"), ({"workers": True}, "workers: found true"),
    ({"memory_limit": -5}, "memory_limit: found -5"), ({"scheduler": 3}, "scheduler: found 3"),
    ({"axes": [1]}, "axes: found"), ({"axes": {3: 4}}, "axes: found the key 3"), ({"where": 3}, "where: found 3"),
    ({"where": [3]}, "where: found 3"), ({"zip": [1]}, "zip: found 1"), ({"zip": 3}, "zip: found 3"),
    ({"store": 5}, "store: found 5"), ({"watcher": 3}, "watcher: found 3"), ({"minimize": 3}, "minimize: found 3"),
    ({"constraints": 5}, "constraints: found 5"), ({"fidelity": [1]}, "fidelity: found"),
])
def test_arguments_of_the_wrong_type_are_named(wrong, message):
    is_search = not wrong.keys().isdisjoint(("minimize", "constraints", "fidelity"))
    with pytest.raises(EmuError, match=message):
        (plena_emu.search if is_search else plena_emu.sweep)(build=LINEAR, memory_model="resident", **wrong)


@pytest.mark.parametrize("call", [
    lambda r: r.best("time_ms", "x"), lambda r: r.best("time_ms", 0), lambda r: r.best(3), lambda r: r.pareto(1, 2),
    lambda r: r.pivot(1, 2),
])
def test_selections_of_the_wrong_type_are_usage_errors(swept, call):
    with pytest.raises(UsageError, match="found"):
        call(swept)
