"""What hardware timing refuses in CONFIG of a settings file (spec §7.1), before anything is made of it."""

from collections.abc import Iterator, Mapping

from ..inputs.choices import MOST_CHANNELS
from ..inputs.words import shown

MOST_PERIOD_PS = 10**9
LINE = 64  # bytes; an HBM holds whole lines

# What hardware timing allows no 0 for, and any other run does.
NONZERO = ("HBM_M_Prefetch_Amount", "HBM_V_Prefetch_Amount", "HBM_V_Writeback_Amount", "HBM_CHANNELS",
           "CLOCK_PERIOD_PS")
_MULTIPLES = (("MLEN", "BLEN"), ("HBM_M_Prefetch_Amount", "MLEN"))


def hardware_faults(config: Mapping[str, object]) -> Iterator[str]:
    """List everything of CONFIG that hardware timing refuses, one phrase each.

    Parameters
    ----------
    config : mapping
        Values by key. A key that is not there is not looked at; CLOCK_PERIOD_PS and HBM_CHANNELS may hold anything,
        the others are looked at where they are integers from 0.
    """
    yield from _number_faults(config)
    known: dict[str, int] = {key: value for key, value in config.items() if type(value) is int and value >= 0}
    for key in NONZERO[:3]:
        if known.get(key) == 0:
            yield f"{key}: found 0, expected at least 1"
    for key, unit in _MULTIPLES:
        if known.get(key) and known.get(unit) and known[key] % known[unit]:
            yield f"{key} {known[key]} is no multiple of {unit} {known[unit]}"
    if known.get("HBM_SIZE", 0) % LINE:
        yield f"HBM_SIZE {known['HBM_SIZE']} is no multiple of {LINE}"
    if known.get("MATRIX_SRAM_SIZE") and known["MATRIX_SRAM_SIZE"] < known.get("MLEN", 0):
        yield f"MATRIX_SRAM_SIZE {known['MATRIX_SRAM_SIZE']} is less than MLEN {known['MLEN']}"


def _number_faults(config):
    if "CLOCK_PERIOD_PS" in config:
        period = config["CLOCK_PERIOD_PS"]
        if type(period) is not int or not 1 <= period <= MOST_PERIOD_PS:
            yield f"CLOCK_PERIOD_PS: found {shown(period)}, expected 1 to {MOST_PERIOD_PS}"
    if "HBM_CHANNELS" in config and not is_channels(config["HBM_CHANNELS"]):
        yield f"HBM_CHANNELS: found {shown(config['HBM_CHANNELS'])}, expected a power of two from 1 to {MOST_CHANNELS}"


def is_channels(value: object) -> bool:
    """Tell whether a value is a number of channels that hbm2 can have: a power of two up to `MOST_CHANNELS`."""
    return type(value) is int and 1 <= value <= MOST_CHANNELS and not value & (value - 1)
