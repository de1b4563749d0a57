"""Bringing every DRAM channel up to the clock of the front end, so that its counters are those of this instant."""

from .dram_channel import step
from .jit import kernel


@kernel
def settle(dram):
    """Run the ticks that channels still owe (spec §4.9); no read may be under way.

    Channels lag until a request reaches them, so this only does earlier what would be done anyway.
    """
    cfg, ticks = dram.config[0], dram.front[0].ticks
    for number in range(cfg.channels):
        ch = dram.channels[number]
        while ch.clk < ticks:
            step(cfg, ch, ticks)
