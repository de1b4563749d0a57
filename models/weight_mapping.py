"""What every source of weights offers: f32 tensors by canonical name, read when asked for."""

from collections.abc import Mapping

import numpy as np

from plena_emu.errors import EmuError

from .configs import TextConfig, VisionConfig
from .tensor_names import tensors_of


class Weights(Mapping):
    """Mapping of canonical names (`tensor_names`) to f32 arrays, which are made anew at each access.

    Attributes
    ----------
    shapes : dict of str to tuple
        Canonical shapes, in the order of use.
    source : str
        What was opened.
    unused : tuple of str
        Tensors of the wanted layers that the source holds and the config does not announce.
    """

    unused: tuple[str, ...] = ()

    def __init__(self, source: str, config: TextConfig | VisionConfig):
        self.source = source
        self.config = config
        self.shapes = {name: tensor.shape for name, tensor in tensors_of(config).items()}

    def __iter__(self):
        return iter(self.shapes)

    def __len__(self):
        return len(self.shapes)

    def __contains__(self, name):
        return name in self.shapes

    def __getitem__(self, name: str) -> np.ndarray:
        """Read a whole tensor.

        Returns
        -------
        f32 array
            Of `shapes[name]`.

        Raises
        ------
        EmuError
            The tensor holds a value that is no finite number, or there are no weights.
        """
        return self.rows(name, slice(0, self.shapes[name][0]))

    def rows(self, name: str, index: slice | np.ndarray) -> np.ndarray:
        """Read some rows of a tensor: `index` is a slice without a step, or an integer array.

        Returns
        -------
        f32 array
            `[number of rows, …]`, C order; reading is in proportion to it.
        """
        values = self._rows(name, index)
        if not np.isfinite(values).all():
            raise EmuError(f"{self.source}: tensor {self.stored_name(name)} holds a value that is infinite or no"
                           " number")
        return values

    def stored_name(self, name: str) -> str:
        """Tell the name under which the source holds a tensor.

        Returns
        -------
        str
        """
        return name

    def _rows(self, name, index):
        raise NotImplementedError
