"""What a model costs on a board: time to the first token, time per output token, tokens a second (spec §9.2).

Programs are compiled from shapes alone and timed without data. Each decode position is a program of its own: with
`every_token` all are timed, else a few, and the others follow from those by the number of key blocks they read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from fractions import Fraction

import msgspec
import numpy as np

from plena_emu.api import run
from plena_emu.boards import DEFAULT_BOARD, load_board
from plena_emu.errors import UsageError
from plena_emu.inputs.arguments import check_names, given_path, path_of
from plena_emu.manifests.footprint import footprint
from plena_emu.program.cycle_costs import PS_PER_CYCLE
from plena_emu.result import BoardRecord, MemoryLimits
from plena_emu.running.planning import find_manifest

from .compiler import compile as compile_model
from .configs import TextConfig
from .options import DEFAULT_PREFILL, CompileOptions
from .presets import find_preset
from .sources import find_model
from .weights import NONE

DEFAULT_DECODE = 128  # tokens
_SAMPLED_BLOCKS = 4
NOT_COUNTED = "host look-ups, sampling and the upload of weights"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One program: `tokens` new tokens of each sequence after `past`; its time on the board in seconds and exact in ps.

    `compute_share` is the part of the time that is not spent waiting for memory; on a hardware timeline the part of its
    critical path that is no transfer. `serial_seconds` is what the program takes there one instruction after the other.
    A step that is not `exact` was interpolated and has no figures of its own but its time; without a board
    `board_time_ps` is None.
    """

    past: int
    tokens: int
    seconds: float
    serial_seconds: float | None = None
    exact: bool = True
    board_time_ps: int | None = None
    compute_share: float | None = None
    instructions: int | None = None
    bytes_read: int | None = None
    bytes_written: int | None = None
    regime: str | None = None


class HeldOut(msgspec.Struct, frozen=True):
    """A position that was timed but not used: its time, what interpolation says of it, the relative error."""

    past: int
    seconds: float
    interpolated: float
    relative_error: float


class Sizes(msgspec.Struct, frozen=True):
    """Bytes of the regions of the largest program, by kind."""

    weight: int
    kv: int
    activation: int


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. Times are seconds; `tokens_per_s` counts the tokens of all `batch` sequences.

    `time_to_first_token` is the prefill with the logits of the last token, or the whole pass of a bidirectional model;
    where an image was asked for, `image`, the vision encoder with its connector, comes before it and is counted.
    `time_per_token` is the mean over the decode positions, None where there is no decode. `timing` is `serial` or the
    name of a timing file, whose units run side by side. Without a board (`board` is None) the clock is that of a core
    cycle of 1000 ps, or of the settings' CLOCK_PERIOD_PS or the flag with hardware timing.
    `on_board` and `limits` are those of the last run: memory part, what was laid over the board, capacity and link.
    """

    model: str
    preset: str
    schedule: str
    board: str | None
    timing: str
    clock_mhz: float
    on_board: BoardRecord | None = None
    limits: MemoryLimits | None = None
    memory_model: str
    regime: str | None
    capacity_bytes: int | None
    batch: int
    footprint: Sizes
    time_to_first_token: float
    image: Step | None = None
    prefill: Step
    time_per_token: float | None
    tokens_per_s: float | None
    decode: tuple[Step, ...]
    held_out: HeldOut | None
    not_counted: str = NOT_COUNTED
    warnings: tuple[str, ...] = ()


def estimate(
    model: str | os.PathLike,
    *,
    board: str | None = None,
    prefill: int = DEFAULT_PREFILL,
    decode: int | None = None,
    every_token: bool = False,
    image: int | None = None,
    memory_model: str | None = None,
    ddr_capacity: int | None = None,
    host_bandwidth: int | None = None,
    clock_mhz: float | None = None,
    dram: str | None = None,
    ddr_speed: Fraction | float | str | None = None,
    timing: str = "serial",
    dma: str | None = None,
    hbm_channels: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    from_flags: bool = False,
    **options,
) -> Estimate:
    """Estimate what a model costs on a board, or without one on the memory and clock of the reference.

    Parameters
    ----------
    model : str or path
        As for `compile`.
    board : str or None
        A board that ships, or the path of a board file.
    prefill, decode : int
        Tokens of the prompt, and tokens after it; 128 for models that decode.
    every_token : bool
        Time every decode position.
    image : int or None
        Pixels of the edge of an image that the model's vision part encodes first; its tokens are among the prompt's.
    memory_model : str or None
        None: as for `run` with a board (§10.1).
    ddr_capacity, host_bandwidth : int or None
        Bytes and bytes/s; None: the board's.
    clock_mhz, dram, ddr_speed
        As for `run`: they lay over the board.
    timing, dma, hbm_channels
        As for `run`: with `rtl-v1` transfers and units run side by side.
    progress : callable or None
        Called with (what is timed, programs done, programs in all).
    from_flags : bool
        As for `run`: messages name flags.
    **options
        Fields of `CompileOptions`: `preset`, `layers`, `batch`.

    Returns
    -------
    Estimate

    Raises
    ------
    EmuError
        As `compile` and `run`; also a decode or an image of a model that has none.
    """
    model, board = given_path("model", model), path_of("board", board)
    check_names((name for name in options if name not in CompileOptions.__struct_fields__),
                CompileOptions.__struct_fields__)
    config = find_model(model).text
    if image is not None:
        find_model(model).part("vision")
    decode = _decode_length(config, decode)
    config.check_length(prefill + decode)
    chosen = CompileOptions(**options | {"board": board, "weights": NONE})
    limits = {"timing": timing, "dma": dma, "hbm_channels": hbm_channels,
              "memory_model": memory_model, "ddr_capacity": ddr_capacity, "host_bandwidth": host_bandwidth,
              "clock_mhz": clock_mhz, "dram": dram, "ddr_speed": ddr_speed, "from_flags": from_flags}
    positions = range(prefill, prefill + decode)
    mlen = find_preset(chosen.preset).mlen
    timed, held_out = (list(positions), None) if every_token else sample_positions(positions, mlen)
    extra = [] if held_out is None else [held_out]
    programs = 1 + (image is not None) + len(timed) + len(extra)
    timer = _Timer(model, chosen, limits, progress or (lambda *_: None), programs)
    seen = None if image is None else timer.image(image)

    logits = "last" if config.causal else "all"
    first = timer.step("prefill", 0, prefill, {"prefill": prefill, "logits": logits})
    exact = {past: timer.step("decode", past, 1, {"past": past}) for past in [*timed, *extra]}
    sampled = {past: exact[past].seconds for past in timed}
    steps = tuple(exact[past] if past in exact else Step(past=past, tokens=1, exact=False,
                  seconds=interpolate(past, sampled, mlen)) for past in positions)
    per_token = sum(step.seconds for step in steps) / len(steps) if steps else None
    batch = chosen.batch or 1
    return Estimate(
        model=config.name, preset=chosen.preset, schedule=chosen.schedule, timing=timer.timing,
        board=None if timer.last.board is None else timer.last.board.name, clock_mhz=timer.clock_mhz,
        on_board=timer.last.board, limits=timer.last.limits,
        memory_model=timer.last.model, regime=timer.last.regime, batch=batch, footprint=timer.footprint,
        capacity_bytes=timer.last.limits.ddr_capacity_bytes if timer.last.limits else None,
        time_to_first_token=first.seconds + (seen.seconds if seen else 0), image=seen, prefill=first,
        time_per_token=per_token,
        tokens_per_s=batch / per_token if per_token else None, decode=steps,
        held_out=None if held_out is None else _held_out(held_out, exact, sampled, mlen),
        warnings=tuple(dict.fromkeys(timer.warnings)),
    )


def _decode_length(config: TextConfig, decode: int | None) -> int:
    if config.causal:
        return DEFAULT_DECODE if decode is None else decode
    if decode:
        raise UsageError(f"--decode {decode}: model {config.name} attends in both directions, so there is no decode;"
                         " its estimate is one pass over the tokens of --prefill")
    return 0


def _held_out(past, exact, sampled, mlen):
    seconds, interpolated = exact[past].seconds, interpolate(past, sampled, mlen)
    return HeldOut(past, seconds, interpolated, abs(interpolated - seconds) / seconds)


class _Timer:
    """Compiles and times programs one after the other, each in a directory that goes away."""

    def __init__(self, model, options, limits, progress, total):
        self.model, self.options, self.limits = model, msgspec.structs.asdict(options), limits
        self.progress, self.done, self.total = progress, 0, total
        self.warnings = []

    @property
    def timing(self):
        """`serial`, or the name of the timing file."""
        return "serial" if self.last.hardware is None else self.last.hardware.timing

    @property
    def clock_mhz(self):
        """The core clock of the runs."""
        if self.last.board is not None:
            return self.last.board.clock_mhz
        return 1e6 / (PS_PER_CYCLE if self.last.hardware is None else self.last.hardware.clock_period_ps)

    def image(self, edge):
        """Time the encoder and the connector; the step's tokens are those of the connector."""
        config = find_model(self.model).part("vision")
        layers = self.options["layers"] and min(self.options["layers"], config.layers)
        tokens = (config.patches_of(edge) // config.connector_scale) ** 2
        return self.step("image", 0, tokens, {"part": "vision", "image": edge, "batch": None, "layers": layers})

    def step(self, what, past, tokens, length):
        """Time one program; leaves its result in `last` and its footprint in `footprint`."""
        self.progress(f"{what} at {past}" if past else what, self.done, self.total)
        with tempfile.TemporaryDirectory(prefix="plena-estimate-") as directory:
            build = os.path.join(directory, "build")
            compile_model(self.model, build, **self.options | length)
            # Sizes and kinds of regions are the same on every board.
            sizes = footprint(find_manifest(build, load_board(self.options["board"] or DEFAULT_BOARD)).regions)
            result = run(build, timing_only=True, board=self.options["board"], **self.limits)
        self.done += 1
        self.last = result
        self.footprint = Sizes(sizes.weight, sizes.kv, sizes.activation)
        self.warnings += result.warnings
        return Step(
            past=past, tokens=tokens, seconds=result.latency_ps / 1e12, serial_seconds=_serial_seconds(result),
            board_time_ps=result.board_time_ps, instructions=result.instructions, compute_share=_compute_share(result),
            bytes_read=result.bytes_read, bytes_written=result.bytes_written, regime=result.regime,
        )


def _serial_seconds(result):
    """Seconds of the serial run beside a timeline; None without one."""
    timeline = result.hardware and result.hardware.timeline
    return result.hardware.serial_latency_ps / 1e12 if timeline else None


def _compute_share(result):
    """Part of the time that does not go to memory."""
    timeline = result.hardware and result.hardware.timeline
    if not timeline:
        return result.compute_ps / result.latency_ps if result.latency_ps else 1.0
    path = timeline["critical_path_cycles"]
    waits = sum(cycles for name, cycles in path.items() if name.startswith("hbm_"))
    return 1 - waits / timeline["total_makespan_cycles"] if timeline["total_makespan_cycles"] else 1.0


def key_blocks(past: int, mlen: int) -> int:
    """Count the blocks of MLEN keys that a step after `past` tokens reads.

    Returns
    -------
    int
    """
    return -(-(past + 1) // mlen)


def sample_positions(positions: range, mlen: int) -> tuple[list[int], int | None]:
    """Choose the decode positions that are timed, and one that tests the interpolation between them.

    Parameters
    ----------
    positions : range
        Lengths of the cache.
    mlen : int

    Returns
    -------
    tuple of list of int and int or None
        The middle positions of up to four numbers of key blocks, ends included; and a position of another number of
        blocks or, where all were chosen, at another place in the last. None where no position is left.
    """
    if not positions:
        return [], None
    of_blocks: dict[int, list[int]] = {}
    for past in positions:
        of_blocks.setdefault(key_blocks(past, mlen), []).append(past)
    blocks = list(of_blocks)
    places = np.unique(np.linspace(0, len(blocks) - 1, _SAMPLED_BLOCKS).round().astype(int)).tolist()
    timed = [of_blocks[blocks[place]][len(of_blocks[blocks[place]]) // 2] for place in places]
    rest = [block for place, block in enumerate(blocks) if place not in places]
    if rest:
        return timed, of_blocks[rest[len(rest) // 2]][0]
    left = [past for past in positions if past not in timed]
    return timed, left[-1] if left else None


def interpolate(past: int, sampled: Mapping[int, float], mlen: int) -> float:
    """Estimate the time of a position from those of others, linear in the number of key blocks.

    Returns
    -------
    float
        Seconds.
    """
    blocks = [key_blocks(position, mlen) for position in sampled]
    return float(np.interp(key_blocks(past, mlen), blocks, list(sampled.values())))
