"""The command line: `commands` has what `microgradlike --help` lists."""

import sys

from microgradlike.support.extras import MissingPackage, needed_for


def main() -> None:
    """Run the command line; where a package is missing, say in one line how to install it."""
    try:
        with needed_for("the command line"):
            from microgradlike.cli import commands
        commands.main(prog_name="microgradlike")
    except MissingPackage as missing:
        print(f"Error: {missing}", file=sys.stderr)
        raise SystemExit(2) from None
