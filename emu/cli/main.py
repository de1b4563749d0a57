"""`plena-emu`: finds the command, parses its arguments, runs it, maps errors to exit codes.

A command is a module of this package with `configure(parser)` and `run(args) -> int`. Its
module is imported only when the command was asked for, so usage errors and `--help` stay cheap.
"""

import importlib
import sys

from .. import __version__, interrupts
from ..errors import EXIT_ERROR, EmuError
from .entry import say
from .parser import Parser

COMMANDS = {
    "run": "run a build directory or explicit files",
    "compile": "compile a model into a build directory",
    "estimate": "time to first token and per token of a model on a board",
    "check": "compare a run with the reference forward",
    "results": "write hidden states, logits and caches out of the dumps",
    "asm": "assemble text to machine words",
    "disasm": "disassemble machine words to text",
    "boards": "list the boards or show one",
    "manifest": "write the weight manifest of a build directory",
    "plan": "footprint, regime and lower bounds of a model on a board",
    "profile": "cycles of a program by opcode, type and loop",
    "sweep": "many configurations, on every core or a cluster",
    "search": "the best of many configurations, without running all",
    "diff": "what two runs differ in",
    "inspect": "values inside a run",
    "report": "an HTML page about runs",
    "plot": "a figure of a run for slides",
    "board-settings": "write a settings file for a board",
    "dram": "replay a trace on a DRAM behind its controller",
    "bench": "measure speed against the reference, or compare two results",
    "doctor": "show versions and the compile cache, and warm it",
}


def build_parser(argv):
    """Make the parser with every command named and the asked-for one configured."""
    parser = Parser(prog="plena-emu", description="Fast, exact emulator of the PLENA LLM-inference accelerator.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    wanted = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        module = importlib.import_module(f"{__package__}.{name.replace('-', '_')}") if name == wanted else None
        sub = commands.add_parser(name, help=summary, description=getattr(module, "__doc__", None) or summary)
        if module is not None:
            module.configure(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(argv=None):
    """Run the command that the arguments name; returns the exit status (usage errors raise SystemExit 2)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = build_parser(argv).parse_args(argv)
    args.command_line = ["plena-emu", *argv]
    interrupts.announce_by(lambda: say(f"plena-emu {args.command}", interrupts.word()))
    try:
        return args.run(args)
    except EmuError as error:
        say(f"plena-emu {args.command}", str(error))
        return error.exit_code
    except MemoryError:
        say(f"plena-emu {args.command}", "this machine has not enough memory for it")
        return EXIT_ERROR
    except KeyboardInterrupt:
        say(f"plena-emu {args.command}", interrupts.word())
        return interrupts.status()
    except Exception as error:
        from ..kernels.compiler.modes import KernelError

        if not isinstance(error, KernelError):
            raise
        say(f"plena-emu {args.command}", str(error))
        return EXIT_ERROR


if __name__ == "__main__":
    from .entry import plena_emu

    sys.exit(plena_emu())
