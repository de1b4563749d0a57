"""Bringing every DRAM channel up to a clock, so that its state and counters are those of this instant."""

from .channel import step
from ..compiler.jit import kernel


@kernel
def settle(state, clk):
    """Run the ticks up to `clk` that channels still owe (spec §4.9); no read may be under way.

    Channels lag until a request reaches them, so this only does earlier what would be done anyway.
    """
    cfg = state.config[0]
    for number in range(cfg.channels):
        ch = state.channels[number]
        while ch.clk < clk:
            step(cfg, ch, clk)
