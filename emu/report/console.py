"""Tables on a text stream."""

from rich.console import Console


def print_tables(tables, stream) -> None:
    """Write rich tables to `stream` in one piece: rich has a way of its own to meet a closed pipe."""
    # Paths and statistics hold brackets, which are no markup.
    console = Console(file=stream, highlight=False, markup=False)
    with console.capture() as text:
        for table in tables:
            console.print(table)
    stream.write(text.get())
