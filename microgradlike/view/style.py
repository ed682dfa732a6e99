"""What a drawn graph looks like: the colours, lines and fonts of its nodes, edges and frames.

Every text stands on a light fill of its own and lines are of a middle grey, so that a picture can be
read on white and on black. Kinds of nodes differ in their outline as well as in their colour.
"""

INK, MUTED, LINE, GRADIENT, LOCAL = "#1f2328", "#59636e", "#808a96", "#b42318", "#0b57a8"
LEAF = {"class": "leaf", "style": "filled", "fillcolor": "#e3eefb", "color": "#4a7fb5"}
CONSTANT = {"class": "constant", "style": "rounded,filled,dashed", "fillcolor": "#f3f4f6", "color": LINE}
OPERATION = {"class": "operation", "style": "rounded,filled", "fillcolor": "#ffffff", "color": LINE}
MORE = {"class": "more", "shape": "plain"}
GROUP = {"class": "group", "style": "rounded,filled", "fillcolor": "#e9ecef", "color": "#656d76", "penwidth": "1.5"}
ROOT = {"fillcolor": "#fff4cc", "color": "#8a6a00", "peripheries": "2"}

# The hues of Okabe and Ito, which colour-blind readers can tell apart: an outline and a tint of each.
PALETTE = [
    {"color": "#0072b2", "fillcolor": "#d6e9f5"}, {"color": "#d55e00", "fillcolor": "#fbe3d3"},
    {"color": "#009e73", "fillcolor": "#d3f0e6"}, {"color": "#b8518f", "fillcolor": "#f8e3ef"},
    {"color": "#9a7200", "fillcolor": "#fbeec4"}, {"color": "#3a9bd9", "fillcolor": "#e2f3fd"},
    {"color": "#6f6f00", "fillcolor": "#f6f5bd"}, {"color": "#4d4d4d", "fillcolor": "#e3e3e3"},
]  # fmt: skip
# What tells a colour's second use from its first, its third and fourth: the outline, and whether there is a tint.
MARKS = [{}, {"penwidth": "3", "fillcolor": "#ffffff"}, {"penwidth": "2", "line": "dotted"},
         {"penwidth": "2", "line": "dotted", "fillcolor": "#ffffff"}]  # fmt: skip

FONT = "Helvetica,Arial,sans-serif"
GRAPH = {"id": "graph", "bgcolor": "transparent", "fontname": FONT, "fontsize": "10", "fontcolor": INK,
         "nodesep": "0.15", "ranksep": "0.3", "pad": "0.1", "margin": "0", "ordering": "in"}  # fmt: skip
STRAIGHT = {"splines": "line", "outputorder": "edgesfirst"}
LARGE = STRAIGHT | {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1"}
NODE = {"shape": "box", "margin": "0.08,0.03", "width": "0", "height": "0",
        "fontname": FONT, "fontsize": "11", "fontcolor": INK}  # fmt: skip
FRAME = {"labeljust": "l", "fontsize": "12", "margin": "7", "style": "rounded,filled", "color": "#808a961a"}
EDGE = {"color": LINE, "arrowsize": "0.6", "fontname": FONT, "fontsize": "9", "fontcolor": LOCAL}
