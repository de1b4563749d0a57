"""Replay a trace on a DRAM that is alone (spec §4.9, §4.10)."""

from ..compiler.jit import entry
from .channel import catch_up
from .engine import dram_replay


@entry
def replay_trace(dram, run):
    """Run all batches of an `event_queue.Run` from instant 0 of an unused memory.

    The host allocates the run: kernels that are loaded without numba cannot.

    Returns the instant of the last event.
    """
    end = dram_replay(dram, run)
    catch_up(dram, dram.front[0].ticks)
    return end
