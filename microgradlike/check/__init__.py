"""Is the gradient right? Differences, checks of every rule, the agreement of independent ways, and the origin of a nan."""
