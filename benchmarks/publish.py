"""The tables and plots of what was measured, written from benchmarks/figures.json into the pages that show them.

    python -m benchmarks.publish

A page marks the place of a table by a pair of comments: <!-- measured: NAME --> and <!-- end -->.
"""

import json
import re
import statistics
import textwrap
from pathlib import Path

from benchmarks import jax_compile, matrix_ladder, matrix_lowering, scale

ROOT = Path(__file__).parents[1]
FIGURES = Path(__file__).with_name("figures.json")
PAGES = ("README.md", "docs/scale.md", "benchmarks/README.md")
PLOTS = {
    "matrix_speed": (matrix_ladder.draw, "notebooks/pictures/ladder.png"),
    "matrix_lowering": (matrix_lowering.draw, "notebooks/pictures/lowering.png"),
    "jax_compile": (jax_compile.draw, "docs/pictures/jax_compile.png"),
    "scale": (scale.draw, "docs/pictures/scale.png"),
}


def read():
    return json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}


def write(figures):
    """Replace the file as a whole."""
    new = FIGURES.with_suffix(".new")
    new.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    new.replace(FIGURES)


# ── Tables ─────────────────────────────────────────────────────────────────────────────────────


def time(seconds):
    for unit, a_second in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if seconds * a_second >= 1:
            return f"{digits(seconds * a_second)} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def digits(x):
    """Three of them, or all before the point."""
    return f"{x:,.0f}" if x >= 100 else f"{x:#.3g}"


def table(header, rows):
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  ", "| ") for line in lines)


def engine(figures):
    """The scalar engine beside others, and what is found beside NumPy and PyTorch."""
    of = {name: each["figures"] for name, each in figures.items()}
    rows = []

    def row(what, here, beside="", ratio=None):
        rows.append([what, here, beside, "" if ratio is None else digits(ratio)])

    demo = {(each["collector"], each["engine"]): each for each in of["micrograd_demo"]}
    for collector, suffix in (("on", ""), ("off", ", no collector")):
        for key, how in (("nn", "with `nn`"), ("by hand", "by hand")):
            each = demo[collector, key]
            ratio = statistics.median(each["ratios"])
            row(
                f"a step of micrograd's demo, {how}{suffix}",
                time(statistics.median(each["seconds"])),
                "micrograd",
                ratio,
            )
    names = {"demo": "the same demo, by hand", "digit": "a digit, 64-16-10, by hand",
             "gpt": "a name by the little GPT, by hand"}  # fmt: skip
    for each in of["by_hand"]:
        what, _, collector = each["what"].partition(", collector ")
        if not collector and what != "(a * b).backward()":
            continue  # single operations are in the file
        what = names.get(what, f"`{what}`") + (", no collector" if collector == "off" else "")
        row(
            what,
            time(statistics.median(each["seconds"])),
            "an engine of sixty lines",
            statistics.median(each["ratios"]),
        )
    memory = {each["engine"]: each for each in of["memory"] if each["how"] == "tracemalloc"}
    for key, what in (("recorded", "a recorded operation"), ("backward", "… at the peak of `backward()`")):
        ours, theirs = (memory[name][key] for name in ("microgradlike", "micrograd"))
        row(what, f"{ours:.0f} bytes", "micrograd", theirs / ours)
    for threads, cases in of["matrix_speed"].items():
        for case, times in cases.items():
            found = times["found program"]
            what = {"demo": "a found step of micrograd's demo", "GPT": "loss and gradients of a GPT, found"}.get(
                case, f"a found step of 784-30-10, {case}"
            )
            what, here = what + (f", {threads} threads" if threads != "1" else ""), time(found)
            for name, seconds in times.items():
                if name != "found program":
                    row(what, here, name, seconds / found)
                    what = here = ""
    ratios = [each["gradient"] / each["loss"] for each in of["matrix_checks"]["ratios"]]
    row("loss and gradients of a found program", f"{min(ratios):.1f} to {max(ratios):.1f} losses")
    a_node = [seconds / nodes for nodes, seconds, _ in of["matrix_lowering"]]
    row("finding the matrices, a scalar node", f"{time(min(a_node))} to {time(max(a_node))}")
    return table(["measured", "here", "beside", "which takes × as much"], rows) + about(figures["matrix_speed"])


def gpu(figures):
    """A training step on a GPU."""
    measured = figures["gpu"]["figures"]
    steps = {}
    for each in measured["steps"]:
        steps.setdefault(each["batch"], {})[each["engine"]] = each
    header = ["samples", *(f"{name.removesuffix(', cuda')}, ms" for name in next(iter(steps.values()))), "of the rate"]
    return table(
        header,
        [
            [f"{batch:,}", *(digits(each["ms"]) for each in engines.values()), f"{engines['found']['share']:.0%}"]
            for batch, engines in steps.items()
        ],
    ) + about(
        figures["gpu"],
        f"{measured['device']}, products at {digits(measured['rate'] / 1e12)} · 10¹² operations a second; ",
    )


def page(figures):
    """The page of `steps` in Chromium."""
    rows = [
        [f"{nodes}", *(f"{digits(ms)} ms" for ms in (moved, step, frame)), f"{size / 1000:.1f} KB"]
        for nodes, moved, frame, step, size in figures["page"]["figures"]
    ]
    return table(["nodes", "a leaf moves", "a step", "a frame meanwhile", "script, style, data"], rows)


def layout(figures):
    """A picture, by the clock and in processor time."""
    rows = [[shape, f"{nodes}", time(clock), time(used)] for shape, nodes, clock, used in figures["layout"]["figures"]]
    return table(["shape", "nodes", "clock", "processor"], rows)


def structure(figures):
    """What the sums in scalars take, beside NumPy written by hand."""
    rows = [
        [each["case"], time(each["found"]), time(each["by_hand"]), digits(each["found"] / each["by_hand"])]
        for each in figures["matrix_structure"]["figures"]
    ]
    return table(["written in scalars", "found", "NumPy", "times as much"], rows)


def irregular(figures):
    """Finding the form of graphs that are no networks, and running it."""
    rows = [
        [
            name,
            f"{x['nodes']:,.0f}",
            *(digits(x[key]) for key in ("finding", "first", "first_of_several", "call", "call_of_several")),
        ]
        for name, x in figures["irregular"]["figures"].items()
    ]
    return table(["graph", "nodes", "finding, µs a node", "first call", "first of 32", "call / step", "of 32"], rows)


def beside_jax(figures):
    """Steps of recurrent networks and of wide ones in float32, beside JAX and the products alone."""
    threads = figures["beside_jax"]["figures"]
    ratios = {  # to the faster way of writing it in JAX
        number: {
            case: times["found program"] / min(t for name, t in times.items() if name.startswith("JAX"))
            for case, times in cases.items()
        }
        for number, cases in threads.items()
    }
    rows = [
        [
            case,
            *(time(times[name]) for name in ("found program", "JAX", "products")),
            *(digits(r[case]) for r in ratios.values()),
        ]
        for case, times in threads["1"].items()
    ]
    headers = [f"found / JAX, {number} threads".replace(", 1 threads", "") for number in threads]
    return table(["a step of", "found", "JAX", "products alone", *headers], rows)


TABLES = {each.__name__: each for each in (engine, gpu, page, layout, structure, irregular, beside_jax)}


def about(each, device=""):
    """What it was measured on, as a paragraph of its own."""
    versions = ", ".join(f"{name} {version}" for name, version in each["versions"].items())
    return "\n" + textwrap.fill(f"{device}{each['machine']}; {versions}.", 100) + "\n"


def with_tables(text, figures):
    """The text of a page, with each of its tables as the figures say."""

    def made(match):
        return f"{match[1]}\n{TABLES[match[2]](figures)}{match[3]}"

    return re.sub(r"(<!-- measured: (\w+) -->)\n.*?(<!-- end -->)", made, text, flags=re.DOTALL)


def main():
    figures = read()
    for page in PAGES:
        path = ROOT / page
        path.write_text(with_tables(path.read_text(encoding="utf-8"), figures), encoding="utf-8")
    import matplotlib

    matplotlib.use("agg")
    for name, (draw, path) in PLOTS.items():
        draw(figures[name]["figures"], ROOT / path)


if __name__ == "__main__":
    main()
