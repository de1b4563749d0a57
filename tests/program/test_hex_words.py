"""Does every text of words mean what Python's own `int` makes of its tokens?"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from plena_emu.program.hex_words import TOKEN_BYTES, parse_words

words = st.integers(0, 2**32 - 1)
prefixes = st.sampled_from(["", "0x", "0X"])
spaces = st.text(st.sampled_from(" \t\n\r\x0b\x0c"), min_size=1, max_size=3)


def by_token(text):
    """The words, one after the other; None where a token is none."""
    try:
        found = [int(token, 16) for token in text.split()]
    except ValueError:
        return None
    return found if all(word < 2**32 for word in found) else None


def as_list(found):
    return None if found is None else found.tolist()


@given(st.lists(st.tuples(words, prefixes, st.sampled_from(["x", "X", "08x", "08X", "012x"]), spaces)))
def test_words(chosen):
    text = "".join(f"{prefix}{word:{form}}{space}" for word, prefix, form, space in chosen).encode()
    found = parse_words(text)
    assert found.dtype == np.uint32
    assert found.tolist() == [word for word, *_ in chosen]


@given(st.text(st.sampled_from(TOKEN_BYTES.decode()), max_size=30))
def test_any_text_of_their_characters(text):
    assert as_list(parse_words(text.encode())) == by_token(text.encode())


@given(st.lists(st.text(st.sampled_from("0xX1f"), min_size=1, max_size=11), max_size=4))
def test_tokens_that_may_be_none(tokens):
    text = " ".join(tokens).encode()
    assert as_list(parse_words(text)) == by_token(text)
