"""What a board decides about a run: latencies, DDR capacity, host bandwidth, time at its clock (spec §6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..config.settings import Settings
from ..errors import EmuError
from ..manifests.footprint import REGIMES, choose_regime, footprint
from ..manifests.schema import Manifest, load_manifest
from ..request import DEFAULT_DDR_CAPACITY, DEFAULT_HOST_BANDWIDTH, RunRequest
from ..result import BoardRecord, MemoryLimits, SettingChange, TileStatus

if TYPE_CHECKING:
    from ..boards.schema import Board

NEEDS_CAPACITY = ("layer-swap", "auto", *REGIMES)
NEEDS_LINK = ("host-stream", "layer-swap", "kv-swap", "weight-stream")


class Choice(NamedTuple):
    """A value, what it came from, and a warning where it overruled a flag."""

    value: int
    origin: str
    warning: str | None = None


def resolve_capacity(own: int | None, flag: int | None, board: Board | None, flag_name: str) -> Choice:
    """Bytes of DDR: the manifest's `own`, else the flag, else the board's, else 512 MiB (§6.2, §5.1)."""
    if own is not None:
        warning = None
        if flag is not None and flag != own:
            warning = f"{flag_name} {flag} is not used: the weight manifest states {own} bytes, which counts"
        return Choice(own, "weight manifest", warning)
    if flag is not None:
        return Choice(flag, flag_name)
    if board is None:
        return Choice(DEFAULT_DDR_CAPACITY, "default")
    return Choice(board.ddr_capacity_bytes, f"board {board.name}")


def resolve_bandwidth(flag: int | None, board: Board | None) -> Choice | None:
    """Bytes/s of the host link: the flag, else the board's sustained bandwidth, else without a board 60 MB/s.

    None for a board without a link (§6.2).
    """
    if flag is not None:
        return Choice(flag, "--host-bandwidth")
    if board is None:
        return Choice(DEFAULT_HOST_BANDWIDTH, "default")
    return None if board.host_bandwidth is None else Choice(board.host_bandwidth, f"board {board.name}")


class BoardUse:
    """A run's board and what it decided; without a board flags and defaults alone decide.

    Attributes
    ----------
    board : Board or None
    changes, tile_hints : list
        What the board replaced in the settings, and what it says of the geometry.
    warnings : list of str
        What the user should know, one line each.
    limits : MemoryLimits or None
        Capacity and bandwidth with their origins, once a memory model asked for them.
    manifest : Manifest or None
        The one the memory model works with, once it is open.
    """

    def __init__(self, request: RunRequest):
        self.request = request
        self.board: Board | None = None
        if request.board is not None:
            from ..boards import load_board

            self.board = load_board(request.board, request.latency_profile)
        self.warnings: list[str] = []
        self.limits: MemoryLimits | None = None
        self.manifest: Manifest | None = None
        self.changes: list[SettingChange] = []
        self.tile_hints: list[TileStatus] = []

    def apply(self, settings: Settings) -> Settings:
        """The settings with the board's latencies; geometry, sizes and amounts stay (§6.2)."""
        if self.board is None:
            return settings
        from ..config.apply_board import settings_for_board

        applied, changes = settings_for_board(settings, self.board)
        self.changes = [SettingChange(key=c.key, before=c.before, after=c.after) for c in changes]
        hints = self.board.hints(settings.mlen, settings.vlen, settings.blen)
        self.tile_hints = [TileStatus(batch=hint.batch, status=hint.status) for hint in hints]
        self.warnings += self._misfits(settings)
        return applied

    def _misfits(self, settings):
        """Where program and board do not belong together, one line each."""
        board, memory = self.board, self.board.memory.type
        if any(hint.status == "exceeds_resources" for hint in self.tile_hints):
            yield (f"MLEN {settings.mlen}, VLEN {settings.vlen}, BLEN {settings.blen} exceeds the resources of board"
                   f" {board.name} (its tile hints)")
        if self.request.memory_model == "hbm" and self.request.dram is None and not memory.startswith("hbm"):
            yield (f"board {board.name} has {memory} memory, the model hbm times an HBM2: for the board's DDR choose"
                   " --memory-model auto")

    def open_manifest(self) -> Manifest:
        """The weight manifest of the run: its file, or one made of the build's tables on the board (§3.6, §6.3).

        Raises `EmuError`.
        """
        request = self.request
        if request.weight_manifest is not None:
            self.manifest = load_manifest(request.weight_manifest)
        elif self.board is not None and request.tables_dir is not None:
            from ..manifests.generate import make_manifest

            self.manifest = make_manifest(request.tables_dir, self.board)
        else:
            raise EmuError(f"--memory-model {request.memory_model}: needs --weight-manifest FILE")
        return self.manifest

    def choose_limits(self, manifest: Manifest) -> tuple[int, int]:
        """(bytes of DDR, bytes/s of the host link) for the memory model.

        A manifest's own capacity counts in the capacity regimes only (§3.8, §3.9). Raises `EmuError` where the model
        uses the link, the board has none and no bandwidth was given.
        """
        request, model = self.request, self.request.memory_model
        own = None if model == "layer-swap" else manifest.ddr_capacity_bytes
        capacity = resolve_capacity(own, request.ddr_capacity, self.board, "--ddr3-capacity")
        regime = choose_regime(footprint(manifest.regions), capacity.value) if model == "auto" else model
        link = resolve_bandwidth(request.host_bandwidth, self.board)
        if link is None and regime in NEEDS_LINK:
            what = f"{model} settles on {regime}, which" if model == "auto" else model
            raise EmuError(f"board {self.board.name} has no host link: {what} needs --host-bandwidth")
        self.limits = MemoryLimits()
        if model in NEEDS_CAPACITY:
            self.limits.ddr_capacity_bytes, self.limits.ddr_capacity_from = capacity.value, capacity.origin
            if capacity.warning:
                self.warnings.append(capacity.warning)
        if link is not None:
            self.limits.host_bandwidth_bytes_per_s, self.limits.host_bandwidth_from = link.value, link.origin
        # A resident model never waits for the link: any bandwidth does.
        return capacity.value, link.value if link else DEFAULT_HOST_BANDWIDTH

    def record(self, latency_ps: int, compute_ps: int) -> BoardRecord | None:
        """The board's part of the result record; None without a board."""
        board = self.board
        if board is None:
            return None
        return BoardRecord(
            name=board.name, file=board.source, latency_profile=board.latency_profile, clock_mhz=board.clock_mhz,
            changes=self.changes, tile_hints=self.tile_hints, cycles=latency_ps / 1000,
            seconds=board.seconds(latency_ps / 1000),
            seconds_memory_unscaled=board.seconds(compute_ps / 1000) + (latency_ps - compute_ps) / 1e12,
        )
