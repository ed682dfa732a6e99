"""`python -m microgradlike`: the command line."""

from microgradlike.cli import main

main()
