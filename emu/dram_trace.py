"""The trace replay's public path; its home is `plena_emu.memory.dram_replay`."""

from .memory.dram_replay import Completions, Replay, ReplayStream, replay, replay_batches

__all__ = ["Completions", "Replay", "ReplayStream", "replay", "replay_batches"]
