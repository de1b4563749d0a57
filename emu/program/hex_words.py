"""Text of hexadecimal words to an array, all words at once (spec §5.1)."""

import numpy as np

TOKEN_BYTES = b"0123456789abcdefABCDEFxX \t\n\r\x0b\x0c"
_SPACE = 0x20  # white space is this byte or one below it, what else `TOKEN_BYTES` holds lies above
_DIGITS = 8
_LARGEST = 0xFFFFFFFF


def parse_words(text: bytes) -> np.ndarray | None:
    """Parse words separated by white space, each with or without `0x`; `text` holds nothing but `TOKEN_BYTES`.

    Returns
    -------
    uint32[n] or None
        None where a token is no hexadecimal number of at most 32 bits.
    """
    words = _parse_usual(text)
    return _parse_any(text) if words is None else words


def _parse_usual(text):
    """Parse words of up to eight digits; None where there is any other token.

    The last eight characters of a word are one 64-bit number, whose digits are turned into nibbles side by side.
    """
    padded = np.frombuffer(b"0" * (_DIGITS - 1) + b" " + text + b" ", dtype=np.uint8)
    edges = np.flatnonzero(np.diff(padded > _SPACE)) + 1
    starts, ends = edges[1::2], edges[2::2]
    prefixed = (padded[starts] == ord("0")) & ((padded[starts + 1] | 0x20) == ord("x"))
    digits = ends - starts - 2 * prefixed
    if not len(digits):
        return np.zeros(0, dtype=np.uint32)
    if digits.min() < 1 or digits.max() > _DIGITS or text.count(b"x") + text.count(b"X") != np.count_nonzero(prefixed):
        return None
    tails = np.ndarray(len(padded) - _DIGITS + 1, dtype="<u8", buffer=padded, strides=(1,))[ends - _DIGITS]
    if digits.min() < _DIGITS:  # what stands before the word counts as zeros
        unused = (8 * (_DIGITS - digits)).astype(np.uint64)
        tails = tails >> unused << unused
    return _word_of_digits(tails)


def _word_of_digits(tails):
    """uint32[n] of eight hexadecimal digits each, the first of them in the lowest byte."""
    letters = tails >> np.uint64(6)
    letters &= np.uint64(0x0101010101010101)
    letters *= np.uint64(9)
    tails &= np.uint64(0x0F0F0F0F0F0F0F0F)
    tails += letters  # a digit in each byte
    for shift, kept in ((4, 0x00FF00FF00FF00FF), (8, 0x0000FFFF0000FFFF), (16, 0x00000000FFFFFFFF)):
        # The first of two neighbours is the higher half of what they make.
        tails = (tails << np.uint64(shift)) | (tails >> np.uint64(2 * shift))
        tails &= np.uint64(kept)
    return tails.astype(np.uint32)


def _parse_any(text):
    """Parse token by token."""
    try:
        words = np.array([int(token, 16) for token in text.split()], dtype=np.int64)
    except (ValueError, OverflowError):
        return None
    return words.astype(np.uint32) if (words <= _LARGEST).all() else None
