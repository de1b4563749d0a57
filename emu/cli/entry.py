"""The two executables as processes: standard streams, Ctrl-C at any time, output that nobody takes (spec §5.5).

Imports nothing of weight: Ctrl-C is caught from here on.
"""

import os
import sys

from ..errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK


def transactional_emulator() -> int:
    """Run the drop-in as a process; returns the exit status."""
    return _process("transactional_emulator", "dropin")


def plena_emu() -> int:
    """Run `plena-emu` as a process; returns the exit status."""
    return _process("plena-emu", "main")


def _process(program, module):
    _open_streams()
    try:
        import importlib

        status = importlib.import_module(f".{module}", __package__).main()
    except SystemExit as stop:
        status = stop.code or EXIT_OK
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
        say(program, "interrupted")
    except BrokenPipeError:
        status = EXIT_OK  # the reader of our output has seen enough (`| head`)
    except OSError as error:
        status = EXIT_ERROR
        say(program, f"{error.filename or 'standard output'}: {error.strerror}")
    return _flush(program, status)


def say(program: str, message: str) -> None:
    """Write the one line on standard error that says why the status is not 0; somebody may read it or not."""
    try:
        print(f"{program}: error: {message}", file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def _open_streams():
    """Open what was closed (`2>&-`) on nothing: no file of a run may become standard error.

    Text that standard output cannot encode, such as an odd file name, is shown escaped, as on standard error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for the rest of the process
    if getattr(sys.stdout, "errors", None) == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush(program, status):
    """Write out what is buffered; the interpreter would complain in its own way at its end. Returns the status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                say(program, f"standard output: {error.strerror}")
                status = status or EXIT_ERROR
    return status
