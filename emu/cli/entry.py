"""The two executables as processes: standard streams, Ctrl-C at any time, output that nobody takes (spec §5.5).

Imports next to nothing: before Ctrl-C is caught here, Python alone says what it does.
"""

import atexit
import contextlib
import os
import sys

from ..errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK, printable

# numpy's libraries start a thread for each CPU when they are imported. Nothing here needs them, a machine may not
# allow them (OpenBLAS sends its own process SIGINT then), and sums must not depend on how many there are. So what the
# user's environment says of them does not count here.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def transactional_emulator() -> int:
    """Run the drop-in as a process, which ends here; returns the exit status where Python has to end it."""
    return _process("transactional_emulator", "dropin")


def plena_emu() -> int:
    """Run `plena-emu` as a process, which ends here; returns the exit status where Python has to end it."""
    return _process("plena-emu", "main")


def _process(program, module):
    blocking = _open_streams()
    try:
        from .. import interrupts

        interrupts.watch(lambda: say(program, "interrupted"))
    except KeyboardInterrupt:
        say(program, "interrupted")
        return EXIT_INTERRUPTED
    for name in _THREADS:
        os.environ[name] = "1"
    try:
        import importlib

        from .importing import importing

        with importing():
            main = importlib.import_module(f".{module}", __package__).main
        status = main()
    except SystemExit as stop:
        status = stop.code or EXIT_OK
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
        say(program, "interrupted")
    except BrokenPipeError:
        status = EXIT_OK  # the reader of our output has seen enough (`| head`)
    except OSError as error:
        status = EXIT_ERROR
        say(program, _problem(error))
    except (ImportError, SystemError) as error:  # SystemError: of libraries, where memory ends while they are loaded
        status = EXIT_ERROR
        say(program, f"cannot load {getattr(error, 'name', None) or 'a library'}: {_first_line(error)}")
    except MemoryError:
        status = EXIT_ERROR
        say(program, "this machine has not enough memory for it")
    status = _flush(program, status)
    interrupts.end_watch()
    for number in blocking:
        os.set_blocking(number, False)
    _end(status)
    return status


def _end(status):
    """End the process, unless it has to wait for a thread or to show `status` first.

    Python would take every module apart, for a tenth of the time of a short run. What is to be done at the end is done.
    """
    import threading

    waited_for = [thread for thread in threading.enumerate() if not thread.daemon]
    if isinstance(status, int) and len(waited_for) == 1 and not _is_watched():
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _is_watched():
    """Whether a profiler, a debugger or the like runs this process, which may write its file behind us."""
    monitoring = getattr(sys, "monitoring", None)
    tools = () if monitoring is None else map(monitoring.get_tool, range(6))
    return any((sys.gettrace(), sys.getprofile(), *tools))


def _problem(error):
    """Say what an `OSError` is about; one without a number comes from loading a library."""
    if error.errno is None:
        return f"cannot load a library: {_first_line(error)}"
    return printable(f"{error.filename or 'standard output'}: {error.strerror}")


def _first_line(error):
    return printable(next(iter(str(error).strip().splitlines()), type(error).__name__))[:200]


def say(program: str, message: str) -> None:
    """Write the one line on standard error that says why the status is not 0; somebody may read it or not."""
    line = f"{program}: error: {message}\n"
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except RuntimeError:  # a signal came within a write
        os.write(2, line.encode(errors="backslashreplace"))
    except OSError:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def _open_streams():
    """Open what was closed (`2>&-`) on nothing: no file of a run may become standard error.

    Text that standard output cannot encode, such as an odd file name, is shown escaped, as on standard error. A stream
    whose writes do not wait for its reader would lose records: they wait. Returns the numbers of such streams.
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
    impatient = [number for number in (1, 2) if not os.get_blocking(number)]
    for number in impatient:
        os.set_blocking(number, True)
    return impatient


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
