"""Do arrays that go from run to run of a process stay its own?"""

import subprocess
import sys

import numpy as np

from plena_emu.memory.arrays import take_words

# A child writes into the arrays that it took before and after the fork; what the parent has stays.
FORK = """
import os
from plena_emu.memory.arrays import take_words
held, spare = take_words(4096), take_words(4096)
held[:], spare[:] = 1, 2
del spare
child = os.fork()
if child == 0:
    held[:] = 7
    take_words(4096)[:] = 8
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(set(held.tolist()), set(take_words(4096).tolist()))
"""


def test_a_forked_process_has_memory_of_its_own():
    ran = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert ran.stdout.strip() == "{1} {2}", ran.stdout + ran.stderr


def test_memory_is_taken_again_when_nobody_holds_it():
    words = take_words(12345)
    words[:] = 9
    place = words.ctypes.data
    other = take_words(12345)
    assert other.ctypes.data != place
    del words
    again = take_words(12345)
    assert again.ctypes.data == place and again.dtype == np.int64 and len(again) == 12345
