"""Is the gradient right? Differences, checks of every rule, agreement of independent ways, the origin of a nan."""
