"""Settings of the hardware timing of spec §7.1: what they add, and the checks they make stricter."""

from typing import NamedTuple

from ..errors import EmuError
from ..inputs.words import shown
from .settings import Settings

DEFAULT_PERIOD_PS = 1000
DEFAULT_CHANNELS = 8
MOST_CHANNELS = 256
MOST_PERIOD_PS = 10**9


class Hardware(NamedTuple):
    """Core cycle in picoseconds, and channels of the HBM."""

    period_ps: int
    channels: int


def hardware_of(settings: Settings, channels: int | None = None, called: str = "--hbm-channels") -> Hardware:
    """Check the settings of a run with hardware timing (§7.1).

    Parameters
    ----------
    settings : Settings
        With the HBM size of the run.
    channels : int, optional
        Those that were asked for, which beat HBM_CHANNELS.
    called : str
        What messages call them.

    Raises
    ------
    EmuError
        All that is wrong, in one line.
    """
    name = "HBM_CHANNELS" if channels is None else called
    found = settings.hbm_channels if channels is None else channels
    period = DEFAULT_PERIOD_PS if settings.clock_period is None else settings.clock_period
    found = DEFAULT_CHANNELS if found is None else found
    faults = [*_number_faults(period, found, name), *_geometry_faults(settings)]
    if faults:
        raise EmuError(f"settings {settings.source}: {'; '.join(faults)}")
    return Hardware(period, found)  # type: ignore[arg-type]  # integers: checked


def _number_faults(period, channels, channels_name):
    if type(period) is not int or not 1 <= period <= MOST_PERIOD_PS:
        yield f"CLOCK_PERIOD_PS: found {shown(period)}, expected 1 to {MOST_PERIOD_PS}"
    if type(channels) is not int or not 1 <= channels <= MOST_CHANNELS or channels & (channels - 1):
        yield f"{channels_name}: found {shown(channels)}, expected a power of two from 1 to {MOST_CHANNELS}"


def _geometry_faults(settings):
    s = settings
    for name, amount in (
        ("HBM_M_Prefetch_Amount", s.hbm_m_prefetch_amount), ("HBM_V_Prefetch_Amount", s.hbm_v_prefetch_amount),
        ("HBM_V_Writeback_Amount", s.hbm_v_writeback_amount),
    ):  # fmt: skip
        if amount == 0:
            yield f"{name}: found 0, expected at least 1"
    if s.mlen % s.blen:
        yield f"MLEN {s.mlen} is no multiple of BLEN {s.blen}"
    if s.hbm_m_prefetch_amount % s.mlen and s.hbm_m_prefetch_amount:
        yield f"HBM_M_Prefetch_Amount {s.hbm_m_prefetch_amount} is no multiple of MLEN {s.mlen}"
    if s.hbm_size % 64:
        yield f"HBM size {s.hbm_size} is no multiple of 64"
    if s.matrix_sram_size < s.mlen:
        yield f"MATRIX_SRAM_SIZE {s.matrix_sram_size} is less than MLEN {s.mlen}"
