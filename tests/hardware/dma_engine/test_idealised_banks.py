"""Production DMA in front of the idealised banks of §3.5: phases of concurrent lines against the event-loop oracle."""

import numpy as np
import pytest
from hardware_memory import column, descriptor_of, plan_of
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st
from oracle import memory as oracle

from plena_emu.kernels import layout
from plena_emu.manifests.schema import Manifest, Region
from plena_emu.memory.models import RegimeModel

MANIFEST = {"activation_ceiling": 4096, "regions": [
    {"layer_id": 0, "offset": 4096, "size": 40960, "kind": "weight"},
    {"layer_id": 1, "offset": 65536, "size": 20480, "kind": "kv"},
    {"layer_id": 2, "offset": 131072, "size": 4096, "kind": "activation"},
]}  # fmt: skip
MODELS = ("resident", "kv-swap", "weight-stream", "layer-swap", "host-stream")


class LineCore(oracle.Core):
    """A core whose DMAs read their lines together, then write together (§7.3)."""

    def _body(self, operations):
        for delta, reads, writes in operations:
            if delta:
                yield from self.loop.sleep(delta)
            for lines, access in ((reads, self.model.read), (writes, self.model.write)):
                if lines:
                    done = []
                    tasks = [access(line) for line in lines]
                    oracle.Gather(self.loop, tasks, lambda: (done.append(1), self.wake()))  # noqa: B023
                    while not done:
                        yield
                    self.loop.wake_current = self.wake
            self.end = self.loop.now
            self.ends.append(self.end)


def product(model, descriptors, events):
    """(end of each event, last event) of the memory model."""
    regions = tuple(Region(**region) for region in MANIFEST["regions"])
    manifest = Manifest(MANIFEST["activation_ceiling"], regions)
    memory = RegimeModel(model, manifest, descriptors, 30_000, 60_000_000, dma="production")
    ends = []
    for event in events:
        with np.errstate(over="ignore"):  # hashes wrap, of which plain Python would warn (as a run has it)
            memory.advance(event[None, :], 1)
        ends.append(memory.now_ps)
    return ends, memory.last_event_ps


@st.composite
def transfers(draw):
    """A few DMAs: (rows, elements a row, step, store, base, compute before in ps)."""
    return draw(st.lists(st.tuples(
        st.integers(1, 20), st.sampled_from([32, 64, 96]), st.sampled_from([16, 32, 64, 96, 1024, 4096, 16384]),
        st.booleans(), st.integers(0, 150_000), st.integers(0, 100_000)), min_size=1, max_size=5))


@pytest.mark.parametrize("model", MODELS)
@given(transfers())
@configure(max_examples=20, deadline=None)
def test_phases_are_those_of_the_event_loop(model, some):
    descriptors = np.zeros((max(layout.NUM_DESCRIPTORS, len(some)), layout.DESC_WIDTH), dtype=np.int64)
    descriptors[:, layout.DESC_RATIO] = descriptors[:, layout.DESC_ELEMENTS] = 1
    events, operations = [], []
    for number, (rows, n, step, store, base, delta) in enumerate(some):
        descriptors[number] = descriptor_of(rows, n, 8, store=store)
        event = np.zeros(layout.MEV_WIDTH, dtype=np.int64)
        event[layout.MEV_DELTA], event[layout.MEV_DESCRIPTOR], event[layout.MEV_STEP] = delta, number, step
        event[layout.MEV_INDEX] = event[layout.MEV_SCALE] = column([base])[0]
        events.append(event)
        reads, writes = plan_of(descriptors[number], base, base, step)
        operations.append((delta, reads, writes))
    loop = oracle.Loop()
    core = LineCore(loop, oracle.build(loop, model, MANIFEST, 30_000, 60_000_000), operations)
    loop.run()
    ends, last = product(model, descriptors, events)
    assert ends == core.ends
    assert last == loop.last
