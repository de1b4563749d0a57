"""What do accounts by instruction and region cost? The timing pass with and without a ledger, names, sums."""

import numpy as np
import pytest
from test_bench_memory import EVENTS, PATTERNS, events_of
from workloads import bench_settings

from plena_emu.kernels import layout
from plena_emu.machine.core import dma_types, new_descriptors
from plena_emu.machine.formats import Formats
from plena_emu.manifests.schema import Manifest, Region
from plena_emu.memory.ledger import new_ledger
from plena_emu.memory.models import RegimeModel
from plena_emu.program.assembler import assemble
from plena_emu.program.decode import decode
from plena_emu.running.attribution.accounts import Accounts
from plena_emu.running.attribution.labels import labels_of

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


WORDS = 100_000  # as four layers compiled by the reference compiler
BLOCK = [
    "; Load SubMatrix Col W_q_{0}[:][{1}] -> MRAM[0]", "H_PREFETCH_M gp1, gp2, a0, 1, 0 ",
    *["S_ADDI_INT gp1, gp1, 64 "] * 24, "; VRAM Sub Projection To: X[0][:] @ W_q_{0}[:][{1}] -> Q_{0}[0][{1}]",
    *["M_MM 0, gp1, gp2 "] * 24, "; SubBlock [{1}][0]: HBM offset = {1}", "V_ADD_VV gp1, gp2, gp3, 0 ",
]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A decoded program and the directory of its assembly text."""
    folder = tmp_path_factory.mktemp("named")
    instructions = sum(not line.startswith(";") for line in BLOCK)
    count = WORDS // instructions
    text = ""
    for layer in range(4):
        text += f"; === LAYER {layer}/4 START ===\n"
        for k in range(count // 4):
            text += "".join(f"{line}\n" for line in BLOCK).replace("{0}", str(layer)).replace("{1}", str(k % 8))
    (folder / "generated_asm_code.asm").write_text(text)
    return decode(assemble(text), "base", bench_settings()), str(folder)


def test_naming_stages(benchmark, named):
    """From the assembly text on disk to the stage of every word; a run does it where somebody reads stages."""
    labels = benchmark(labels_of, *named)
    assert {stage.operator for stage in labels.stages} == {"attn.qkv"} and len(labels.stages) == 4


def test_summing_up(benchmark, named):
    """From the counters of every word to figures by stage and opcode."""
    program, folder = named
    labels = labels_of(program, folder)
    ledger = new_ledger(len(program), REGIONS)
    ledger.by_pc[::50] = 1
    cfg = np.full(layout.CFG_WIDTH, 16, dtype=np.int64)
    counts = np.ones(len(program), dtype=np.int64)
    names = [str(k) for k in range(len(REGIONS))]
    table = benchmark(lambda: Accounts(program, cfg, counts, ledger, labels, names, False).table(1000))
    assert table.total.instructions == len(program)
