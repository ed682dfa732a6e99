"""Out of one machine: a found program trained by JAX on several devices, in several processes, from checkpoints."""

from microgradlike.scale.checkpoints import Checkpoints
from microgradlike.scale.parallel import DataParallel, prepare

__all__ = ["Checkpoints", "DataParallel", "prepare"]
