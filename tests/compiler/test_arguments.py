"""Are arguments of object code laid out as numba takes them, and is everything else refused?"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plena_emu.kernels.compiler.arguments import Kinds, kinds_of
from plena_emu.kernels.compiler.native_call import pack


class Pair(NamedTuple):
    first: np.ndarray
    second: tuple


def laid_out(array):
    return [0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides]


@pytest.mark.parametrize("value", [0, -1, 2**63 - 1, -(2**63), True, np.int64(-5), np.uint8(200)])
def test_integers_are_words(value):
    assert Kinds("(int)").words_of((value,)) == [int(value)]


def test_arrays_and_tuples_are_taken_apart():
    a, b = np.zeros((2, 3), dtype=np.float32), np.zeros(0, dtype=[("x", "<i8"), ("y", "<i2", (4,))])
    args = (Pair(a, (b, 7)), a, 8)
    kinds = Kinds(kinds_of(args))
    assert kinds.text == "((<f4/2,(|V16/1,int)),<f4/2,int)" and kinds.words == 9 + 7 + 1 + 9 + 1
    assert kinds.words_of(args) == [*laid_out(a), *laid_out(b), 7, *laid_out(a), 8]


def test_bound_arguments_are_laid_out_once():
    a, b = np.zeros((2, 3)), np.zeros(5, dtype=np.int64)
    args = (Pair(a, (b, 7)), 1, a, 8, (b, b), 9)
    kinds = Kinds(kinds_of(args))
    for first in range(len(args) + 1):
        for last in range(first, len(args) + 1):
            assert kinds.bind(args[:first], args[last:])(args[first:last]) == pack(kinds.words_of(args))
    for wrong in ((), (1, 2), (1.5,), (a,)):
        with pytest.raises(TypeError, match="found arguments of kinds"):
            kinds.bind(args[:1], args[2:])(wrong)
    for first, last in (((b,), ()), ((), (a,)), (args, (1,))):
        with pytest.raises(TypeError, match="found arguments of kinds"):
            kinds.bind(first, last)


@pytest.mark.parametrize("value", [
    1.5, 1.0, np.float64(2), np.float32(2), None, "1", b"1", 1j, [1], {}, np.zeros(1), object(), (1, 2), (),
])  # fmt: skip
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(TypeError, match=r"found arguments of kinds \(.*\), compiled for \(int\)"):
        Kinds("(int)").words_of((value,))


@given(st.integers(min_value=2**63) | st.integers(max_value=-(2**63) - 1))
def test_integers_of_more_than_64_bits_are_refused(value):
    with pytest.raises(TypeError, match=f"found the integer {value:#x}, expected one of 64 bits"):
        Kinds("(int)").words_of((value,))


GOOD = np.zeros((4, 6), dtype=np.int64)


def locked():
    array = GOOD.copy()
    array.flags.writeable = False
    return array


UNALIGNED = np.frombuffer(bytearray(8 * 24 + 1), dtype=np.int64, offset=1).reshape(4, 6)


@pytest.mark.parametrize("value", [
    GOOD.astype(np.int32), GOOD.view(np.uint64), GOOD.astype(float), GOOD.astype(">i8"), GOOD[0], GOOD[None], GOOD.T,
    GOOD[:, ::2], GOOD[::2], locked(), UNALIGNED, 3, None, memoryview(GOOD), GOOD.tolist(), np.int64(1), 1.5,
])  # fmt: skip
def test_other_arrays_are_refused(value):
    kinds = Kinds("(<i8/2,int)")
    for _ in range(2):
        assert len(kinds.words_of((GOOD, 1))) == 10  # what passed once makes no difference
        with pytest.raises(TypeError, match=r"compiled for \(<i8/2,int\)"):
            kinds.words_of((value, 1))


def test_arrays_that_are_only_read_may_be_read_only():
    assert Kinds("(<i8/2r)").words_of((locked(),))[5:7] == [4, 6]
    for value in (GOOD.T, UNALIGNED):
        with pytest.raises(TypeError):
            Kinds("(<i8/2r)").words_of((value,))


@pytest.mark.parametrize("args", [(), (1,), (1, 2, 3), ((1, 2), 3)])
def test_another_number_of_arguments_is_refused(args):
    with pytest.raises(TypeError):
        Kinds("(int,int)").words_of(args)


def test_what_is_wrong_with_an_array_is_told():
    assert kinds_of((GOOD[::2], locked(), UNALIGNED, 1.5)) == "(<i8/2 strided,<i8/2r,<i8/2 unaligned,float)"
