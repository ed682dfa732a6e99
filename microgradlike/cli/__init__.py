"""The command line: `commands` has what `microgradlike --help` lists."""
