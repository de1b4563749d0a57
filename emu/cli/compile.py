"""Compile a model into a build directory: program, HBM image, preloads, tables and references for the check.

  plena-emu compile tiny -o build/tiny
  plena-emu compile MODEL_DIR -o B --preset m64b16 --prefill 64 --layers 2
  plena-emu compile MODEL_DIR -o D --past 64 --cache-from B

MODEL is a bundled name (--list shows them), a directory with config.json and *.safetensors, or a config file. Without
weights of its own a model gets seeded ones. A build is one program: a prefill, or with --past or --cache-from one
decode step. Run it with plena-emu run, compare it with plena-emu check.
"""

import contextlib
import os
import sys

from ..errors import UsageError
from ..inputs.choices import SCHEDULES
from ..interrupts import unwinding
from .flags import Once, path, typed
from .manifest import positive

LARGE_IMAGE = 2 * 10**9  # bytes; announced, because it takes its time and its disk


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("model", metavar="MODEL", nargs="?", type=path, help="bundled name, directory or config file")
    parser.add_argument("-o", "--output", metavar="BUILD", type=path, action=Once, help="the build directory to write")
    parser.add_argument("--list", action="store_true", help="show bundled models, families and presets")
    add_model_flags(parser)
    inputs = parser.add_argument_group("inputs")
    inputs.add_argument("--tokens", metavar="FILE.npy", type=path, action=Once,
                        help="ids [batch, tokens] (default: seeded)")
    inputs.add_argument("--embeddings", metavar="FILE.npy", type=path, action=Once,
                        help="embeddings [batch, tokens, hidden] in place of ids")
    inputs.add_argument("--pixels", metavar="FILE.npy", type=path, action=Once,
                        help="an image [1, 3, S, S] for the vision part (default: seeded)")
    inputs.add_argument("--image", metavar="S", type=typed(positive), action=Once,
                        help="edge of the image in pixels (default: the model's)")
    inputs.add_argument("--weights", metavar="SOURCE", type=path, action=Once,
                        help="none, random:SEED or a directory (default: the model's own, else random:0)")
    what = parser.add_argument_group("what is computed")
    what.add_argument("--part", choices=("text", "vision"), action=Once, help="which part (default: text, if there is)")
    what.add_argument("--prefill", metavar="P", type=typed(positive), action=Once,
                      help="tokens of the prompt (default: 64)")
    what.add_argument("--past", metavar="T", type=typed(positive), action=Once, help="one decode step after T tokens")
    what.add_argument("--cache-from", metavar="BUILD", type=path, action=Once,
                      help="a decode step with the cache of this build, which was run")
    what.add_argument("--logits", choices=("last", "all", "none"), default="last", action=Once,
                      help="which tokens get logits (default: last)")
    parser.add_argument("--board", metavar="NAME", type=path, action=Once,
                        help="a board: its latencies in the settings, and a weight manifest for its memory")
    parser.add_argument("--json", action="store_true", help="print what was built as JSON")


def add_model_flags(parser):
    """Flags that `compile` and `estimate` share: preset and size of the model."""
    flags = parser.add_argument_group("model and machine")
    flags.add_argument("--preset", metavar="NAME", action=Once, help="geometry of the machine (default: m64b16)")
    flags.add_argument("--layers", metavar="N", type=typed(positive), action=Once, help="the first N layers only")
    flags.add_argument("--batch", metavar="B", type=typed(positive), action=Once, help="sequences (default: 1)")
    flags.add_argument("--vector-sram-rows", metavar="N", type=typed(positive), action=Once,
                       help="rows of the vector SRAM (default: 4194304)")
    flags.add_argument("--schedule", choices=SCHEDULES, action=Once,
                       help="plain (default), or overlap: load the next tiles of a weight while the present ones are in"
                            " use; the same values")


def run(args):
    """Write the build, or print the list; 0."""
    if args.list:
        from ..report.models import models_text
        from ..report.table import terminal_width

        print(models_text(terminal_width(sys.stdout)))
        return 0
    missing = [name for name, value in (("MODEL", args.model), ("-o BUILD", args.output)) if value is None]
    if missing:
        raise UsageError(f"expected {' and '.join(missing)}, or --list")
    if args.cache_from and os.path.exists(args.output) and os.path.realpath(args.output) == os.path.realpath(
            args.cache_from):
        raise UsageError(f"-o {args.output}: found the build that --cache-from names, expected another directory")
    from ..models.compiler import compile as compile_model
    from ..models.options import CompileOptions

    options = {name: getattr(args, name) for name in CompileOptions.__struct_fields__ if getattr(args, name)}
    with unwinding(), progress_bar("image", announce=LARGE_IMAGE) as progress:
        build = compile_model(args.model, args.output, progress=progress, **options)
    if args.json:
        from ..result import record_json

        sys.stdout.write(record_json("compile", build, args.command_line).decode())
    else:
        print(f"Wrote {build.directory}: {build.model} for {build.preset}, {build.words:,} words, HBM"
              f" {build.hbm_bytes:,} bytes, {build.vector_rows:,} rows of the vector SRAM")
    for warning in build.warnings:
        print(f"plena-emu compile: warning: {warning}", file=sys.stderr)
    return 0


class progress_bar:
    """Context whose value is a progress callback (text, done, total); it draws on a terminal alone.

    A total above `announce` bytes is said in a line of its own, terminal or not.
    """

    def __init__(self, what, announce=None):
        self.what, self.announce = what, announce
        self.bar = None

    def __enter__(self):
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %  {task.description}"), TimeElapsedColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.task = self.bar.add_task(self.what, total=None)
            with contextlib.suppress(RuntimeError):  # no thread can be started that draws it
                self.bar.start()
        return self._show

    def _show(self, text, done, total):
        if self.announce is not None and total > self.announce:
            print(f"{self.what}: {total / 1e9:.1f} GB", file=sys.stderr)
            self.announce = None
        if self.bar:
            self.bar.update(self.task, total=total, completed=done, description=f"{self.what}: {text}")

    def __exit__(self, *failure):
        if self.bar:
            self.bar.stop()
