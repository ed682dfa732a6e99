"""A drawing written in DOT: nodes and clusters, edges and their labels, and in a network the places of all of them."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import Any

from microgradlike import ops
from microgradlike.value import Value
from microgradlike.view import boxes, style
from microgradlike.view.changes import change_note
from microgradlike.view.choose import operands
from microgradlike.view.contents import Contents, closed_group, groups_around
from microgradlike.view.diagram import Diagram
from microgradlike.view.grid import PAD, TITLE, Grid, Path, Size
from microgradlike.view.labels import Edge, Point, Spot, find_spots

SIDES = {
    "LR": {"tail": "e", "head": "w"}, "RL": {"tail": "w", "head": "e"},
    "TB": {"tail": "s", "head": "n"}, "BT": {"tail": "n", "head": "s"},
}  # fmt: skip
DOWN = {name: {"tail": "s", "head": "n"} if name in ("LR", "RL") else {"tail": "e", "head": "w"} for name in SIDES}
AROUND = {
    "LR": {"tail": "e", "head": "ne"}, "RL": {"tail": "w", "head": "nw"},
    "TB": {"tail": "s", "head": "sw"}, "BT": {"tail": "n", "head": "nw"},
}  # fmt: skip

MOST_BENT = 5_000  # boxes times edges: above this, edges are straight
MOST_CROSSED = 500  # columns that edges pass: above this, the longest are drawn when the boxes have their places
BELOW = 32.0  # points between boxes below each other, for the local derivative and a sum
MOST_AT_HEAD = 6  # edges that end at one point, and have their local derivatives there


class Drawing(Contents):
    """What to draw, and where it stands."""

    def write(self) -> Diagram:
        import graphviz

        look = style.GRAPH | {"rankdir": self.rankdir}
        picture = graphviz.Digraph(graph_attr=look, node_attr=style.NODE, edge_attr=style.EDGE)
        clusters = self.clusters
        ids = {path: f"c{i}" for i, path in enumerate(clusters, start=-1)}
        for node in self.index:
            if node not in self.rows and (closed := closed_group(self.path.get(node, ()), self.closed)):
                self.box[node] = ids[closed]
        for node, box in list(self.box.items()):
            self.box |= {node.inputs[k]: box for k in self.edges[node] if node.inputs[k] in self.rows}
        for path in clusters:
            if path in self.closed and not any(around in self.closed for around in groups_around(path[:-1])):
                self.shown |= {node: self._id(node) for node in self._rows_in(path)}
        large = self._boxes_times_edges > MOST_BENT  # Graphviz might take minutes to bend edges around boxes
        if self.in_grid:
            # What keeps its place has the same coordinates in every picture: a page holds it once.
            picture.graph_attr.update({"layout": "nop", "notranslate": "true"})
            picture.graph_attr.update(style.STRAIGHT if large else {"splines": "true"})
        elif large:
            picture.graph_attr.update(style.LARGE)
        if not self.in_grid and self._comes_back(
            clusters
        ):  # by itself Graphviz ranks each cluster apart, as if nothing came back
            picture.graph_attr["newrank"] = "true"
        self._write_nodes(picture, ())
        for node in self.index:
            self._write_edges(picture, node)
        note = change_note(self.changed, self.names)
        if self._looks or note:
            picture.attr(label=boxes.legend(self._looks, note))
        return Diagram(
            picture.source, self._titles(clusters), tuple(sign.title for sign in self._signs.values() if sign.title)
        )

    @property
    def _boxes_times_edges(self) -> int:
        nodes = [node for node in self.index if node not in self.rows]
        if self.in_grid:  # open and closed it looks the same
            return len(nodes) * sum(map(len, self.edges.values()))
        edges = {(start, self._box(node)) for node in self.index for start in self._starts(node)}
        return len(set(map(self._box, nodes))) * len(edges)

    def _comes_back(self, clusters: dict[Path, list[Value]]) -> bool:
        """Return whether a way through the graph leaves a cluster and enters it again, as in a softmax layer."""
        # A closed group is one box, to which edges must come back.
        around = {v: set(groups_around(path)) for path, nodes in clusters.items() for v in nodes if v not in self.box}
        left: dict[Value, set[Path]] = {}
        for node in self.index:
            inside = around.get(node, set())
            inputs = [node.inputs[k] for k in self.edges[node]]
            left[node] = set().union(*(left[v] | around.get(v, set()) - inside for v in inputs))
            if not left[node].isdisjoint(inside):
                return True
        return False

    def _write_nodes(self, dot: Any, path: Path) -> None:
        """Write the nodes of a cluster, then the clusters within it."""
        for node in self.clusters[path]:
            id = self._id(node)
            dot.node(id, self._label(node).label, id=id, **self._pos(id), **self._look(node))
        for id, sign in self._signs.items():
            if sign.path == path:
                dot.node(id, boxes.chip(sign.words, style.MUTED).label, id=id, **self._pos(id), **style.MORE)
        for i, inner in enumerate(self.clusters, start=-1):
            if inner in self.closed and inner[:-1] == path:
                place = self._place(*self._grid.frames[inner].centre) if self._grid else {}
                dot.node(f"c{i}", self._closed_label(inner).label, id=f"c{i}", **place, **style.GROUP)
            elif inner and inner[:-1] == path:
                frame = boxes.frame(f"c{i}", inner[-1]) | self._frame(inner)
                with dot.subgraph(name=f"cluster_{i}", graph_attr=frame) as cluster:
                    self._write_nodes(cluster, inner)

    def _write_edges(self, dot: Any, node: Value) -> None:
        """Write the edges into a node. That of xₖ ends beside the row of wₖ, if there is one."""
        side = {"LR": "w", "RL": "e"}.get(self.rankdir)
        ports: dict[str, str] = {}
        for k in self.edges[node]:
            input, operand = node.inputs[k], operands(node)[k]
            look = {"class": "constant"} if input.op is ops.CONSTANT else {}
            id = self._edge_id(node, k)
            if input in self.box or node in self.box:
                ends = self.box.get(input, self._id(input)), self.box.get(node, self._id(node))
                if ends[0] != ends[1]:
                    if not self._grid or self.path.get(input, ())[:1] != self.path.get(node, ())[:1]:
                        ends = ends[0] + self._row_port(input, "tail"), ends[1] + self._row_port(node, "head")
                    if ends not in self.joined:
                        dot.edge(*ends, id=id, **look)
                    self.joined.setdefault(ends, []).append(id)
            elif input in self.rows:
                ports["x" + operand[1:]] = f":{self._id(input)}:{side}" if side else ""
            else:
                label = boxes.chip(self._local_grad(node, k), style.LOCAL, self.live)
                ends = self._id(input) + self._side(input, node, "tail"), self._id(node)
                ends = ends[0], ends[1] + (ports.get(operand) or self._side(input, node, "head"))
                if self._grid and self._has_number(node, k):
                    look |= self._at_head(self._spots[id], label)  # for the middles of crossing edges meet
                text = label.label if self.local_grads and not self._grid else ""
                if (node, k) in self._late:
                    look["late"] = "true"
                    if text:  # by its end, for the middles of long edges lie side by side
                        look, text = look | self._at_head(Spot(label.width / 2 + 10, 25.0), label), ""
                dot.edge(*ends, text, id=id, **look)
        for id in self._more_beside(node):
            dot.edge(id, self._id(node), style="dotted", id=f"e{id}")

    @cached_property
    def _late(self) -> set[tuple[Value, int]]:
        """The edges that `render` leaves out while Graphviz looks for places: it would take minutes over many long ones."""
        rank: dict[Value | str, int] = {}
        for node in self.index:
            ranks = [rank[start] + 1 for start in self._starts(node)]
            rank[self._box(node)] = max([rank.get(self._box(node), 0), *ranks])
        first: dict[Value | str, int] = {}  # where the nodes that use a leaf begin
        for node in self.index:
            for start in self._starts(node):
                first[start] = min(first.get(start, rank[self._box(node)]), rank[self._box(node)])
        crossed = {
            (node, k): rank[node] - (rank[input] if self.edges[input] else first[input] - 1) - 1
            for node in self.index
            for k in self.edges[node]
            for input in [node.inputs[k]]
            if self.box.keys().isdisjoint((input, node))
        }
        order = sorted(crossed, key=crossed.__getitem__)
        sums = accumulate(crossed[edge] for edge in order)
        return {edge for edge, total in zip(order, sums, strict=True) if total > MOST_CROSSED and not self.in_grid}

    def _box(self, node: Value) -> Value | str:
        """Return the id of the closed box that a node is in, or else the node."""
        return self.box.get(node, node)

    def _starts(self, node: Value) -> set[Value | str]:
        """Return the nodes and closed boxes from which there are edges to that of the node."""
        return {self._box(node.inputs[k]) for k in self.edges[node]} - {self._box(node)}

    def _at_head(self, spot: Spot, label: boxes.Box) -> dict[str, str]:
        """Return the attributes of a label that stands by the end of its edge."""
        return {
            "headlabel": label.label, "labelangle": f"{spot.angle:.1f}", "labeldistance": f"{spot.distance / 10:.2f}",
        }  # fmt: skip

    def _has_number(self, node: Value, k: int) -> bool:
        """Return whether the edge of input k has a number on it, and not in a box."""
        at_rows = self.rows and operands(node)[k][0] == "x" and not self.rows.isdisjoint(node.inputs)
        few = len(self.edges[node]) <= MOST_AT_HEAD
        return self.local_grads and node.inputs[k] not in self.rows and bool(at_rows or few)

    @cached_property
    def _spots(self) -> dict[str, Spot]:
        """Where the numbers on edges stand."""
        grid = self._grid
        assert grid
        edges: dict[str, Edge] = {}
        for node in self.index:
            for k in self.edges[node]:
                input = node.inputs[k]
                if self._has_number(node, k) and self.box.keys().isdisjoint((input, node)):
                    twins = [j for j in self.edges[node] if node.inputs[j] is input]
                    words = self._local_grad(node, k)
                    width = boxes.text_width([words, f"{words.partition(' ')[0]} -0.1234" if self.live else ""], 9) + 5
                    side = len(twins) - 1 - 2 * twins.index(k)  # as Graphviz bends them
                    edges[self._edge_id(node, k)] = Edge(
                        *self._ends(input, node, k), width, 13.0, min(1, max(-1, side))
                    )
        inside = {self._id(node) for node in self.box}
        around = [(grid.place[id], size) for id, size in grid.size.items() if id not in inside]
        around += [(frame.centre, grid.boxes[path]) for path, frame in grid.frames.items() if path in self.closed]
        level = self.rankdir in ("LR", "RL")
        return find_spots(edges, [
            (*self._point(*at), *((size.main / 2, size.cross / 2) if level else (size.cross / 2, size.main / 2)))
            for at, size in around
        ])  # fmt: skip

    def _ends(self, input: Value, node: Value, k: int) -> tuple[Point, Point]:
        """Return where an edge in the grid begins and ends."""
        grid = self._grid
        assert grid
        (start, y), (end, to) = ends = grid.place[self._id(input)], grid.place[self._id(node)]
        sizes = grid.size[self._id(input)], grid.size[self._id(node)]
        if grid.goes_down(self._id(input), self._id(node)):
            y, to = y + sizes[0].cross / 2, to - sizes[1].cross / 2
        elif start < end:
            start, end = start + sizes[0].main / 2, end - sizes[1].main / 2
            rows = [j for j in self.edges[node] if node.inputs[j] in self.rows]
            at = [n for n, j in enumerate(rows) if "x" + operands(node)[j][1:] == operands(node)[k]]
            if at and self.rankdir in ("LR", "RL"):
                below = boxes.LINE_HEIGHT + 2 if self._more(node) else 0
                to += sizes[1].cross / 2 - 8 - below - boxes.ROW_HEIGHT * (len(rows) - at[0] - 0.5)
                if self.rankdir == "RL":  # the row ends before its local derivative
                    end += boxes.text_width((self._local_grad(node, j) for j in rows), 9) + 10
        else:  # where the line between the middles leaves the box
            across, up = start - end, y - to
            share = min(size / 2 / abs(way) for size, way in zip(sizes[1], (across, up), strict=True) if way)
            end, to = ends[1][0] + share * across, ends[1][1] + share * up
        return self._point(start, y), self._point(end, to)

    def _row_port(self, node: Value, end: str) -> str:
        """Return where an edge meets a closed box: in a network at the row of the node, if it has one."""
        sides = SIDES[self.rankdir][end]
        if not self._grid:
            return ""
        if node not in self.box:
            return f":{sides}"
        return f":{self._id(node)}:{sides}" if node in self.shown and self.rankdir in ("LR", "RL") else ""

    def _side(self, input: Value, node: Value, end: str) -> str:
        """Return the side of the box at which an edge begins or ends, where the grid tells which way it goes."""
        if not self._grid:
            return ""
        ids = self._id(input), self._id(node)
        if self._grid.goes_down(*ids):
            return f":{DOWN[self.rankdir][end]}"
        before, after = (self._grid.place[id][0] for id in ids)
        if before == after:  # around what stands between them
            return f":{AROUND[self.rankdir][end]}"
        if self._grid.columns[ids[0]] == self._grid.columns[ids[1]]:
            return ""
        return f":{SIDES[self.rankdir][end]}" if before < after else ""

    # ── Places in the grid ─────────────────────────────────────────────────────────────────────

    @cached_property
    def _grid(self) -> Grid | None:
        if not self.in_grid:
            return None
        nodes = [node for node in self.index if node not in self.rows]
        inputs = {
            self._id(v): [self._id(i) for k in self.edges[v] if (i := v.inputs[k]) not in self.rows] for v in nodes
        }
        outline = {self.root: 8.0}  # its second one
        for node in nodes:
            if node not in self.measured:
                self.measured[node] = self._size(self._label(node), outline.get(node, 0.0))
        sizes = {self._id(node): self.measured[node] for node in nodes}
        path = {self._id(node): self.path[node] for node in nodes if node in self.path}
        for id, sign in self._signs.items():
            if sign.path is not None:
                sizes[id], inputs[id] = self._size(boxes.chip(sign.words, style.MUTED)), []
            if sign.path:
                path[id] = sign.path
            elif sign.below is not None:  # the last of the inputs
                inputs[self._id(sign.below)].append(id)
        closed = self.closed & self.clusters.keys()
        may_close = self.clusters.keys() - {()} if self.live else closed
        rest = {group for group in may_close if len(group) > 1} if self.live else closed
        for group in may_close - self.measured.keys():
            self.measured[group] = self._size(self._closed_label(group))
        shut = {group: self.measured[group] for group in may_close}
        local_grads = ["∂₁"] if self.live else [self._local_grad(v, k) for v in nodes for k in self.edges[v]]
        gap = boxes.chip(max(local_grads, key=len, default=""), "", self.live).width + 12 if self.local_grads else 40.0
        level, narrow = self.rankdir in ("LR", "RL"), bool(self.rows) and self.live
        below, title = (BELOW, TITLE) if level else (gap, max(map(_name_width, self.clusters.keys() - {()})) + PAD)
        return Grid(sizes, inputs, path, shut, closed, rest, gap, below, bool(self.rows), title, narrow)

    def _size(self, box: boxes.Box, outline: float = 0.0) -> Size:
        extents = box.width + outline, box.height + outline
        return Size(*extents) if self.rankdir in ("LR", "RL") else Size(*reversed(extents))

    def _pos(self, id: str) -> dict[str, str]:
        return self._place(*self._grid.place[id]) if self._grid else {}

    def _place(self, main: float, cross: float) -> dict[str, str]:
        return {"pos": "{:.1f},{:.1f}".format(*self._point(main, cross))}

    def _point(self, main: float, cross: float) -> tuple[float, float]:
        """Return x and y, upward, of a place in the grid."""
        return {"LR": (main, -cross), "RL": (-main, -cross), "TB": (cross, -main), "BT": (cross, main)}[self.rankdir]

    def _frame(self, path: Path) -> dict[str, str]:
        """Return the extent of a cluster, and the place of its name at its left and top."""
        if not self._grid:
            return {}
        frame = self._grid.frames[path]
        corners = self._point(frame.main, frame.cross), self._point(frame.main_end, frame.cross_end)
        left, right = sorted(x for x, _ in corners)
        bottom, top = sorted(y for _, y in corners)
        return {
            "bb": f"{left:.1f},{bottom:.1f},{right:.1f},{top:.1f}",
            "lp": f"{left + _name_width(path) / 2 + 4:.1f},{top - 10:.1f}",
        }


def _name_width(path: Path) -> int:
    return boxes.text_width([path[-1]], int(style.FRAME["fontsize"]))
