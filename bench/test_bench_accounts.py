"""What do accounts by instruction and region cost? The timing pass with and without a ledger."""

import pytest
from test_bench_memory import EVENTS, PATTERNS, events_of
from workloads import bench_settings

from plena_emu.kernels import layout
from plena_emu.machine.core import dma_types, new_descriptors
from plena_emu.machine.formats import Formats
from plena_emu.manifests.schema import Manifest, Region
from plena_emu.memory.ledger import new_ledger
from plena_emu.memory.models import RegimeModel

REGIONS = [Region(layer_id=0, offset=k << 16, size=1 << 16) for k in range(256)]


@pytest.mark.parametrize("accounts", [True, False], ids=["accounts", "none"])
@pytest.mark.parametrize("model", ["resident", "hbm"])
def test_accounts(benchmark, model, accounts):
    settings = bench_settings()
    descriptors = new_descriptors(settings, Formats(dma_types(settings)))
    events = events_of(PATTERNS["sequential"], layout.DESCRIPTOR_M_WEIGHT)

    def fresh():
        ledger = new_ledger(1, REGIONS) if accounts else None
        memory = RegimeModel(model, Manifest(activation_ceiling=0), descriptors, 0, 1, ledger=ledger)
        memory.warm()
        return (memory,), {}

    def run(memory):
        memory.advance(events, len(events))
        return memory.bytes_read

    assert benchmark.pedantic(run, setup=fresh, rounds=20) == 64 * EVENTS * 128
