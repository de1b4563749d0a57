"""Run prefetches and stores on the DRAM (spec §3.2, §3.3, §4.9, §4.10); for traces see `replay`.

How to call it
--------------
`state = plena_emu.memory.dram.new_state(load_dram("hbm2"), "base")`, then for every memory instruction in order

- `dram_batch(state, run, addr, wait, link, n, held, now)`: one gather task of n 64-byte reads, spawned at `now`;
  `held` of them wait for the host or take its link; `run` is room for its events,
  `plena_emu.memory.dram.new_run(state, addr, waits=n)` for the largest n;
- `dram_store(state, addr, wait, link, n, now)`: for each address a read, then a write, by the core itself.

`addr` int64[>= n] byte addresses (u64 bit patterns); `wait` int64[>= n] ps a read waits for the host, 0 for none;
`link` int64[>= n] 1 for a read behind the host link, which it holds from before its wait to its end. Both return the
instant at which the core continues, or OVERFLOW when that would pass TIME_LIMIT. `now` (ps, at most TIME_LIMIT) never
runs backwards. `state.front[0].last_event` is the instant of the last event so far;
`plena_emu.memory.dram_statistics.statistics` tells the rest.
"""

from ..compiler.jit import kernel
from ..limits import OVERFLOW, TIME_LIMIT
from .event_order import clear_run, run_events
from .front_end import read_alone, write_alone


@kernel
def dram_batch(state, run, addr, wait, link, n, held, now):
    """Run one gather task of reads `addr[:n]` spawned at `now`.

    Returns the instant of its end, OVERFLOW past TIME_LIMIT.
    """
    if n == 0:
        return now
    if state.config[0].direct == 0 or held > 0:
        return batch_events(state, run, wait, link, n, now)
    return read_alone(state, addr, 0, n, now, state.unasked)


@kernel
def batch_events(state, run, wait, link, n, now):
    """Run `dram_batch` of `run.address[:n]` under the full event order."""
    clear_run(state.config[0], run, n)
    for i in range(n):
        access = run.access[i]
        access.wait = wait[i]
        access.link = link[i]
    end = run_events(state, run, 0, 1, now)
    return OVERFLOW if run.loop[0].late == 1 else end


@kernel
def dram_store(state, addr, wait, link, n, now):
    """Read and write each of `addr[:n]` in turn from `now` on.

    The host link is always free here, as the core waits for each access before the next.

    Returns the instant of the end, OVERFLOW past TIME_LIMIT.
    """
    for i in range(n):
        if wait[i] > TIME_LIMIT - now:
            return OVERFLOW
        now = read_alone(state, addr, i, i + 1, now + wait[i], state.unasked)
        now = write_alone(state, addr[i], now)
    return now
