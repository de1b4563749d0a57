"""Numba kernels: functions of arrays and integers, without I/O, strings or Python objects."""
