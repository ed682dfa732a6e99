"""Which nodes a root depends on: a walk over the graph that nothing else can disturb."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

_latest_visit: object = None
_number = attrgetter("_number")


def in_topological_order(root: Any) -> list[Any]:
    """Return root and every node that it depends on, each after its inputs; constants, of number 0, first.

    A node is created after its inputs, so to sort by creation is to sort topologically.
    """
    return sorted(visited(root), key=_number)


def visited(root: Any) -> list[Any]:
    """Return root and every node that it depends on, in the order in which they are met.

    A node that was met bears the mark of this visit: to look it up in a set takes 7 to 20 % longer.
    """
    global _latest_visit
    while True:
        visit = root._visit = _latest_visit = object()  # a mark that no earlier visit has left
        found, stack = [root], [root]
        while stack:  # depth first: to walk along `found` while it grows, breadth first, takes 7 to 20 % longer
            node = stack.pop()
            a, b = node._a, node._b
            if type(a) is not tuple:  # one input or two: the same as below, without a loop
                if a._visit is not visit:
                    a._visit = visit
                    found.append(a)
                    stack.append(a)
                if b is not None and b._visit is not visit:
                    b._visit = visit
                    found.append(b)
                    stack.append(b)
                continue
            for input in a:
                if input._visit is not visit:
                    input._visit = visit
                    found.append(input)
                    stack.append(input)
        if _latest_visit is visit:
            return found
        # else a signal handler or a finaliser has walked in between, over our marks: again
