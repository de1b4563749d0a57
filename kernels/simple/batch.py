"""Run batches on the idealised DDR banks of boards, `SimpleTiming` in the specification (spec §3.5, §4.10).

Between two memory instructions every semaphore is free, so all that a batch inherits is when each bank's pending
precharge ends. A batch is simulated in time relative to its start and depends on nothing but the pattern of
channels, banks and rows, the waits, the links and those precharge times. Banks are first ready, first come, first
served.
"""

from ..compiler.jit import entry, kernel, small
from ..limits import OVERFLOW, TIME_LIMIT
from .event_loop import simulate_loop
from .fast_path import is_plain, simulate_plain
from .state import BANK_DUE, BURST, CAS, LAST_EVENT, ORG_READ_SHIFT, ORG_WRITE_SHIFT, TCK, TRCD, TRP, bank_of


@small
def run_batch(state, addr, wait, link, n, held, now, write):
    """Run `addr[:n]`, all issued at `now`: reads, of which `held` wait for the host or take its link, or with `write` 1
    writes.

    Returns the completion time in ps, or `OVERFLOW`.
    """
    if held == 0 and is_plain(state.organisation):
        took = simulate_plain(state, addr, n, now, write)
        if took > TIME_LIMIT - now:
            return OVERFLOW
    else:
        took = simulate_loop(state, addr, wait, link, n, now, TIME_LIMIT - now, write)
        if took == OVERFLOW:
            return OVERFLOW
    return now + took


@entry
def simple_batch(state, addr, wait, link, n, now):
    """Run the reads `addr[:n]` of one prefetch, all issued at `now`.

    A read with `link` takes the host link first and gives it back last; one with `wait` > 0 (whole nanoseconds, in
    ps) waits so long before the memory sees it.

    Returns the completion time in ps, or `OVERFLOW`.
    """
    if n == 0:
        return now
    held = 0
    for i in range(n):
        held += int(wait[i] != 0 or link[i] != 0)
    return run_batch(state, addr, wait, link, n, held, now, 0)


# --- accesses one after the other -------------------------------------------------------------------


@kernel
def access_alone(organisation, banks, address, shift, sense, now):
    """Run an access that starts at `now` with no other in flight and holds its bank for `sense`.

    A bank that is still precharging is granted at the end of that, without tRCD (§3.5).

    Returns the completion time in ps.
    """
    bank = bank_of(organisation, address, shift)
    asked = now + TCK
    granted = banks[bank, BANK_DUE] if banks[bank, BANK_DUE] > asked else asked + TRCD
    banks[bank, BANK_DUE] = granted + sense + TRP
    return granted + sense + BURST


@kernel
def store_blocks(state, addr, wait, n, now):
    """Read and write each of the blocks `addr[:n]` of a store in turn (§3.3).

    Returns the completion time in ps, or `OVERFLOW`.
    """
    organisation, banks = state.organisation, state.banks
    for i in range(n):
        if wait[i] > TIME_LIMIT - now:
            return OVERFLOW
        now = access_alone(organisation, banks, addr[i], organisation[ORG_READ_SHIFT], CAS, now + wait[i])
        now = access_alone(organisation, banks, addr[i], organisation[ORG_WRITE_SHIFT], 0, now)
        # The precharge after a write ends later than any before it.
        state.queues[LAST_EVENT] = max(state.queues[LAST_EVENT], now - BURST + TRP)
    return now if now <= TIME_LIMIT else OVERFLOW


@entry
def simple_store(state, addr, wait, link, n, now):
    """Run `store_blocks` alone.

    The host link is always free here, so `link` changes nothing; it is taken for the sake of one signature.
    """
    return store_blocks(state, addr, wait, n, now)
