"""Does sharing change no figure: parsed inputs, a recorded control pass, a memory that went through the same events?"""

import lzma
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plena_emu
from plena_emu.config.build_dir import fields_of
from plena_emu.errors import EmuError
from plena_emu.logs import Log
from plena_emu.request import RunRequest
from plena_emu.running.control_replay import ReplayedSimulation, control_key
from plena_emu.running.runner import execute
from plena_emu.running.shared_work import SharedWork

ROOT = Path(__file__).resolve().parents[2]
LINEAR = str(ROOT / "examples" / "linear" / "build")
CLM = ROOT / "tests" / "golden" / "manifests" / "base_clm60m_dec_L1_m256b64_a7"
TOTAL, WEIGHTS = 4718592, 3833856  # bytes of the regions of `CLM`
CASES = [
    *({"board": "custom_a7", "ddr_capacity": size} for size in (2**20, WEIGHTS - 1, WEIGHTS, TOTAL - 1, TOTAL, 2**29)),
    *({"board": "custom_a7", "clock_mhz": clock} for clock in (50.0, 100.0, 133.0)),
    {"board": "nexys_video", "host_bandwidth": 10**6, "ddr_capacity": 2**20},
    {"board": "nexys_video", "host_bandwidth": 10**8, "ddr_capacity": 2**20},
    {"board": "nexys_video", "host_bandwidth": 10**8},
    {"board": "v80", "ddr_speed": "1.5"},
    {"board": "custom_a7", "reference_timing": True, "memory_model": "kv-swap"},
    {"memory_model": "hbm"},
    {"memory_model": "hbm", "dram": "ddr4"},
    {"memory_model": "hbm", "dma": "production"},
    {"memory_model": "hbm", "max_instructions": 3000},
    {"memory_model": "hbm", "stages": True},
    {"memory_model": "hbm", "stages": True, "dram": "ddr4"},
]


@pytest.fixture(scope="module")
def clm(tmp_path_factory):
    """The build of the README's worked example, whose regimes have edges."""
    build = tmp_path_factory.mktemp("shared") / "clm"
    shutil.copytree(CLM, build, ignore=shutil.ignore_patterns("weight_manifest*"))
    packed = build / "generated_machine_code.mem.xz"
    packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    return str(build)


def content(result):
    """Everything in a record but what the host's clock decides."""
    record = msgspec.to_builtins(result)
    del record["wall"], record["instructions_per_s"]
    return msgspec.json.encode(record)


def shared_run(build, shared, **fields):
    given = {"stages": False, "timing_only": True} | fields
    return execute(RunRequest(**({"dump_dir": None} | fields_of(build, given))), Log("off"), shared=shared)


def alone(build, **fields):
    return plena_emu.run(build, **({"stages": False, "timing_only": True} | fields))


def test_records_are_those_of_runs_alone_in_either_order(clm):
    expected = [content(alone(clm, **case)) for case in CASES]
    there, back = SharedWork(), SharedWork()
    assert [content(shared_run(clm, there, **case)) for case in CASES] == expected
    assert [content(shared_run(clm, back, **case)) for case in reversed(CASES)] == expected[::-1]
    assert [content(shared_run(clm, there, **case)) for case in CASES] == expected  # everything is known now
    assert len(set(expected)) == len(CASES)


def test_control_runs_once_for_all_memories(clm, monkeypatch):
    from plena_emu.running import simulation

    calls = []
    control = simulation.control_slice

    def counted(*arguments):
        if arguments[-1]:  # 0 only loads the kernel
            calls.append(arguments[-1])
        return control(*arguments)

    monkeypatch.setattr(simulation, "control_slice", counted)
    shared = SharedWork()
    shared_run(clm, shared, board="custom_a7")
    first = len(calls)
    for case in CASES[:10]:
        shared_run(clm, shared, **case)
    assert first and len(calls) == first


def test_a_memory_that_is_known_is_not_run_again(clm, monkeypatch):
    shared, runs = SharedWork(), []
    run_timing = ReplayedSimulation._run_timing
    monkeypatch.setattr(ReplayedSimulation, "_run_timing", lambda *given: (runs.append(1), run_timing(*given)))
    shared_run(clm, shared, board="custom_a7", ddr_capacity=TOTAL)
    shared_run(clm, shared, board="custom_a7", ddr_capacity=2**29)
    assert runs == []
    shared_run(clm, shared, board="custom_a7", ddr_capacity=WEIGHTS)
    assert runs


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["hbm", "resident", "kv-swap", "weight-stream", "host-stream", "layer-swap"]),
                          st.integers(0, 2**15), st.integers(1, 10**10)), min_size=2, max_size=4))
def test_random_memories_of_a_small_program(memories):
    shared = SharedWork()
    for model, capacity, bandwidth in memories:
        fields = {"memory_model": model, "ddr_capacity": capacity, "host_bandwidth": bandwidth}
        assert content(shared_run(LINEAR, shared, **fields)) == content(alone(LINEAR, **fields))


def test_what_little_is_kept_changes_nothing():
    small = SharedWork(most_bytes=1)
    for _ in range(2):
        assert content(shared_run(LINEAR, small, memory_model="hbm")) == content(alone(LINEAR, memory_model="hbm"))


def test_the_least_used_goes_first():
    shared = SharedWork(most_bytes=100)
    for name in "abc":
        shared.keep(name, name, 40)
        shared.find("a")
    assert [shared.find(name) for name in "abc"] == ["a", None, "c"]
    shared.keep("large", 1, 51)
    assert shared.find("large") is None
    assert shared.once("d", lambda: 1, lambda value: 10) == shared.once("d", lambda: 2) == 1


def test_a_run_that_fails_leaves_nothing_and_fails_as_alone(tmp_path):
    build = tmp_path / "build"
    shutil.copytree(LINEAR, build)
    code = build / "generated_machine_code.mem"
    code.write_text(code.read_text() + "0x0000003F\n")  # no operation has this code
    shared = SharedWork()
    for _ in range(2):
        with pytest.raises(EmuError) as shares:
            shared_run(str(build), shared, memory_model="hbm")
        with pytest.raises(EmuError) as lone:
            alone(str(build), memory_model="hbm")
        assert str(shares.value) == str(lone.value) and "pc=" in str(lone.value)


def test_time_that_passes_its_limit_is_told_as_alone(clm):
    """The recording is of a fast clock; with a slow one compute time alone passes the limit."""
    shared = SharedWork()
    shared_run(clm, shared, board="custom_a7")
    for clock, bandwidth in ((0.001, None), (100.0, 1)):
        fields = {"board": "custom_a7", "clock_mhz": clock, "host_bandwidth": bandwidth, "ddr_capacity": 0}
        found = []
        for run in (alone, lambda build, **given: shared_run(build, shared, **given)):
            try:
                found.append(content(run(clm, **fields)))
            except EmuError as error:
                found.append(str(error))
        assert found[0] == found[1]


@pytest.mark.parametrize("more", [{"timing_only": False}, {"progress": print}, {"trace": True}])
def test_runs_that_somebody_watches_are_not_replayed(more):
    request = RunRequest(**({"dump_dir": None} | fields_of(LINEAR, {"timing_only": True} | more)))
    assert control_key(request, None, None) is None
