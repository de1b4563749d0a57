"""The idealised banks' fast path leaves what the event loop leaves: times, precharges and their order (§3.5, §4.10)."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as configure
from hypothesis import strategies as st

from plena_emu.kernels.compiler.jit import JIT
from plena_emu.kernels.limits import OVERFLOW, TIME_LIMIT
from plena_emu.kernels.simple.batch import run_batch
from plena_emu.kernels.simple.event_loop import simulate_loop
from plena_emu.kernels.simple.state import BANK_DUE, BANK_TURN, LAST_EVENT, TCK
from plena_emu.memory.simple import new_simple_state

MOST = 120


def loop_batch(state, addr, wait, link, n, held, now, write):
    """As `run_batch`, by the event loop whatever the batch."""
    took = simulate_loop(state, addr, wait, link, n, now, TIME_LIMIT - now, write)
    return OVERFLOW if took == OVERFLOW else now + took


def figures(run, batches):
    """End of each (gap before in ps, write, addresses), the last event, and the precharges that pend, in order."""
    state, nothing, now, found = new_simple_state(MOST), np.zeros(MOST, dtype=np.int64), 0, []
    for gap, write, addresses in batches:
        now += gap
        addr = np.array(addresses, dtype=np.int64)
        now = int(run(state, addr, nothing, nothing, len(addr), 0, now, int(write)))
        pending = sorted((int(bank[BANK_DUE]), int(bank[BANK_TURN]), number)
                         for number, bank in enumerate(state.banks) if bank[BANK_DUE] > now)
        found.append((now, max(now, int(state.queues[LAST_EVENT])), [(due, number) for due, _, number in pending]))
    return found


def lines(choice):
    """A line by bank of reads, bank of writes and row."""
    return st.builds(lambda low, high, row: low << 6 | high << 10 | row << 14, choice, choice, st.integers(0, 3))


gaps = st.one_of(st.integers(0, 40).map(lambda n: n * TCK), st.sampled_from([0, 1000, 13_000, 400_000]))
addresses = st.one_of(
    st.lists(lines(st.integers(0, 15)), min_size=1, max_size=60),
    st.lists(lines(st.integers(0, 1)), min_size=1, max_size=60),
    st.builds(lambda first, count, step: [first + step * k for k in range(count)],
              lines(st.integers(0, 15)), st.integers(1, MOST), st.sampled_from([64, 576, 1024, 4096, 16384, 17408])),
)


@given(st.lists(st.tuples(gaps, st.booleans(), addresses), min_size=1, max_size=6))
@configure(max_examples=200 if JIT else 30, deadline=None)
def test_batches_are_those_of_the_event_loop(batches):
    assert figures(run_batch, batches) == figures(loop_batch, batches)


def test_simultaneous_events_of_writes_keep_their_order():
    """Few banks and rows, starts on whole tCK: grants, arrivals and ends of precharges fall together all the time."""
    rng = random.Random(15)
    for _ in range(600 if JIT else 30):
        banks, rows = rng.choice([1, 2, 3, 16]), rng.randint(1, 4)
        batches = [(TCK * rng.randint(0, 20), rng.random() < 0.7,
                    [rng.randrange(banks) << 6 | rng.randrange(banks) << 10 | rng.randrange(rows) << 14
                     for _ in range(rng.randint(1, 50))]) for _ in range(4)]
        assert figures(run_batch, batches) == figures(loop_batch, batches)


@pytest.mark.parametrize("count", [1, 2, 5, 16, 17, 40])
def test_writes_of_one_row_keep_the_bus_busy(count):
    # In tCK: a command, tRCD, then a burst of four a line.
    (end, _, pending), = figures(run_batch, [(0, True, [64 * (k % 16) for k in range(count)])])
    assert end == (1 + 16 + 4 * count) * TCK
    assert bool(pending) == (count < 5)


def test_a_write_to_a_bank_that_is_precharging_pays_no_row_activation():
    # The read releases bank 0 at 33 tCK, is over at 37, and its bank precharges until 49. A write asks at 38.
    (_, _, pending), (end, _, _) = figures(run_batch, [(0, False, [0]), (0, True, [0])])
    assert pending == [(49 * TCK, 0)]
    assert end == (49 + 4) * TCK
