"""Write the results of a compiled model's last run as arrays.

  plena-emu run BUILD && plena-emu results BUILD -o r.npz

The file has `hidden` [batch, tokens, hidden] after the final norm, `logits` [batch, tokens or 1, vocab], `connector`
for a vision encoder, and `K_<layer>` and `V_<layer>` [batch, KV heads, tokens, head_dim] as the HBM holds them; all
f32, without padding. Without -o only names, shapes and where they come from are shown.
"""

import os

from .flags import Once, path


def configure(parser):
    """Arguments of the command."""
    parser.add_argument("build", metavar="BUILD", type=path, help="build directory of a compiled model")
    parser.add_argument("-o", "--output", metavar="FILE", type=path, action=Once,
                        help="the .npz to write (- is standard output)")
    parser.add_argument("--dump-dir", metavar="DIR", type=path, action=Once,
                        help="where the dumps are (default: the build directory)")


def run(args):
    """Write the results, or list them; 0."""
    import sys

    import msgspec

    from ..atomic_files import check_directory, check_outputs, write_whole
    from ..config.build_dir import files_of_build
    from ..models.results import HBM_RESULTS, VRAM_DUMP, load_results, read_results, results_bytes

    if args.output is None:
        for result in read_results(args.build).results:
            values = msgspec.to_builtins(result)
            print(f"{result.name:12}  {' x '.join(map(str, result.shape)):>24}  {values['dump']}")
        return 0
    if args.output == "-":
        sys.stdout.buffer.write(results_bytes(load_results(args.build, args.dump_dir)))
        return 0
    check_directory(args.output, "results")
    dumps = [(name, os.path.join(args.dump_dir or args.build, name)) for name in (VRAM_DUMP, HBM_RESULTS)]
    check_outputs([("-o", args.output)], [*files_of_build(args.build), *dumps])
    found = load_results(args.build, args.dump_dir)
    write_whole(args.output, results_bytes(found), "results")
    print(f"Wrote {args.output}: {', '.join(found)}")
    return 0
