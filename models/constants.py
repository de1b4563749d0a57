"""The fp SRAM's constants of a program: f16 values by address (spec §2.7, §9.4)."""

from __future__ import annotations

import numpy as np

from plena_emu.errors import EmuError

SIZE = 1024
_SMALLEST = 2.0**-17  # below, f16 has fewer bits left than bf16 keeps


class Constants:
    """Collects the numbers a program loads with S_LD_FP; the same number has one address."""

    def __init__(self):
        self._addresses: dict[float, int] = {}

    def address(self, value: float) -> int:
        """Find or make the address of a number.

        Returns
        -------
        int

        Raises
        ------
        EmuError
            f16 cannot hold it with all its bits, or the SRAM is full.
        """
        value = float(value)
        if value and not _SMALLEST <= abs(value) <= float(np.finfo(np.float16).max):
            raise EmuError(f"constant {value}: outside of what fp_sram.bin can hold ({_SMALLEST} to 65504)")
        if value not in self._addresses and len(self._addresses) == SIZE:
            raise EmuError(f"constant {value}: the fp SRAM is full ({SIZE} values)")
        return self._addresses.setdefault(value, len(self._addresses))

    def image(self) -> bytes:
        """Write `fp_sram.bin`.

        Returns
        -------
        bytes
            Little-endian f16 from address 0.
        """
        return np.array(list(self._addresses), dtype="<f2").tobytes()
