"""Checkpoints: the state of a training in a folder, from which a killed run goes on to the same bits."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np

from microgradlike.scale.parallel import State
from microgradlike.support.extras import needed_for

KEPT = 2  # so many checkpoints stay


class Checkpoints:
    """The checkpoints in a folder, by orbax, of a training that `about` describes: the network, the seed and so on.

    A checkpoint is written beside the earlier ones and named when it is whole. Raises MissingPackage without orbax, and
    ValueError where the folder is a file, or its last checkpoint is of another training or damaged; nothing is
    changed then.
    """

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        with needed_for("checkpoints"):
            import orbax.checkpoint as orbax

        self.folder, self.about, self._args = Path(folder).absolute(), about, orbax.args
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoints need a folder, and {folder} is none")
        options = orbax.CheckpointManagerOptions(max_to_keep=KEPT, enable_async_checkpointing=False)
        self._manager = orbax.CheckpointManager(self.folder, options=options)
        self.step: int = self._manager.latest_step() or 0
        self.losses: list[float] = []
        if self.step:
            self._read_about()

    def _read_about(self) -> None:
        found = self._read("about", self._args.JsonRestore())
        try:
            about, self.losses, self._digest = found["about"], found["losses"], found["digest"]
        except (KeyError, TypeError):
            raise self._damaged() from None
        for name, here in self.about.items():
            if (there := about.get(name)) != here:
                raise ValueError(
                    f"the checkpoint in {self.folder} is of another training, with {name} {there}, here {here}: "
                    "give another folder"
                )

    def restore(self, start: State) -> State:
        """Return the state of the last checkpoint, placed as `start` is; `start` where there is none.

        Raises ValueError for a damaged one.
        """
        if not self.step:
            return start
        state: State = self._read("state", self._args.StandardRestore(start))
        if _digest(state) != self._digest:
            raise self._damaged()
        return state

    def _read(self, name: str, how: Any) -> Any:
        logging.disable()  # what is wrong is said in one sentence
        try:
            return self._manager.restore(self.step, args=self._args.Composite(**{name: how}))[name]
        except Exception as error:  # whatever orbax says of a file that is not as it was written
            raise self._damaged() from error
        finally:
            logging.disable(logging.NOTSET)

    def _damaged(self) -> ValueError:
        folder, earlier = self.folder / str(self.step), sorted(self._manager.all_steps())[:-1]
        go_on = f"from step {earlier[-1]}" if earlier else "from the beginning"
        return ValueError(f"the checkpoint {folder} is damaged: move that folder away to go on {go_on}")

    def save(self, state: State, losses: list[float]) -> None:
        """Write the state after so many losses."""
        about = {"about": self.about, "losses": losses, "digest": _digest(state)}
        composite = self._args.Composite(state=self._args.StandardSave(state), about=self._args.JsonSave(about))
        self._manager.save(len(losses), args=composite)


def _digest(state: State) -> str:
    """Return a hash of all numbers of a state."""
    import jax

    digest = hashlib.sha256()
    for x in jax.tree.leaves(state):
        digest.update(np.asarray(x).tobytes())
    return digest.hexdigest()
