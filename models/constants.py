"""The fp SRAM's constants of a program: f16 values by address (spec §2.7, §9.4)."""

from __future__ import annotations

import numpy as np

from plena_emu.errors import EmuError

from .builder import Builder

SIZE = 1024
_SMALLEST = 2.0**-17  # below, f16 has fewer bits left than bf16 keeps
_STEP = 2.0**-14  # factor of what is smaller: the smallest normal f16


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

    def load(self, b: Builder, register: int, spare: int, value: float, field: str) -> None:
        """Load a number of any smallness: what f16 cannot hold is loaded larger and multiplied by 2^-14 (§9.4).

        Parameters
        ----------
        register, spare : int
            fp registers; the second is used where the number is small.
        field : str
            Where the number comes from, for the error.

        Raises
        ------
        EmuError
            It is too large, or smaller than f32 holds.
        """
        if value > float(np.finfo(np.float16).max) or 0 < value < float(np.finfo(np.float32).tiny):
            raise EmuError(f"{field} {value:.3g}: outside of what the program can hold"
                           f" ({np.finfo(np.float32).tiny:.3g} to 65504)")
        steps = 0
        while 0 < value < _SMALLEST:
            value, steps = value / _STEP, steps + 1
        b.emit("S_LD_FP", register, 0, self.address(value))
        for _ in range(steps):
            b.emit("S_LD_FP", spare, 0, self.address(_STEP))
            b.emit("S_MUL_FP", register, register, spare)

    def image(self) -> bytes:
        """Write `fp_sram.bin`.

        Returns
        -------
        bytes
            Little-endian f16 from address 0.
        """
        return np.array(list(self._addresses), dtype="<f2").tobytes()
