"""How attention heads are laid out in rows and tiles: alone, in parts, or packed (spec §9.4, §9.8)."""

from __future__ import annotations

import msgspec
import numpy as np

from .machine import Machine, ceil_div


class HeadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The layout of heads of `head_dim` elements.

    A head has `parts` column blocks of its own, or `slots` > 1 heads share a row, HLEN elements each. `width` is the
    elements from a head to the next in a row of all heads.
    """

    head_dim: int
    mlen: int
    parts: int
    slots: int
    width: int

    @classmethod
    def of(cls, machine: Machine, head_dim: int) -> HeadPlan:
        """Pack heads where a broadcast product can serve them, else give each whole column blocks.

        Returns
        -------
        HeadPlan
        """
        packed = head_dim <= machine.hlen < machine.mlen and machine.hlen * machine.broadcast == machine.mlen
        parts = 1 if packed else ceil_div(head_dim, machine.mlen)
        return cls(head_dim=head_dim, mlen=machine.mlen, parts=parts, slots=machine.broadcast if packed else 1,
                   width=machine.hlen if packed else parts * machine.mlen)

    @property
    def packed(self) -> bool:
        """Whether heads share rows."""
        return self.slots > 1

    def rows_of(self, heads: int) -> int:
        """Count the rows that hold a token's `heads` heads, each of `parts` column blocks.

        Returns
        -------
        int
        """
        return ceil_div(heads, self.slots)

    def columns_of(self, heads: int) -> int:
        """Count the columns of a matrix with `heads` heads, whole column blocks.

        Returns
        -------
        int
        """
        return self.rows_of(heads) * self.parts * self.mlen

    def fills(self, heads: int) -> bool:
        """Tell whether `heads` heads leave no padding in their rows.

        Returns
        -------
        bool
        """
        return self.head_dim * heads == self.columns_of(heads)

    @property
    def rotates_by_halves(self) -> bool:
        """Whether RoPE's halves are whole column blocks, so that nothing moves within a row."""
        return self.parts > 1 and self.head_dim == self.parts * self.mlen and self.parts % 2 == 0

    def spread(self, values: np.ndarray, heads: int, axis: int) -> np.ndarray:
        """Move the heads of an axis of heads · head_dim elements to their places; the rest is 0.

        Returns
        -------
        array
            Of columns_of(heads) elements along the axis.
        """
        moved = np.moveaxis(values, axis, 0)
        shape = moved.shape[1:]
        wide = np.zeros((self.columns_of(heads), *shape), dtype=values.dtype)
        places = np.arange(heads)[:, None] * self.width + np.arange(self.head_dim)
        wide[places.ravel()] = moved
        return np.moveaxis(wide, 0, axis)

    def rotation(self) -> np.ndarray:
        """Make the matrix whose product with a row of heads is (−x₂, x₁) of each head, square; entries 0, 1 and −1.

        Returns
        -------
        f32 array
            `[size, size]`.
        """
        size = self.slots * self.width
        half = self.head_dim // 2
        matrix = np.zeros((size, size), dtype=np.float32)
        for start in range(0, size, self.width):
            index = start + np.arange(half)
            matrix[index + half, index] = -1
            matrix[index, index + half] = 1
        return matrix
