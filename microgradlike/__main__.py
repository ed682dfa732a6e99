"""`python -m microgradlike`: the command line."""

from microgradlike.cli.commands import main

main(prog_name="microgradlike")
