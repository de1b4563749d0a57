"""The ticks of the front end under the full event order (§4.4, §4.9): reads return in them, and the channels follow.

Ticks in which no read can return are passed over.
"""

from ..compiler.jit import kernel
from ..limits import NEVER
from .channel import step
from .event_queue import DONE, TICK, make_ready, wake
from .state import NONE


@kernel
def add_return(run, number, channel, index):
    """Append the return just inserted in channel `number`, that of sub-request `index`, to the channel's list."""
    loop, sub_request = run.loop[0], run.sub_request[index]
    sub_request.return_tick = channel.last_return
    sub_request.after = NONE
    if loop.return_front[number] == NONE:
        loop.return_front[number] = index
    else:
        run.sub_request[loop.return_back[number]].after = index
    loop.return_back[number] = index


@kernel
def advance(cfg, run, number, channel, clk):
    """Run the channel's ticks up to `clk`."""
    while channel.clk < clk:
        index = step(cfg, channel, clk)
        if index != NONE:
            add_return(run, number, channel, index)


@kernel
def schedule_tick(state, run):
    """Create the tick's timer; a tick of this very instant is ready at once."""
    loop = run.loop[0]
    loop.tick_due = state.front[0].ticks * state.config[0].tck_ps
    loop.tick_number = loop.created
    loop.created += 1
    if loop.tick_due == loop.now:
        make_ready(run, TICK)


@kernel
def tick(state, run):
    """Run one tick (§4.4, §4.9): the reads that return in it wake their accesses in channel order."""
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    front.ticks += 1
    loop.tick_due = NEVER
    for number in range(cfg.channels):
        channel = state.channels[number]
        if channel.reads_left > 0 and channel.clk + cfg.read_latency < front.ticks:
            advance(cfg, run, number, channel, front.ticks)
        index = loop.return_front[number]
        if index != NONE and run.sub_request[index].return_tick == front.ticks:
            loop.return_front[number] = run.sub_request[index].after
            run.sub_request[index].stage = DONE
            loop.pending -= 1
            for _ in range(cfg.lockstep_channels):
                wake(run, index // cfg.sub_requests)
    if loop.pending > 0:
        schedule_tick(state, run)


@kernel
def pass_quiet_ticks(state, run, until):
    """Pass over ticks before instant `until` in which no read can return."""
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    clk = -(-until // cfg.tck_ps)
    for number in range(cfg.channels):
        channel = state.channels[number]
        if channel.reads_left > 0:
            clk = min(clk, channel.clk + cfg.read_latency)
        index = loop.return_front[number]
        if index != NONE:
            clk = min(clk, run.sub_request[index].return_tick - 1)
    if clk > front.ticks:
        front.ticks = clk
        schedule_tick(state, run)
