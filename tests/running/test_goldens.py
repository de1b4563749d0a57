"""Do the golden programs give what the reference gave: latency, statistics, instruction count and every dump?

All of them run in this process under JIT, a sample as real processes of the executable, a sample in pure Python and
a sample with numba's bounds check. Without the whole set beside the repository the vendored ones run.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import golden_runs
import pytest
from oracle import goldens

TESTS = Path(__file__).resolve().parents[1]
EXECUTABLE = Path(sysconfig.get_path("scripts")) / "transactional_emulator"
ARCHIVES = {goldens.name_of(path): path for path in goldens.archives() + goldens.archives(shared=True)}
WHOLE_SET = bool(goldens.archives(shared=True))

# Programs that run as processes, in pure Python, with bounds checks; (*): of the whole set.
PROCESSES = ("base_fz_00008", "base_st_00009", "moe_sp_05001", "base_aten_linear", "moe_router_gemm_synth")
PURE_PYTHON = ("base_fz_00008", "base_sp_05014", "base_st_00000", "moe_fz_00014", "moe_st_00001")
BOUNDS = (
    "base_fz_00012", "base_sp_05010", "base_st_00008", "moe_sp_05004", "moe_st_00010", "base_aten_linear",
    "base_aten_layer_norm", "base_aten_flash_attention_gqa", "base_direct_h_store", "base_misc_gqa_fused",
    "base_sliced_layer_m64b16_h64", "base_clm60m_dec_L1_m256b64_a7", "moe_expert", "moe_gpt_oss_topk",
)  # fmt: skip


@pytest.fixture(autouse=True)
def working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_the_whole_set_is_there():
    if not WHOLE_SET:
        pytest.skip(f"no golden programs in {goldens.SHARED}: only the vendored ones run")
    assert len(ARCHIVES) >= 190


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_run(name, tmp_path):
    golden = goldens.unpack(ARCHIVES[name], tmp_path)
    assert golden_runs.check(golden) == []
    if golden.isa == "moe":
        assert golden_runs.check_on_board_ddr(golden) == []


def test_differences_are_seen(tmp_path):
    """The comparison itself: a figure, a statistic, a count or a bit that is wrong makes a line each."""
    golden = goldens.unpack(ARCHIVES["base_fz_00008"], tmp_path)
    run = next(run for run in golden.runs if golden_runs.model_of(run) == "layer-swap")
    result = golden_runs.execute_run(golden, run, tmp_path)
    assert golden_runs.figures(golden, run, result) + golden_runs.dump_differences(golden, run, tmp_path) == []
    result.latency_ps += 1
    result.bytes_read += 64
    result.model_line += "0"
    result.instructions += 1
    assert len(golden_runs.figures(golden, run, result)) == 2 + (golden.expected["dynamic_instructions"] is not None)
    with open(tmp_path / "vram_dump.bin", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\1")
    (tmp_path / "fpsram_dump.bin").unlink()
    assert len(golden_runs.dump_differences(golden, run, tmp_path)) == 2


@pytest.mark.parametrize("name", [name for name in PROCESSES if name in ARCHIVES])
def test_the_executable_serves_a_testbench(name, tmp_path):
    """Exact flags, working directory, regular expressions and dump files, as a testbench uses them."""
    golden = goldens.unpack(ARCHIVES[name], tmp_path)
    for run in golden.runs:
        build = tmp_path / run["id"] / golden.name
        shutil.copytree(golden.directory, build)
        ran = subprocess.run(
            [EXECUTABLE, *run["args"]], cwd=build, env={**os.environ, "PLENA_ISA": golden.isa}, capture_output=True,
            text=True, timeout=300,
        )
        assert ran.returncode == 0, ran.stderr
        assert scanned(ran.stderr) == expected_in_log(golden, run)
        assert ran.stderr.splitlines()[-1].endswith(f"Latency {run['latency_ps'] / 1000:.3f}ns")
        assert golden_runs.dump_differences(golden, run, build) == []


def scanned(log: str) -> list:
    """What a testbench's regular expressions (§5.2) find, each matching once."""
    (latency,) = re.findall(r"Simulation completed\. Latency\s+([0-9.eE+-]+)ns", log)
    (geometry,) = re.findall(r"mlen=(\d+)\s+vlen=(\d+)\s+.*blen=(\d+)", log)
    (statistics,) = re.findall(
        r"HBM Statistics - Bytes read:\s*([0-9]+)\s*\|\s*Bytes written:\s*([0-9]+)\s*\|\s*"
        r"Utilization:\s*([0-9.eE+-]+)\s*bytes/sec",
        log,
    )
    return [float(latency), tuple(map(int, geometry)), statistics]


def expected_in_log(golden: goldens.Golden, run: dict) -> list:
    settings = golden.machine().cfg
    statistics = re.fullmatch(
        r"Bytes read: (\d+) \| Bytes written: (\d+) \| Utilization: (\S+) bytes/sec", run["hbm_statistics"]
    )
    return [run["latency_ps"] / 1000, (settings.mlen, settings.vlen, settings.blen), statistics.groups()]


@pytest.mark.parametrize("variable, names", [("NUMBA_DISABLE_JIT", PURE_PYTHON), ("NUMBA_BOUNDSCHECK", BOUNDS)])
def test_other_modes_of_numba(variable, names, tmp_path):
    """Pure Python gives the same; nothing is read or written outside an array."""
    names = [name for name in names if name in ARCHIVES]
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    ran = subprocess.run(
        [sys.executable, str(TESTS / "golden_runs.py"), *names], env={**os.environ, variable: "1", "PYTHONPATH": path},
        capture_output=True, text=True, timeout=1200,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"checked {len(names)} programs, 0 differences" in ran.stdout
