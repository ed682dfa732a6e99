"""Everything you look at: the drawn graph, tables in the terminal, the page that steps through it."""
