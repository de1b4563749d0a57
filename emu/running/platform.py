"""What board, flags and manifest decide about a run: latencies, regime, DDR capacity, host link (spec §6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..config.settings import Settings, with_hbm_size
from ..errors import EmuError
from ..manifests.capacity import LINK_REGIMES, Choice, decide_regime
from ..manifests.schema import Manifest, load_manifest
from ..request import DEFAULT_DDR_CAPACITY, DEFAULT_HOST_BANDWIDTH, RunRequest
from ..result import BoardRecord, MemoryLimits, SettingChange, TileStatus

if TYPE_CHECKING:
    from ..boards.schema import Board

NO_MANIFEST = Manifest(activation_ceiling=0)  # of the model hbm, which has no regions


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run knows of the hardware below it; without a board flags and defaults alone decide.

    Attributes
    ----------
    settings : Settings
        Those of the run: the board's latencies and the HBM size that was asked for are in them.
    board : Board or None
    changes, tile_hints : tuple
        What the board replaced in the settings, and what it says of the geometry.
    regime : str
        What the memory model settled on: a model, but never `auto`.
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
    regime: str
    manifest: Manifest
    capacity: Choice | None
    link: Choice | None
    warnings: tuple[str, ...]

    @property
    def limits(self) -> MemoryLimits | None:
        """Capacity and bandwidth for the result record; None for `hbm`."""
        if self.regime == "hbm":
            return None
        capacity, link = self.capacity or (None, None), self.link or (None, None)
        return MemoryLimits(ddr_capacity_bytes=capacity[0], ddr_capacity_from=capacity[1],
                            host_bandwidth_bytes_per_s=link[0], host_bandwidth_from=link[1])

    def record(self, latency_ps: int, compute_ps: int) -> BoardRecord | None:
        """Build the board's part of the result record; None without a board."""
        board = self.board
        if board is None:
            return None
        return BoardRecord(
            name=board.name, file=board.source, latency_profile=board.latency_profile, clock_mhz=board.clock_mhz,
            changes=list(self.changes), tile_hints=list(self.tile_hints), cycles=latency_ps / 1000,
            seconds=board.seconds(latency_ps / 1000),
            seconds_memory_unscaled=board.seconds(compute_ps / 1000) + (latency_ps - compute_ps) / 1e12,
        )


def resolve_platform(request: RunRequest, settings: Settings) -> Platform:
    """Decide everything about the hardware of a run; opens the board's file and the weight manifest.

    Parameters
    ----------
    settings : Settings
        As the settings file states them, before board and `hbm_size`.

    Returns
    -------
    Platform

    Raises
    ------
    EmuError
        A board or manifest is missing or malformed, or a model needs the link that the board does not have.
    """
    board = None
    if request.board is not None:
        from ..boards import load_board

        board = load_board(request.board, request.latency_profile)
    settings, changes, hints = _settings_on(board, settings)
    warnings = _misfits(request, board, settings, hints)
    if request.memory_model == "hbm":
        regime, manifest, capacity, link = "hbm", NO_MANIFEST, None, None
    else:
        manifest = _open_manifest(request, board)
        asked = None if request.ddr_capacity is None else Choice(request.ddr_capacity, "--ddr3-capacity")
        regime, capacity = decide_regime(request.memory_model, manifest, asked, available_capacity(board))
        link = resolve_bandwidth(request.host_bandwidth, board)
        _check_link(request.memory_model, regime, link, board)
        warnings += [capacity.warning] if capacity and capacity.warning else []
    return Platform(settings=with_hbm_size(settings, request.hbm_size), board=board, changes=changes, tile_hints=hints,
                    regime=regime, manifest=manifest, capacity=capacity, link=link, warnings=tuple(warnings))


def available_capacity(board: Board | None) -> Choice:
    """Look up the bytes of DDR where neither manifest nor flag states any: the board's, else 512 MiB (§6.2, §5.1).

    Returns
    -------
    Choice
    """
    if board is None:
        return Choice(DEFAULT_DDR_CAPACITY, "default")
    return Choice(board.ddr_capacity_bytes, f"board {board.name}")


def resolve_bandwidth(asked: int | None, board: Board | None) -> Choice | None:
    """Choose the bytes/s of the host link: those asked for, else the board's, else without a board 60 MB/s (§6.2).

    Returns
    -------
    Choice or None
        None for a board without a link.
    """
    if asked is not None:
        return Choice(asked, "--host-bandwidth")
    if board is None:
        return Choice(DEFAULT_HOST_BANDWIDTH, "default")
    return None if board.host_bandwidth is None else Choice(board.host_bandwidth, f"board {board.name}")


def _settings_on(board, settings):
    """Apply the board's latencies; geometry, sizes and amounts stay (§6.2). Returns (settings, changes, tile hints)."""
    if board is None:
        return settings, (), ()
    from ..config.apply_board import settings_for_board

    applied, changes = settings_for_board(settings, board)
    hints = board.hints(settings.mlen, settings.vlen, settings.blen)
    return (applied, tuple(SettingChange(key=c.key, before=c.before, after=c.after) for c in changes),
            tuple(TileStatus(batch=hint.batch, status=hint.status) for hint in hints))


def _misfits(request, board, settings, hints):
    """List where program and board do not belong together, one line each."""
    lines = []
    if any(hint.status == "exceeds_resources" for hint in hints):
        lines.append(f"MLEN {settings.mlen}, VLEN {settings.vlen}, BLEN {settings.blen} exceeds the resources of board"
                     f" {board.name} (its tile hints)")
    plain_hbm = board and request.memory_model == "hbm" and request.dram is None
    if plain_hbm and not board.memory.type.startswith("hbm"):
        lines.append(f"board {board.name} has {board.memory.type} memory, the model hbm times an HBM2: for the board's"
                     " DDR choose --memory-model auto")
    return lines


def _open_manifest(request, board):
    """Load the weight manifest of the run, or make one of the build's tables on the board (§3.6, §6.3)."""
    if request.weight_manifest is not None:
        return load_manifest(request.weight_manifest)
    if board is not None and request.tables_dir is not None:
        from ..manifests.generate import make_manifest

        return make_manifest(request.tables_dir, board)
    raise EmuError(f"--memory-model {request.memory_model}: needs --weight-manifest FILE")


def _check_link(model, regime, link, board):
    """Refuse a regime that uses the link of a board that has none."""
    if link is None and regime in LINK_REGIMES:
        what = f"{model} settles on {regime}, which" if model == "auto" else model
        raise EmuError(f"board {board.name} has no host link: {what} needs --host-bandwidth")
