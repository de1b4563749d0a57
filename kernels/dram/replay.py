"""Replaying a trace on a DRAM that is alone (spec §4.9, §4.10)."""

from ..compiler.jit import entry
from .channel import catch_up
from .engine import dram_replay


@entry
def replay_trace(dram, run):
    """Run all batches of a `dram_loop.Run` from instant 0 of an unused memory: the instant of the last event.

    The host allocates the run: kernels that are loaded without numba cannot.
    """
    end = dram_replay(dram, run)
    catch_up(dram, dram.front[0].ticks)
    return end
