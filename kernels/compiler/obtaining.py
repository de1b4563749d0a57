"""Having the object code of a kernel module: read from the cache, checked, and compiled where it lacks or is damaged.

Child processes compile, one a module; where nothing can be kept, for this process alone.
"""

import contextlib
import errno
import os
import sys
import threading

from . import object_file
from .fingerprint import cache_path, cache_root, directory_of, owner_of
from .modes import KernelError
from .object_file import ModuleCode
from .sealed import DamagedFile

COMPILER = "plena_emu.precompile:compile_module"  # called in a child process with the key of the module
READY = "ready"  # what `look` says of good code
ROOM = 8 << 20  # bytes that a directory must have room for before anything is compiled into it

_code: dict[str, ModuleCode] = {}  # by key: checked, in memory
_said = threading.Event()
_obtaining = threading.Lock()
_temporary: list[str] = []  # directories of code that is compiled for this process alone


def _after_fork():
    """In a forked child: the thread that holds the lock to compile may not be in this process."""
    global _obtaining
    _obtaining = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def say(text: str) -> None:
    """Print one line on standard error if somebody reads it."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(f"plena-emu: {text}", file=sys.stderr, flush=True)


def say_once(text: str) -> None:
    """One line about compiling, however many kernels need it."""
    if not _said.is_set():
        _said.set()
        say(text)


def say_last(text: str) -> None:
    """One line, whatever was said before, after which `say_once` is silent."""
    _said.set()
    say(text)


def remove_temporary() -> None:
    """Remove what is compiled for this process alone; for a process that ends without unwinding."""
    import shutil

    for name in _temporary:
        shutil.rmtree(name, ignore_errors=True)


def look(key: str) -> str:
    """Look at what is kept of a module.

    Returns
    -------
    str
        For people: `READY`, `not compiled`, or what is wrong with it.
    """
    try:
        return "not compiled" if object_file.read(cache_path(key), owner_of(key)) is None else READY
    except DamagedFile as error:
        return str(error)


def code_of(key: str) -> ModuleCode:
    """Give the object code of a module that `obtain` had."""
    return _code[key]


def obtain(keys) -> None:
    """Have the object code of modules in memory, checked; what is not kept, or damaged, is compiled by children.

    Raises
    ------
    KernelError
        Some of it cannot be compiled here.
    """
    with _obtaining:
        damaged: dict[str, str] = {}
        missing = [key for key in keys if key not in _code and not _take(key, directory_of(key), damaged)]
        if not missing:
            return
        if not sys.executable:
            raise KernelError("no Python executable is known that could compile them")
        problem = problem_of_room(missing, cache_root())
        if problem is None:
            _say_compiling(damaged)
            _compile(missing, cache_root())
        else:
            _compile_for_this_process(missing, problem)


def _take(key, directory, damaged):
    """Read what is kept of a module in its directory; True if it is good. Adds to `damaged` what is wrong."""
    try:
        found = object_file.read(directory, owner_of(key))
    except DamagedFile as error:
        damaged[key] = str(error)
        return False
    if found is not None:
        _code[key] = found
    return found is not None


def _say_compiling(damaged):
    kept = f"the result is kept in {cache_root()}"
    if damaged:
        found = ", ".join(f"{key} {what}" for key, what in damaged.items())
        say_once(f"kept kernels cannot be used ({found}): compiling them again (up to a minute); {kept}")
    else:
        say_once(f"compiling the kernels for this machine, once (about a minute); {kept}")


def problem_of_room(keys, root):
    """Find out why compiled code of these modules could not be kept below `root`.

    Returns
    -------
    str or None
        None if it can be kept.
    """
    import tempfile

    for key in keys:
        try:
            cache_path(key, root).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache_path(key, root)) as file:
                os.posix_fallocate(file.fileno(), 0, ROOM)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                return error.strerror
    return None


def _compile(keys, root):
    from .children import call_in_children

    try:
        problems = call_in_children(COMPILER, keys, root)
    except OSError as error:
        raise KernelError(f"no process can be started that compiles them: {error.strerror}") from None
    found: dict[str, str] = {}
    for key in keys:
        if not _take(key, cache_path(key, root), found):
            raise KernelError(f"{key}: {problems.get(key) or found.get(key, 'nothing was kept')}")


def _compile_for_this_process(keys, problem):
    """Compile into a directory that is removed again; `problem` is what the compile cache has."""
    import pathlib
    import tempfile

    try:
        with tempfile.TemporaryDirectory(prefix="plena-emu-", ignore_cleanup_errors=True) as name:
            root = pathlib.Path(name)
            _temporary.append(name)
            other = problem_of_room(keys, root)
            if other is not None:
                raise KernelError(f"neither the compile cache {cache_root()} ({problem}) nor {root} ({other}) can be"
                                  " written")
            say_once(f"the compile cache {cache_root()} cannot be written ({problem}): every run compiles its kernels"
                     " anew, for about a minute (set PLENA_CACHE_DIR)")
            _compile(keys, root)
    except OSError as error:
        raise KernelError(f"neither the compile cache {cache_root()} ({problem}) nor a temporary directory"
                          f" ({error.strerror}) can be written") from None
