"""Comments and mnemonics of assembly text, found for a whole text at once: programs have a hundred thousand lines."""

from typing import NamedTuple

import numpy as np

_NEWLINE, _SEMICOLON, _A, _Z = b"\n;AZ"
_WORD = 8  # bytes compared at once
LONGEST = 2 * _WORD  # bytes of a mnemonic: no instruction has a longer one
_BLANK = np.array([chr(byte).isspace() for byte in range(128)] + [False] * 128)


class AssemblyLines(NamedTuple):
    """What lines of assembly text are.

    Attributes
    ----------
    text : bytes
        UTF-8, with a newline at its end and room behind it.
    instructions : int64[instructions]
        Where each line with a letter from A to Z as its first character begins, behind the blanks before it.
    comments : list of str
        Each line that begins with `;`, without the blanks around it.
    word_of_comment : list of int
        How many instructions stand above each comment.
    """

    text: bytes
    instructions: np.ndarray
    comments: list[str]
    word_of_comment: list[int]

    def mnemonic(self, number: int) -> bytes:
        """First word of an instruction."""
        start = self.instructions[number]
        return self.text[start : self.text.index(b"\n", start)].split(None, 1)[0]

    def others_than(self, names: list[bytes], ids: np.ndarray) -> np.ndarray:
        """Find the instructions whose mnemonic is not `names[ids]`.

        Parameters
        ----------
        names : list of bytes
            At most `LONGEST` each.
        ids : int64[instructions]

        Returns
        -------
        int64[found]
        """
        codes = np.frombuffer(self.text, dtype=np.uint8)
        eights = np.ndarray((len(self.text) - _WORD,), dtype="<u8", buffer=self.text, strides=(1,))  # at every byte
        lengths = np.array([len(name) for name in names])
        same = _BLANK[codes[self.instructions + lengths[ids]]]
        for first in range(0, LONGEST, _WORD):
            parts = [name[first : first + _WORD] for name in names]
            wanted = np.array([int.from_bytes(part, "little") for part in parts], dtype=np.uint64)
            mask = np.array([(1 << 8 * len(part)) - 1 for part in parts], dtype=np.uint64)
            same &= (eights[self.instructions + first] & mask[ids]) == wanted[ids]
        return np.flatnonzero(~same)


def read_lines(text: bytes) -> AssemblyLines:
    """Find the instructions and comments of assembly text in UTF-8.

    Returns
    -------
    AssemblyLines
    """
    data = text + b"\n" + bytes(2 * LONGEST)
    codes = np.frombuffer(data, dtype=np.uint8)
    ends = np.flatnonzero(codes == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    _skip_blanks(data, codes, starts, ends)
    first = np.where(starts < ends, codes[starts], 0)
    instructions = starts[(first >= _A) & (first <= _Z)]
    at = np.flatnonzero(first == _SEMICOLON)
    rows = [data[start:end] for start, end in zip(starts[at].tolist(), ends[at].tolist(), strict=True)]
    comment_of = {row: row.decode().strip() for row in set(rows)}  # most come again and again
    above = np.searchsorted(instructions, starts[at]).tolist()
    return AssemblyLines(data, instructions, [comment_of[row] for row in rows], above)


def _skip_blanks(data, codes, starts, ends):
    """Move the starts of lines past the blanks there."""
    left = np.flatnonzero(_BLANK[codes[starts]] & (starts < ends))
    while len(left):
        starts[left] += 1
        left = left[_BLANK[codes[starts[left]]] & (starts[left] < ends[left])]
    for line in np.flatnonzero((codes[starts] >= 128) & (starts < ends)).tolist():  # perhaps a blank that is no ASCII
        row = data[starts[line] : ends[line]].decode()
        starts[line] += len(row[: len(row) - len(row.lstrip())].encode())
