"""Settings of the hardware timing of spec §7.1: what they add, and the checks they make stricter."""

from typing import NamedTuple

from ..errors import EmuError
from .hardware_checks import LINE, hardware_faults
from .settings import Settings

DEFAULT_PERIOD_PS = 1000
DEFAULT_CHANNELS = 8


class Hardware(NamedTuple):
    """Core cycle in picoseconds, and channels of the HBM."""

    period_ps: int
    channels: int


def hardware_of(settings: Settings, channels: int | None = None, hbm_size_origin: str | None = None) -> Hardware:
    """Check the settings of a run with hardware timing (§7.1).

    Parameters
    ----------
    settings : Settings
        With the HBM size of the run.
    channels : int, optional
        Those that were asked for, which beat HBM_CHANNELS; `RunRequest` has checked them.
    hbm_size_origin : str, optional
        What named the HBM size, where the settings did not.

    Raises
    ------
    EmuError
        All that is wrong, in one line. It names the settings, and what replaced a value of theirs.
    """
    size = settings.hbm_size
    faults = list(hardware_faults(_config(settings, channels is not None, hbm_size_origin is not None)))
    lines = [f"settings {settings.source}: {'; '.join(faults)}"] if faults else []
    if hbm_size_origin is not None and size % LINE:
        lines.append(f"{hbm_size_origin}: found {size}, expected a multiple of {LINE} bytes")
    if lines:
        raise EmuError("; ".join(lines))
    period = DEFAULT_PERIOD_PS if settings.clock_period is None else settings.clock_period
    stated = DEFAULT_CHANNELS if settings.hbm_channels is None else settings.hbm_channels
    return Hardware(period, stated if channels is None else channels)  # type: ignore[arg-type]  # integers: checked


def _config(settings, has_channels, has_size):
    """CONFIG as `hardware_faults` takes it, without what something else replaces."""
    s = settings
    config = {"MLEN": s.mlen, "BLEN": s.blen, "MATRIX_SRAM_SIZE": s.matrix_sram_size,
              "HBM_M_Prefetch_Amount": s.hbm_m_prefetch_amount, "HBM_V_Prefetch_Amount": s.hbm_v_prefetch_amount,
              "HBM_V_Writeback_Amount": s.hbm_v_writeback_amount}
    if not has_size:
        config["HBM_SIZE"] = s.hbm_size
    if s.clock_period is not None:
        config["CLOCK_PERIOD_PS"] = s.clock_period
    if s.hbm_channels is not None and not has_channels:
        config["HBM_CHANNELS"] = s.hbm_channels
    return config
