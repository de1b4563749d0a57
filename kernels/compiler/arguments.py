"""Arguments of entry kernels as the machine words that compiled code takes them in.

An entry takes arrays in C order, 64-bit integers, and tuples of them. numba passes an array as (owner, parent, items,
item size, data, shape, strides), a tuple as its members one after the other.
"""

import operator

from .native_call import pack


class Kinds:
    """What an entry was compiled for.

    Parameters
    ----------
    text : str
        The kinds as `kinds_of` tells them; an array that the kernel only reads has an r behind.
    """

    def __init__(self, text: str):
        self.text = text
        leaves = [leaf for leaf in text.replace("(", ",").replace(")", ",").split(",") if leaf]
        self._leaves = [_Array(leaf) if "/" in leaf else None for leaf in leaves]
        self.words = sum(1 if leaf is None else 5 + 2 * leaf.dimensions for leaf in self._leaves)

    def words_of(self, args: tuple) -> list[int]:
        """Lay out arguments as `words` machine words.

        Raises
        ------
        TypeError
            They are not of these kinds. Nothing is converted: no fraction is cut off, no array copied.
        """
        leaves: list = []
        _flatten(args, leaves)
        if len(leaves) != len(self._leaves):
            self._refuse(args)
        return self._lay_out(leaves, self._leaves, args)

    def bind(self, first: tuple, last: tuple):
        """Lay out the first and the last arguments of many calls once.

        Returns
        -------
        callable
            Of the arguments between them; what it returns are the words of all, packed (`native_call.pack`).

        Raises
        ------
        TypeError
            They are not of these kinds.
        """
        before: list = []
        behind: list = []
        _flatten(first, before)
        _flatten(last, behind)
        kinds = self._leaves[len(before) : len(self._leaves) - len(behind)]
        if len(before) + len(behind) > len(self._leaves):
            self._refuse((*first, *last))
        head = pack(self._lay_out(before, self._leaves[: len(before)], first))
        tail = pack(self._lay_out(behind, self._leaves[len(self._leaves) - len(behind) :], last))

        def words_between(args):
            leaves: list = []
            _flatten(args, leaves)
            if len(leaves) != len(kinds):
                self._refuse((*first, *args, *last))
            return head + pack(self._lay_out(leaves, kinds, args)) + tail

        return words_between

    def _lay_out(self, leaves, kinds, args):
        words: list[int] = []
        for value, array in zip(leaves, kinds, strict=True):
            if array is None:
                try:
                    value = operator.index(value)
                except TypeError:
                    self._refuse(args)
                if not -(2**63) <= value < 2**63:
                    raise TypeError(f"found the integer {value:#x}, expected one of 64 bits with a sign")
                words.append(value)
            elif array.takes(value):
                words += (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
            else:
                self._refuse(args)
        return words

    def _refuse(self, args):
        raise TypeError(f"found arguments of kinds {kinds_of(args)}, compiled for {self.text}")


class _Array:
    """What the kernel takes for granted about an array."""

    def __init__(self, text):
        self._element, _, rest = text.partition("/")
        self._read_only = rest.endswith("r")
        self.dimensions = int(rest.rstrip("r"))
        self._dtype = None  # one that passed

    def takes(self, value):
        """Whether the kernel may have this value."""
        flags = getattr(value, "flags", None)
        if flags is None or value.ndim != self.dimensions:
            return False
        if value.dtype is not self._dtype:
            if value.dtype.str != self._element:
                return False
            self._dtype = value.dtype
        return flags.carray or (self._read_only and flags.c_contiguous and flags.aligned)


def _flatten(values, leaves):
    for value in values:
        if isinstance(value, tuple):
            _flatten(value, leaves)
        else:
            leaves.append(value)


def kinds_of(value) -> str:
    """Tell the kinds of arguments: arrays as element/dimensions, tuples in brackets, integers as int.

    What no entry takes is told by its type, or by what is wrong with the array.
    """
    if isinstance(value, tuple):
        return f"({','.join(map(kinds_of, value))})"
    if hasattr(value, "flags") and hasattr(value, "dtype") and hasattr(value, "strides"):
        odd = [word for word, is_odd in (("r", not value.flags.writeable), (" strided", not value.flags.c_contiguous),
                                         (" unaligned", not value.flags.aligned)) if is_odd]
        return f"{value.dtype.str}/{value.ndim}{''.join(odd)}"
    try:
        operator.index(value)
    except TypeError:
        return type(value).__name__
    return "int"
