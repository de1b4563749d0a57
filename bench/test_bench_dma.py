"""What does a line cost the timing pass: reference against production DMA, on whole programs, with and without memos?

The memory events of a run are recorded and then replayed in the slices of the run, by fresh memories. The figure is
`ns_per_line`: a line is a 64-byte block that the DMA read or wrote. Production DMA moves fewer of them.
"""

import tarfile

import numpy as np
import pytest
from workloads import GOLDEN

import plena_emu
from plena_emu.manifests.schema import Manifest
from plena_emu.memory.models import RegimeModel

PROGRAMS = ("base_smolvlm2_text_L1_m32x32x8", "base_clm60m_dec_L4_m64b16", "base_clm60m_dec_L1_m256b64_a7")


@pytest.fixture(params=PROGRAMS, scope="module")
def build(request, tmp_path_factory):
    archive = GOLDEN / f"{request.param}.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive.name} is not beside this checkout")
    folder = tmp_path_factory.mktemp("programs")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / request.param


def slices_of(build, dma, monkeypatch):
    """DMA descriptors of a run, and the memory events of each of its slices."""
    slices, advance = [], RegimeModel.advance

    def recorded(memory, events, count):
        slices.append((memory.descriptors, events[:count].copy()))
        return advance(memory, events, count)

    monkeypatch.setattr(RegimeModel, "advance", recorded)
    plena_emu.run(build, memory_model="hbm", timing_only=True, dma=dma, dump_dir=None)
    monkeypatch.undo()
    return slices[0][0], [events for _, events in slices]


@pytest.mark.parametrize("memo", [True, False], ids=["memo", "no memo"])
@pytest.mark.parametrize("model", ["resident", "hbm"])
@pytest.mark.parametrize("dma", ["reference", "production"])
def test_lines(benchmark, build, model, dma, memo, monkeypatch):
    descriptors, slices = slices_of(build, dma, monkeypatch)
    room = np.zeros_like(max(slices, key=len))

    def fresh():
        memory = RegimeModel(model, Manifest(activation_ceiling=0), descriptors, 0, 1, dma=dma, memo=memo)
        memory.warm()
        return (memory,), {}

    def run(memory):
        for events in slices:
            room[: len(events)] = events
            memory.advance(room, len(events))
        return (memory.bytes_read + memory.bytes_written) // 64

    lines = benchmark.pedantic(run, setup=fresh, rounds=15)
    benchmark.extra_info["lines"] = lines
    benchmark.extra_info["ns_per_line"] = 1e9 * benchmark.stats.stats.min / lines
