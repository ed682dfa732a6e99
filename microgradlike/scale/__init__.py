"""Out of one machine: a found program trained by JAX on several devices."""

from microgradlike.scale.parallel import DataParallel, prepare

__all__ = ["DataParallel", "prepare"]
