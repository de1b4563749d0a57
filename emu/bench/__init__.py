"""The benchmark suite: programs, repetitions, records, comparison."""
