"""What board, flags and manifest decide about a run: clock, latencies, part, regime, capacity, link (§6.2, §10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..config.settings import Settings, with_hbm_size
from ..errors import EmuError
from ..inputs.choices import DEFAULT_DDR_CAPACITY, DEFAULT_HOST_BANDWIDTH, IDEALISED
from ..manifests.capacity_regime import LINK_REGIMES, Choice, decide_regime
from ..manifests.footprint import footprint
from ..manifests.schema import Manifest, load_manifest
from ..program.cycle_costs import PS_PER_CYCLE
from ..request import RunRequest
from ..result import BoardRecord, LaidOver, MemoryLimits, SettingChange, TileStatus
from .shared_work import ALONE, Shared
from .unused_fields import unused_fields

if TYPE_CHECKING:
    from ..boards.dram_schema import DramDescription
    from ..boards.schema import Board
    from .board_part import Part

NO_MANIFEST = Manifest(activation_ceiling=0)  # of the model hbm, which has no regions


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run knows of the hardware below it; without a board flags and defaults alone decide.

    Attributes
    ----------
    settings : Settings
        Those of the run: the board's latencies and the HBM size that was asked for are in them.
    board : Board or None
        With the clock that was laid over it.
    changes, tile_hints, laid_over : tuple
        What the board replaced in the settings, what it says of the geometry, what flags replaced of the board.
    period_ps : int
        A core cycle.
    part : Part or None
        The memory of a run on a board: in board time the board's or what was asked for, in the reference's only the
        latter. None where neither is there.
    dram : DramDescription, str or None
        What the memory model is timed with, as `memory.models` takes it.
    model, regime : str
        The memory model of the run, and what it settled on, which is never `auto`.
    manifest : Manifest
        Its regions; `NO_MANIFEST` for `hbm`.
    capacity, link : Choice or None
        Bytes of DDR, bytes/s of the host link, and where they come from; None where they play no part, or for a
        board without a link.
    warnings : tuple of str
        What the user should know, one line each.
    """

    settings: Settings
    board: Board | None
    changes: tuple[SettingChange, ...]
    tile_hints: tuple[TileStatus, ...]
    laid_over: tuple[LaidOver, ...]
    period_ps: int
    part: Part | None
    dram: DramDescription | str | None
    model: str
    regime: str
    manifest: Manifest
    capacity: Choice | None
    link: Choice | None
    on_board_time: bool
    warnings: tuple[str, ...]

    @property
    def time_basis(self) -> str:
        """`board` or `reference` (§10.1)."""
        return "board" if self.on_board_time else "reference"

    @property
    def limits(self) -> MemoryLimits | None:
        """Capacity and bandwidth for the result record; None for `hbm`."""
        if self.regime == "hbm":
            return None
        capacity, link = self.capacity or (None, None), self.link or (None, None)
        return MemoryLimits(ddr_capacity_bytes=capacity[0], ddr_capacity_from=capacity[1],
                            host_bandwidth_bytes_per_s=link[0], host_bandwidth_from=link[1])

    def record(self, revision: str) -> BoardRecord | None:
        """Build the board's part of the result record of a run in an ISA revision; None without a board."""
        board = self.board
        if board is None:
            return None
        return BoardRecord(
            name=board.name, file=board.source, latency_profile=board.latency_profile, clock_mhz=board.clock_mhz,
            core_period_ps=self.period_ps,
            core_period_exact=not self.on_board_time or board.core_period[1],
            part=self.part.record(revision) if self.part else None,
            changes=list(self.changes), laid_over=list(self.laid_over), tile_hints=list(self.tile_hints),
        )


def resolve_platform(request: RunRequest, settings: Settings, shared: Shared = ALONE) -> Platform:
    """Decide everything about the hardware of a run; opens the board's file, its part and the weight manifest.

    Parameters
    ----------
    settings : Settings
        As the settings file states them, before board and `hbm_size`.
    shared : SharedWork or Alone
        Keeps what files hold.

    Returns
    -------
    Platform

    Raises
    ------
    EmuError
        A board, part or manifest is missing or malformed, a model needs the link that the board does not have, or does
        not fit where it has to.
    """
    board, laid_over = _open_board(request, shared)
    on_board_time = board is not None and not request.reference_timing
    settings, changes, hints = _settings_on(board, settings, shared)
    part = _open_part(request, board, shared) if on_board_time or request.dram is not None else None
    model, warnings = _choose_model(request, board)
    if model == "hbm":
        regime, manifest, capacity, link = "hbm", NO_MANIFEST, None, None
    else:
        manifest = _open_manifest(request, board, model, shared)
        regime, capacity = _decide(request, model, manifest, board)
        link = resolve_bandwidth(request.host_bandwidth, board, request.called("host_bandwidth"))
        _check_link(request, model, regime, link, board)
        _check_default_fits(request, model, manifest, capacity, board)
        warnings += _does_not_fit(regime, manifest, capacity) if on_board_time else []
        warnings += [capacity.warning] if capacity and capacity.warning else []
    warnings = [*_misfits(board, settings, hints), *_memory_warnings(request, board, part, model), *warnings,
                *(unused_fields(request, model, regime, manifest, capacity) if request.say_unused else ())]
    return Platform(settings=with_hbm_size(settings, request.hbm_size), board=board, changes=changes, tile_hints=hints,
                    laid_over=_in_use(laid_over, request, part, regime, capacity),
                    period_ps=board.core_period[0] if on_board_time else PS_PER_CYCLE, part=part,
                    dram=_memory_of(request, part, on_board_time), model=model, regime=regime, manifest=manifest,
                    capacity=capacity, link=link, on_board_time=on_board_time, warnings=tuple(warnings))


def _open_board(request, shared):
    """Load the board, and what flags lay over it; (None, ()) without one."""
    if request.board is None:
        return None, ()
    from ..boards import load_board
    from .board_part import lay_over, overlay_of

    board = shared.once(("board", request.board, request.latency_profile),
                        lambda: load_board(request.board, request.latency_profile))
    return lay_over(board, overlay_of(request))


def _in_use(laid_over, request, part, regime, capacity):
    """Leave out what was asked for and plays no part, and name what it took the place of in the reference's time."""
    if not laid_over:
        return ()
    from .board_part import IDEALISED_DDR, overlay_of, without

    unused = {"ddr_speed": part is None, "host_bandwidth": regime not in LINK_REGIMES,
              "ddr_capacity": capacity is None or capacity.origin != request.ddr_capacity_origin}
    found = without(laid_over, [name for name, is_unused in unused.items() if is_unused], overlay_of(request))
    if not request.reference_timing:
        return found
    usual = "hbm2" if regime == "hbm" else IDEALISED_DDR
    return tuple(msgspec.structs.replace(one, before=usual) if one.flag == request.called("dram") else one
                 for one in found)


def _open_part(request, board, shared):
    if board is None or (request.dram is None and board.memory.dram is None):
        return None
    from .board_part import at_speed_of, open_part, overlay_of

    overlay = overlay_of(request)
    key = ("part", board.source, board.memory.dram, request.dram, request.from_flags)
    part = shared.once(key, lambda: open_part(board, msgspec.structs.replace(overlay, ddr_speed=None)))
    speed = request.ddr_speed
    return part if speed is None else shared.once((*key, speed), lambda: at_speed_of(part, overlay))


def _memory_of(request, part, on_board_time):
    """Choose what the memory model is timed with: a board without a part has the DDR of §3.5 behind every model."""
    if part is not None:
        return part.description
    return IDEALISED if on_board_time else request.dram


def _choose_model(request, board):
    """Choose the memory model where none was named (§10.1): (model, warnings)."""
    if request.memory_model is not None:
        return request.memory_model, []
    if not request.has_regions:
        return "hbm", ["found neither a weight manifest nor hbm_addrs.json, so no region of the memory is known: timed"
                       f" as with {request.called('memory_model')} hbm"]
    return "auto" if request.host_bandwidth is not None or board.host_bandwidth is not None else "resident", []


def _decide(request, model, manifest, board):
    """Decide regime and capacity; with a board in board time the manifest's own bytes come last (§10.1)."""
    asked = None if request.ddr_capacity is None else Choice(request.ddr_capacity, request.ddr_capacity_origin)
    otherwise = available_capacity(board)
    first = None if board is None or request.reference_timing else asked or otherwise
    return decide_regime(model, manifest, asked, otherwise, first)


def available_capacity(board: Board | None) -> Choice:
    """Look up the bytes of DDR where neither manifest nor flag states any: the board's, else 512 MiB (§6.2, §5.1).

    Returns
    -------
    Choice
    """
    if board is None:
        return Choice(DEFAULT_DDR_CAPACITY, "default")
    return Choice(board.ddr_capacity_bytes, f"board {board.name}")


def resolve_bandwidth(asked: int | None, board: Board | None, origin: str = "--host-bandwidth") -> Choice | None:
    """Choose the bytes/s of the host link: those asked for, else the board's, else without a board 60 MB/s (§6.2).

    Parameters
    ----------
    origin : str
        What named `asked`.

    Returns
    -------
    Choice or None
        None for a board without a link.
    """
    if asked is not None:
        return Choice(asked, origin)
    if board is None:
        return Choice(DEFAULT_HOST_BANDWIDTH, "default")
    return None if board.host_bandwidth is None else Choice(board.host_bandwidth, f"board {board.name}")


def _settings_on(board, settings, shared):
    """Apply the board's latencies; geometry, sizes and amounts stay (§6.2). Returns (settings, changes, tile hints)."""
    if board is None:
        return settings, (), ()
    from ..config.apply_board import settings_for_board

    key = ("settings", settings.source, board.source, board.latency_profile)
    applied, changes = shared.once(key, lambda: settings_for_board(settings, board))
    hints = board.hints(settings.mlen, settings.vlen, settings.blen)
    return (applied, tuple(SettingChange(key=c.key, before=c.before, after=c.after) for c in changes),
            tuple(TileStatus(batch=hint.batch, status=hint.status) for hint in hints))


def _misfits(board, settings, hints):
    """List where program and board do not belong together, one line each."""
    if not any(hint.status == "exceeds_resources" for hint in hints):
        return []
    return [f"MLEN {settings.mlen}, VLEN {settings.vlen}, BLEN {settings.blen} exceeds the resources of board"
            f" {board.name} (its tile hints)"]


def _memory_warnings(request, board, part, model):
    """List where the memory that is timed is not the board's, one line each."""
    if board is None or part is not None:
        return []
    if not request.reference_timing:
        from .board_part import no_part_warning, overlay_of

        return [no_part_warning(board, overlay_of(request))]
    if request.memory_model != "hbm" or board.memory.type.startswith("hbm"):
        return []
    hint = f": for the board's DDR choose {request.called('memory_model')} auto" if request.has_regions else ""
    return [f"board {board.name} has {board.memory.type} memory, the model hbm times an HBM2{hint}"]


def _open_manifest(request, board, model, shared):
    """Load the weight manifest of the run, or make one of the build's tables on the board (§3.6, §6.3)."""
    if request.weight_manifest is not None:
        return shared.once(("manifest", request.weight_manifest), lambda: load_manifest(request.weight_manifest))
    if board is not None and request.tables_dir is not None:
        from ..manifests.generate import make_manifest

        return shared.once(("manifest", request.tables_dir, board.source),
                           lambda: make_manifest(request.tables_dir, board))
    raise EmuError(f"{request.called('memory_model')} {model}: needs {request.called('weight_manifest')} FILE")


def _check_link(request, model, regime, link, board):
    """Refuse a regime that uses the link of a board that has none."""
    if link is None and regime in LINK_REGIMES:
        what = f"{model} settles on {regime}, which" if model == "auto" else model
        raise EmuError(f"board {board.name} has no host link: {what} needs {request.called('host_bandwidth')}")


def _does_not_fit(regime, manifest, capacity):
    """Say where `resident` was named and cannot be."""
    total = footprint(manifest.regions).total
    if regime != "resident" or total <= capacity.value:
        return []
    return [f"the memory model resident is timed as if all of {total} bytes were in the DDR, which holds"
            f" {capacity.value} ({capacity.origin})"]


def _check_default_fits(request, model, manifest, capacity, board):
    """Refuse a model that has to be resident, because the board has no link, and does not fit (§10.1)."""
    total = footprint(manifest.regions).total
    if request.memory_model is None and model == "resident" and total > capacity.value:
        raise EmuError(f"{no_link_misfit(board, total, capacity)}; name {request.called('host_bandwidth')} or a"
                       f" {request.called('memory_model')}")


def no_link_misfit(board: Board, total: int, capacity: Choice) -> str:
    """Say that a model of `total` bytes does not fit a board that could not bring the rest in.

    Returns
    -------
    str
    """
    return (f"board {board.name} has no host link, so all has to fit its memory: found {total} bytes, expected at most"
            f" {capacity.value} ({capacity.origin})")
