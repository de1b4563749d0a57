"""Parse the lines of a CSV trace, `time_ps,read|write,address`, one 64-byte access each; format those of completions.

Only usual lines are parsed here: ASCII, a comment from # on, white space around fields, decimal numbers of at most 18
digits or 0x and at most 16. The kernel stops at the first line of any other kind, right or wrong, and leaves it to the
host. A text is bytes, its end is a line's end.

A line without blanks and comments, as programs write them, is read eight bytes at a time (`text_words`).
"""

import numpy as np

from ..compiler.jit import JIT, entry, kernel, small
from ..limits import ACCESS_BYTES, TIME_LIMIT
from .text_words import decimal_at, hex_at, load_word

# Registers: next byte, lines so far, accesses so far, time of the last access.
TEXT_AT, TEXT_LINES, TEXT_ACCESSES, TEXT_TIME, TEXT_WIDTH = range(5)

NEWLINE, RETURN, SPACE, TAB, COMMA, HASH = 10, 13, 32, 9, 44, 35
ZERO, NINE, LOWER = 48, 57, 32
LETTER_A, LETTER_F, LETTER_X = 97, 102, 120
MOST_DECIMAL, MOST_HEX = 18, 16
READ_WORD = (114, 101, 97, 100)
WRITE_WORD = (119, 114, 105, 116, 101)
READ_BYTES = int.from_bytes(bytes(READ_WORD), "little")
WRITE_BYTES = int.from_bytes(bytes(WRITE_WORD), "little")
NO_NUMBER = -1
LONGEST = 88  # bytes of a line of completions: three instants, a word, an address, commas and a newline


@small
def skip_blanks(text, at):
    """Find the first byte from `at` on that is neither a space nor a tab."""
    while text[at] == SPACE or text[at] == TAB:
        at += 1
    return at


@kernel
def decimal_end(text, at):
    """Find the end of a run of decimal digits."""
    while ZERO <= text[at] <= NINE:
        at += 1
    return at


@small
def decimal_value(text, at, end):
    """Compute the value of decimal digits, at most 18 of them."""
    value = np.int64(0)
    for place in range(at, end):
        value = value * 10 + (np.int64(text[place]) - ZERO)
    return value


@small
def hex_digit(byte):
    """Compute the value of a hexadecimal digit, NO_NUMBER of any other byte."""
    if ZERO <= byte <= NINE:
        return np.int64(byte) - ZERO
    letter = np.int64(byte) | LOWER
    if LETTER_A <= letter <= LETTER_F:
        return letter - LETTER_A + 10
    return np.int64(NO_NUMBER)


@small
def is_word(text, at, word):
    """Tell whether a word in small letters stands at `at`, in letters of either size."""
    same = True
    for place in range(len(word)):
        same = same and (np.int64(text[at + place]) | LOWER) == word[place]
    return same


@kernel
def line_end(text, at):
    """Find the newline behind the rest of a line that may be ignored: blanks, a comment of ASCII.

    Returns its place, NO_NUMBER where there is anything else.
    """
    at = skip_blanks(text, at)
    if text[at] == HASH:
        while text[at] != NEWLINE and text[at] != RETURN and text[at] < 128 and text[at] != 0:
            at += 1
    if text[at] == RETURN:
        at += 1
    return at if text[at] == NEWLINE else np.int64(NO_NUMBER)


@kernel
def skip_fields(text, at, fields):
    """Pass over `fields` more fields of digits, each behind a comma; NO_NUMBER where they are not there."""
    for _ in range(fields):
        at = skip_blanks(text, at)
        if text[at] != COMMA:
            return np.int64(NO_NUMBER)
        at = skip_blanks(text, at + 1)
        end = decimal_end(text, at)
        if end == at:
            return np.int64(NO_NUMBER)
        at = end
    return np.int64(at)


@kernel
def parse_line(text, at, fields, time, op, address, count):
    """Parse the access of the line at `at` into element `count` of the arrays.

    Returns the place of its newline, NO_NUMBER where the line is none of the usual.
    """
    end = decimal_end(text, at)
    if end == at or end - at > MOST_DECIMAL:
        return np.int64(NO_NUMBER)
    time[count] = decimal_value(text, at, end)
    at = skip_blanks(text, end)
    if text[at] != COMMA:
        return np.int64(NO_NUMBER)
    at = skip_blanks(text, at + 1)
    if is_word(text, at, READ_WORD):
        op[count] = 0
        at += len(READ_WORD)
    elif is_word(text, at, WRITE_WORD):
        op[count] = 1
        at += len(WRITE_WORD)
    else:
        return np.int64(NO_NUMBER)
    at = skip_blanks(text, at)
    if text[at] != COMMA:
        return np.int64(NO_NUMBER)
    at = skip_blanks(text, at + 1)
    if text[at] == ZERO and (np.int64(text[at + 1]) | LOWER) == LETTER_X:
        at += 2
        first, value = at, np.int64(0)
        digit = hex_digit(text[at])
        while digit != NO_NUMBER:
            value = (value << 4) | digit
            at += 1
            digit = hex_digit(text[at])
        if at == first or at - first > MOST_HEX:
            return np.int64(NO_NUMBER)
    else:
        end = decimal_end(text, at)
        if end == at or end - at > MOST_DECIMAL:
            return np.int64(NO_NUMBER)
        value = decimal_value(text, at, end)
        at = end
    address[count] = value
    at = skip_fields(text, at, fields)
    return line_end(text, at) if at != NO_NUMBER else np.int64(NO_NUMBER)


@small
def parse_plain_line(text, at, time, op, address, count):
    """As `parse_line`, of a line without blanks, comments and further fields; NO_NUMBER of any other."""
    value, digits = decimal_at(text, at)
    if digits == 0 or digits > MOST_DECIMAL:
        return np.int64(NO_NUMBER)
    time[count] = value
    at += digits
    word = load_word(text, at + 1) | 0x2020202020
    is_write = word & 0xFFFFFFFFFF == WRITE_BYTES
    if not is_write and word & 0xFFFFFFFF != READ_BYTES:
        return np.int64(NO_NUMBER)
    op[count] = is_write
    comma = at + 1 + len(READ_WORD) + np.int64(is_write)
    if text[at] != COMMA or text[comma] != COMMA:
        return np.int64(NO_NUMBER)
    at = comma + 1
    if text[at] == ZERO and (np.int64(text[at + 1]) | LOWER) == LETTER_X:
        at += 2
        value, digits = hex_at(text, at)
        odd = digits > MOST_HEX
    else:
        value, digits = decimal_at(text, at)
        odd = digits > MOST_DECIMAL
    at += digits
    if digits == 0 or odd or text[at] != NEWLINE:
        return np.int64(NO_NUMBER)
    address[count] = value
    return at


@entry
def parse_csv(text, stop, fields, time, op, address, reg):
    """Parse lines of `text` from byte `reg[TEXT_AT]` on into arrays, from element `reg[TEXT_ACCESSES]` on.

    Parameters
    ----------
    text : uint8[>= stop + 64]
        Ends with a newline at stop - 1; what lies behind is 0.
    stop : int
    fields : int
        Fields behind the address, digits that are not looked at.
    time, op, address : int64[n], uint8[n], int64[n]
        Room for the accesses of all lines; addresses are u64 bit patterns.
    reg : int64[TEXT_WIDTH]
        Moves behind what was parsed.

    Returns 1 at `stop`, 0 at a line that is none of the usual, or whose time falls or passes TIME_LIMIT, or whose
    address is no multiple of 64.
    """
    at, count, lines, last = reg[TEXT_AT], reg[TEXT_ACCESSES], reg[TEXT_LINES], reg[TEXT_TIME]
    while at < stop:
        end = np.int64(NO_NUMBER)
        plain = JIT and fields == 0
        if plain:
            end = parse_plain_line(text, at, time, op, address, count)
            plain = end != NO_NUMBER
        if not plain:
            end = line_end(text, at)
        if plain or end == NO_NUMBER:
            if not plain:
                end = parse_line(text, skip_blanks(text, at), fields, time, op, address, count)
            odd = end == NO_NUMBER or time[count] < last or time[count] > TIME_LIMIT
            if odd or address[count] & (ACCESS_BYTES - 1) != 0:
                break
            last = time[count]
            count += 1
        at = end + 1
        lines += 1
    reg[TEXT_AT], reg[TEXT_ACCESSES], reg[TEXT_LINES], reg[TEXT_TIME] = at, count, lines, last
    return np.int64(at >= stop)


@small
def put_decimal(text, at, value):
    """Write a number in decimal at `at`.

    Returns the place behind it.
    """
    end, rest = at + 1, value
    while rest >= 10:
        rest //= 10
        end += 1
    place = end
    while value >= 10:
        tens = value // 10
        place -= 1
        text[place] = ZERO + value - 10 * tens
        value = tens
    text[at] = ZERO + value
    return end


@small
def put_hex(text, at, value):
    """Write a u64 bit pattern at `at`, in hexadecimal with 0x.

    Returns the place behind it.
    """
    text[at], text[at + 1] = ZERO, LETTER_X
    digits = 1
    while digits < MOST_HEX and (value >> (4 * digits)) & ((1 << 4 * (MOST_HEX - digits)) - 1) != 0:
        digits += 1
    for digit in range(digits):
        nibble = (value >> (4 * (digits - 1 - digit))) & 15
        text[at + 2 + digit] = ZERO + nibble if nibble < 10 else LETTER_A - 10 + nibble
    return at + 2 + digits


@small
def put_word(text, at, word):
    """Write a word in small letters at `at`.

    Returns the place behind it.
    """
    for place in range(len(word)):
        text[at + place] = word[place]
    return at + len(word)


@entry
def format_completions(issue, write, address, accept, done, text):
    """Write a line `time_ps,op,address,accept_ps,done_ps` for each access into `text`.

    Parameters
    ----------
    issue, accept, done : int64[n]
        ps, not negative.
    write : int64[n]
        1 for a write.
    address : int64[n]
        u64 bit patterns.
    text : uint8[>= LONGEST * n]

    Returns the bytes written.
    """
    at = 0
    for index in range(len(address)):
        at = put_decimal(text, at, issue[index])
        text[at] = COMMA
        at = put_word(text, at + 1, WRITE_WORD) if write[index] == 1 else put_word(text, at + 1, READ_WORD)
        text[at] = COMMA
        at = put_hex(text, at + 1, address[index])
        text[at] = COMMA
        at = put_decimal(text, at + 1, accept[index])
        text[at] = COMMA
        at = put_decimal(text, at + 1, done[index])
        text[at] = NEWLINE
        at += 1
    return np.int64(at)
