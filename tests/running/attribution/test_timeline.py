"""The timeline of a run: slices sum to the attribution, bounded, in order, the same bytes every time."""

import gzip
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracle import goldens

from plena_emu.api import run
from plena_emu.config.settings import default_settings
from plena_emu.errors import EmuError, UsageError
from plena_emu.kernels import layout
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode
from plena_emu.running.attribution.labels import Labels, Stage
from plena_emu.running.attribution.timeline_file import TRACKS, Timeline

PROGRAMS = ("base_aten_linear", "base_sliced_layer_m64b16_h64", "base_clm60m_dec_L1_m256b64_a7")


@pytest.fixture(scope="module", params=PROGRAMS)
def build(request, tmp_path_factory):
    archive = goldens.find(request.param)
    if archive is None:
        pytest.skip(f"{request.param} is not here")
    return str(goldens.unpack(archive, tmp_path_factory.mktemp("build")).directory)


def read(path):
    """A small reader: slices by track name, and counters by name."""
    with (gzip.open if path.endswith(".gz") else open)(path) as file:
        document = json.load(file)
    names = {event["tid"]: event["args"]["name"] for event in document["traceEvents"]
             if event["ph"] == "M" and event["name"] == "thread_name"}
    slices = {name: [] for name in names.values()}
    counters = {}
    for event in document["traceEvents"]:
        if event["ph"] == "X":
            slices[names[event["tid"]]].append(event)
        elif event["ph"] == "C":
            counters.setdefault(event["name"], []).append((event["ts"], event["args"]["value"]))
    return document["otherData"], slices, counters


def check(path, result, most):
    """Sums by operator and unit are the attribution's; slices of a track do not overlap; at most `most` of them."""
    about, slices, counters = read(path)
    operators = [event for event in slices["stages"] if event["cat"] == "stages"]
    time, memory, instructions, moved = Counter(), Counter(), Counter(), Counter()
    for event in operators:
        key = (event["args"]["layer"], event["name"])
        time[key] += event["args"]["ps"]
        memory[key] += event["args"]["memory_ps"]
        instructions[key] += event["args"]["instructions"]
        moved[key] += event["args"]["bytes"]
        assert event["dur"] == event["args"]["ps"] / 1e6
    rows = {row.key: row.figures for row in result.stages.stages}
    assert instructions == {key: figures.instructions for key, figures in rows.items()}
    assert time == {key: figures.time_ps for key, figures in rows.items()}
    assert memory == {key: figures.memory_ps for key, figures in rows.items()}
    assert moved == {key: figures.bytes_read + figures.bytes_written for key, figures in rows.items()}
    total = result.stages.total
    units = {name: sum(event["args"]["ps"] for event in slices[name]) for name in TRACKS[1:]}
    assert [units[name] for name in ("matrix", "vector", "scalar", "DMA")] == [
        total.matrix_ps, total.vector_ps, total.scalar_ps, total.memory_ps]
    assert units["host link"] <= total.link_ps
    linked = Counter()
    for event in slices["host link"]:
        linked[event["args"]["layer"], event["name"]] += event["args"]["bytes"]
    assert linked == {key: figures.link_bytes for key, figures in rows.items() if figures.link_bytes}
    for events in ([event for event in slices["stages"] if event["cat"] == "layer"], operators,
                   *(slices[name] for name in TRACKS[1:])):
        spans = sorted((round(event["ts"] * 1e6), round(event["ts"] * 1e6) + event["args"]["ps"]) for event in events)
        assert all(first[1] <= second[0] for first, second in zip(spans, spans[1:], strict=False))
    assert sum(map(len, slices.values())) == result.timeline.slices <= most
    assert max(event["ts"] + event["dur"] for event in operators) * 1e6 == pytest.approx(result.end_ps, abs=1)
    samples = counters["bandwidth (bytes/s)"]
    spans = np.diff([*(ts for ts, _ in samples), result.end_ps / 1e6])
    bytes_moved = sum(rate * span / 1e6 for (_, rate), span in zip(samples, spans, strict=True))
    assert bytes_moved == pytest.approx(result.bytes_read + result.bytes_written, rel=1e-6)
    return about, slices, counters


@pytest.mark.parametrize("most", [200_000, 2000, None])
def test_sums(build, most, tmp_path):
    path = str(tmp_path / "t.json.gz")
    with pytest.raises(UsageError, match="timeline_slices 1: expected at least") as refused:
        run(build, timing_only=True, timeline=path, timeline_slices=1)
    most = most or int(str(refused.value).split("at least ")[1].split(":")[0])
    result = run(build, timing_only=True, timeline=path, timeline_slices=most)
    plain = run(build, timing_only=True)
    assert (result.latency_ps, result.stages) == (plain.latency_ps, plain.stages)
    about, slices, _ = check(path, result, most)
    assert about["buckets_ps"] == result.timeline.bucket_ps and about["latency_ps"] == result.latency_ps
    assert ("merged" in about) == (result.timeline.bucket_ps > 0)
    assert result.timeline.slices == sum(map(len, slices.values()))


@pytest.mark.parametrize("flags, period", [
    ({"board": "custom_a7"}, 10_000), ({"board": "custom_a7", "clock_mhz": 150}, 6667), ({"board": "v80"}, 2500),
    ({"board": "custom_a7", "reference_timing": True}, 1000),
])
def test_times_are_those_of_the_board(flags, period, tmp_path):
    """A slice of scalar work lasts whole cycles of the board's clock, and the last one ends where the run does."""
    folder = goldens.unpack(goldens.find("base_aten_linear"), tmp_path).directory
    path, log = str(tmp_path / "t.json"), tmp_path / "log.tsv"
    more = {"timing_only": True, "memory_model": "hbm", **flags}
    result = run(str(folder), timeline=path, **more)
    about, slices, _ = check(path, result, 200_000)
    assert (about["core_period_ps"], about["time_basis"]) == (period, result.time_basis)
    assert result.stages.core_period_ps == period
    spans = [event["args"]["ps"] for name in ("matrix", "vector", "scalar") for event in slices[name]]
    assert spans and all(span % period == 0 for span in spans)
    lines = run(str(folder), pc_log=str(log), pc_log_count=10**6, **more) and log.read_text().splitlines()[1:]
    start, took = (int(part.replace(".", "")) for part in lines[-1].split("\t")[1:3])
    assert start + took == result.end_ps


def test_layers_hold_their_operators(build, tmp_path):
    path = str(tmp_path / "t.json")
    run(build, timing_only=True, timeline=path)
    _, slices, _ = read(path)
    layers = [event for event in slices["stages"] if event["cat"] == "layer"]
    for event in slices["stages"]:
        if event["cat"] == "stages" and event["args"]["layer"] is not None:
            around = [layer for layer in layers if layer["name"] == f"layer {event['args']['layer']}"
                      and layer["ts"] <= event["ts"]
                      and event["ts"] + event["dur"] <= layer["ts"] + layer["dur"] + 1e-6]
            assert len(around) == 1


def test_swaps_and_link(tmp_path):
    """Where layers are swapped there are slices of the host link and a counter of what is resident."""
    folder = goldens.unpack(goldens.find("base_aten_linear"), tmp_path).directory
    (folder / "m.json").write_text(json.dumps({"activation_ceiling": 0, "regions": [
        {"layer_id": k, "offset": 8192 * k, "size": 8192, "kind": "weight"} for k in range(16)]}))
    path = str(tmp_path / "t.json.gz")
    result = run(str(folder), timing_only=True, memory_model="layer-swap", weight_manifest=str(folder / "m.json"),
                 ddr_capacity=16384, timeline=path)
    _, slices, counters = check(path, result, 200_000)
    assert sum(event["args"]["ps"] for event in slices["host link"]) > 0
    resident = str(tmp_path / "resident.json")
    _, _, held = check(resident, run(str(folder), timing_only=True, memory_model="resident", timeline=resident,
                                     weight_manifest=str(folder / "m.json")), 200_000)
    assert {value for _, value in held["resident in the DDR (bytes)"]} == {16 * 8192}
    assert "resident in the DDR (bytes)" not in counters
    for model in ("kv-swap", "host-stream", "weight-stream"):
        other = str(tmp_path / f"{model}.json")
        check(other, run(str(folder), timing_only=True, memory_model=model, weight_manifest=str(folder / "m.json"),
                         ddr_capacity=16384, timeline=other), 200_000)
    levels = [value for _, value in counters["swapped into DDR (bytes)"]]
    assert max(levels) == 16384 and set(levels) <= {0, 8192, 16384}


def test_same_bytes_with_data_and_threads(build, tmp_path):
    contents = []
    for number, fields in enumerate(({"timing_only": True}, {"timing_only": True, "memo": False, "threads": 2})):
        path = tmp_path / f"{number}.json.gz"
        run(build, timeline=str(path), **fields)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_instructions_that_take_no_time_are_in_slices(tmp_path):
    """What a program without comments does outside loops may cost nothing; its instructions count all the same."""
    archive = goldens.find("base_fz_00001")
    if archive is None:
        pytest.skip("base_fz_00001 is not here")
    folder = goldens.unpack(archive, tmp_path).directory
    path = str(tmp_path / "t.json")
    check(path, run(str(folder), timeline=path), 200_000)


def test_a_file_that_cannot_be_written(tmp_path):
    folder = str(goldens.unpack(goldens.find("base_aten_linear"), tmp_path).directory)
    with pytest.raises(EmuError, match="--timeline .*cannot write"):
        run(folder, timing_only=True, timeline=str(tmp_path / "no" / "t.json"))
    with pytest.raises(UsageError, match="timeline_slices"):
        run(folder, timing_only=True, timeline="t.json", timeline_slices=0)


def test_perfetto_says_the_same(build, tmp_path):
    """The trace processor of Perfetto sums the slices of each operator to the same."""
    perfetto = pytest.importorskip("perfetto.trace_processor")
    path = str(tmp_path / "t.json.gz")
    result = run(build, timing_only=True, timeline=path)
    try:
        processor = perfetto.TraceProcessor(trace=path)
    except Exception as error:  # it may want to download its executable
        pytest.skip(f"the trace processor does not start: {error}")
    query = "select name, sum(dur) as dur from slice where category = 'stages' group by name"
    found = {row.name: row.dur for row in processor.query(query)}
    rows = {row.key[0]: row.figures.time_ps for row in result.stages.by("operator") if row.figures.time_ps}
    assert found == {name: pytest.approx(time / 1000, abs=1000) for name, time in rows.items()}  # nanoseconds


STEP = st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 7, 1000, 50_000]))


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=60), st.integers(1, 30), st.integers(1, 60))
def test_any_stream(steps, most, cut):
    """Sums survive however often slices are merged, and however the stream is cut."""
    text = ["M_MM 0, gp1, gp2", "V_ADD_VV gp1, gp2, gp3, 0", "S_ADDI_INT gp1, gp0, 1",
            "H_PREFETCH_M gp1, gp2, a0, 0, 0", "C_BREAK"]
    program = decode(np.array(assemble("\n".join(text), "base", "t"), dtype=np.uint32), "base", default_settings())
    labels = Labels([Stage(None, "a"), Stage(0, "b")], np.array([0, 1, 0, 1, 0], dtype=np.int32), "here", [])
    timeline = Timeline(program, labels, most)
    executed = np.zeros((len(steps), layout.TR_WIDTH), dtype=np.int64)
    executed[:, layout.TR_PC] = [word for word, _ in steps]
    durations = np.array([duration for _, duration in steps], dtype=np.int64)
    events = np.zeros((len(steps), layout.MEV_WIDTH), dtype=np.int64)
    events[:, layout.MEV_DONE], events[:, layout.MEV_BYTES] = np.cumsum(durations), 64
    for first in range(0, len(steps), cut):
        part = slice(first, first + cut)
        moves = executed[part, layout.TR_PC] == 3
        timeline.watch(executed[part], durations[part], events[part][moves])
    table = timeline.slices()
    for track, words in ((0, range(5)), (1, (0,)), (2, (1,)), (3, (2, 4)), (4, (3,))):
        mine = table[table[:, 0] == track]
        for stage in (0, 1):
            expected = sum(d for word, d in steps if word in words and labels.of_word[word] == stage)
            assert int(mine[mine[:, 1] == stage, 3].sum()) == expected
        ends = mine[:, 2] + mine[:, 3]
        assert (ends[:-1] <= mine[1:, 2]).all()
    assert timeline.end_ps == durations.sum()
    assert len(table) + len(timeline.layers(table)) <= max(most, timeline.least)
