"""Times the drop-in and another executable with the same interface on the same programs, in turns.

A process takes its start-up and the program's own time. Start-up is measured in the same turns, for each executable:
the same arguments and files, but a program of one instruction.
"""

import os

import msgspec

from ..errors import EmuError, UsageError
from .record import SideBySide, Timing, timing

ONE_WORD = "one_instruction.mem"
ONE_INSTRUCTION = "0x00000062\n"  # S_ADDI_INT gp1, gp0, 0
NOISE = 4  # median deviations
LEAST_NET_S = 0.002  # of the own executable; a shorter time is start-up for all that can be told


def check_executable(path: str) -> str:
    """Check that a file can be executed; raises `UsageError`.

    Returns
    -------
    str
        Its path from the root, as every run has a working directory of its own.
    """
    found = os.path.abspath(path)
    if not os.path.isfile(found) or not os.access(found, os.X_OK):
        raise UsageError(f"--reference {path}: found no file that can be executed")
    return found


def with_one_instruction(args: list[str]) -> list[str]:
    """Replace the program in the arguments of a run by one of a single instruction, written to the working directory.

    Raises
    ------
    EmuError
        The arguments name no program.

    Returns
    -------
    list of str
    """
    if "--opcode" not in args[:-1]:
        raise EmuError(f"arguments of the program {args}: expected --opcode FILE")
    with open(ONE_WORD, "w", encoding="ascii") as file:
        file.write(ONE_INSTRUCTION)
    at = args.index("--opcode") + 1
    return [*args[:at], ONE_WORD, *args[at + 1 :]]


def net_seconds(whole: Timing, startup: Timing) -> float | None:
    """Work out what a program takes besides start-up.

    Returns
    -------
    float or None
        None where it lies within the noise of the two.
    """
    net = whole.median_s - startup.median_s
    return net if net > max(LEAST_NET_S, NOISE * (whole.mad_s + startup.mad_s)) else None


class Turns(msgspec.Struct):
    """Samples of one executable on one program: whole runs, start-ups, and the largest peak memory."""

    command: str
    whole: list[float] = []
    startup: list[float] = []
    peak: int | None = None


def in_turns(run, check, executables: tuple[str, str], args: list[str], runs: int) -> tuple[Turns, Turns]:
    """Run both executables `runs` times, in turns, after a turn that does not count.

    Parameters
    ----------
    run : callable
        `run(command)`: (seconds, peak memory in bytes or None, output).
    check : callable
        `check(command, output)` of every whole run.
    args : list of str
        Of a run, in the working directory.

    Returns
    -------
    (Turns, Turns)
        Of the two, in their order.
    """
    brief = with_one_instruction(args)
    both = Turns(executables[0]), Turns(executables[1])
    for repetition in range(runs + 1):
        for turns in both if repetition % 2 else both[::-1]:
            seconds, peak, output = run([turns.command, *args])
            check(turns.command, output)
            startup, _, _ = run([turns.command, *brief])
            if repetition:
                turns.whole.append(seconds)
                turns.startup.append(startup)
                turns.peak = max(filter(None, (turns.peak, peak)), default=None)
    return both


def compared(program: str, model: str, own: Turns, reference: Turns, instructions: int | None) -> SideBySide:
    """Make the figure of two executables' turns on a program.

    Returns
    -------
    SideBySide
    """
    wholes = [timing(turns.whole) for turns in (own, reference)]
    startups = [timing(turns.startup) for turns in (own, reference)]
    net = [net_seconds(whole, startup) for whole, startup in zip(wholes, startups, strict=True)]
    return SideBySide(
        program=program, model=model, instructions=instructions, own=wholes[0], reference=wholes[1],
        own_startup=startups[0], reference_startup=startups[1], ratio=wholes[1].median_s / wholes[0].median_s,
        net_ratio=net[1] / net[0] if net[0] and net[1] else None,
        own_peak_bytes=own.peak, reference_peak_bytes=reference.peak,
    )
