"""How long does the simulate phase of whole programs take, with data and for timing alone?"""

import json
import tarfile

import pytest
from workloads import GOLDEN

from plena_emu.cli import dropin, flags
from plena_emu.logs import Log
from plena_emu.running.runner import execute

PROGRAMS = ("base_clm60m_dec_L1_m64b16_a7", "base_clm60m_dec_L1_m256b64_a7", "base_smolvlm2_text_L1_m32x32x8")


@pytest.fixture(params=PROGRAMS)
def build(request, tmp_path_factory):
    archive = GOLDEN / f"{request.param}.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive.name} is not beside this checkout")
    folder = tmp_path_factory.mktemp("programs")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / request.param


@pytest.mark.parametrize("timing_only", [False, True], ids=["data", "timing only"])
@pytest.mark.parametrize("model", ["resident", "hbm"])
def test_program(benchmark, build, model, timing_only, monkeypatch):
    monkeypatch.chdir(build)
    run = next(run for run in json.loads((build / "expected.json").read_text())["runs"] if run["id"] == model)
    request = flags.request(dropin.build_parser().parse_args(run["args"]), "base", dump_hbm=False, trace=False)
    request.dump_dir, request.timing_only = None, timing_only
    log = Log("off", None, None)
    result = benchmark.pedantic(execute, (request, log), rounds=5, warmup_rounds=1)
    assert result.latency_ps == run["latency_ps"]
    benchmark.extra_info["simulate_s"] = result.wall.simulate_s
    benchmark.extra_info["instructions_per_s"] = result.instructions_per_s
