"""The page as a widget for notebooks: its step is a trait, and the leaves' numbers can be moved.

The page computes by itself what the gradients would be if w were 2. Python then records the expression
anew, with the operations that were recorded, so that `loss` is what the page shows. Only where the rule
of an operation does not run in the page does Python send it the numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from microgradlike import ops
from microgradlike.graph import record_again
from microgradlike.support.extras import needed_for
from microgradlike.view.explanation import explain

with needed_for("the widget"):
    import anywidget
    import traitlets

if TYPE_CHECKING:
    from microgradlike.view.page import Steps


class StepsWidget(anywidget.AnyWidget):
    """The page of `steps(loss)`, with the number of each leaf to be changed.

    `step` is the step that is shown: read it, or set it to move the page. `loss` is the expression
    as recorded with the numbers that now stand in the leaves; the one that `steps` was given is
    left as it was. `set(name, number)` does what changing a number in the page does.
    """

    step = traitlets.Int(0, min=0).tag(sync=True)
    data = traitlets.Dict().tag(sync=True)
    pictures: Any = traitlets.List().tag(sync=True)
    numbers = traitlets.Dict().tag(  # of the leaves, by their position in the graph; JSON knows neither inf nor −0
        sync=True,
        to_json=lambda numbers, _: {i: repr(float(x)) for i, x in numbers.items()},
        from_json=lambda numbers, _: {i: float(x) for i, x in numbers.items()},
    )

    def __init__(self, steps: Steps) -> None:
        self.loss, self._steps = steps.explanation.root, steps
        self._leaves = {str(i): leaf for i, leaf in enumerate(steps.order) if leaf.op is ops.LEAF}
        numbers = {i: leaf.data for i, leaf in self._leaves.items()}
        data = {**steps.data, "id": steps.id}
        super().__init__(_esm=steps.module(), data=data, pictures=steps.pictures, numbers=numbers)
        self.observe(self._moved, "numbers")

    def set(self, name: str, number: float) -> None:
        """Let every leaf of this name be `number`. Raises KeyError where there is none."""
        names = self._steps.explanation.names
        found = {i: float(number) for i, leaf in self._leaves.items() if name in (names[leaf], leaf.label)}
        if not found:
            there = ", ".join(names[v] for v in self._leaves.values())
            raise KeyError(f"no leaf is called {name!r}; there are {there}")
        self.numbers = {**self.numbers, **found}

    def __repr__(self) -> str:
        return str(self._steps)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget, and a picture for where no widget is shown."""
        bundle = super()._repr_mimebundle_(**options)
        data, *metadata = bundle if isinstance(bundle, tuple) else (bundle,)
        data = {**(data or {}), "text/html": self._steps.image(), "text/plain": str(self)}
        return (data, *metadata) if metadata else data

    def _moved(self, change: Any) -> None:
        numbers = {leaf: self.numbers[i] for i, leaf in self._leaves.items()}
        self.loss = record_again(self._steps.explanation.root, numbers)
        only_in_python = any("only" in node for node in self.data["nodes"])
        if not only_in_python:
            return
        again = replace(self._steps, explanation=explain(self.loss))
        with self.hold_sync():
            self.pictures = again.pictures
            self.data = {**again.data, "id": again.id}
