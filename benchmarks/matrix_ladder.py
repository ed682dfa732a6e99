"""The timing ladder: one training step, from scalar Python to the array program, as a picture.

`benchmarks.publish` draws it from what `matrix_speed` measured.
"""

TITLES = {
    "demo": "micrograd's demo: 100 samples, 2-16-16-1",
    "minibatch 10": "784-30-10, sigmoid, minibatch of 10",
    "GPT": "character GPT, context 16, 16 dimensions",
}
COLOURS = {"found program": "#c2410c", "scalar engine": "#1d4ed8"}


def draw(figures, path):
    from matplotlib import pyplot as plt

    results = figures["1"]  # one thread
    cases = [case for case in TITLES if case in results]
    heights = [len(results[case]) + 0.8 for case in cases]
    figure, rows = plt.subplots(
        len(cases), figsize=(8, 0.42 * sum(heights)), sharex=True, layout="constrained", squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for case, axes in zip(cases, rows[:, 0], strict=True):
        ladder = sorted(results[case].items(), key=lambda item: -item[1])
        names = [name for name, _ in ladder]
        times = [t * 1e6 for _, t in ladder]
        axes.barh(names, times, color=[COLOURS.get(name, "#9ca3af") for name in names], height=0.65)
        for i, t in enumerate(times):
            axes.text(t * 1.1, i, f"{t / 1000:,.1f} ms" if t >= 1000 else f"{t:,.0f} µs", va="center", fontsize=9)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_title(TITLES[case], loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    rows[-1, 0].set_xlabel("time of one training step, µs (log scale)")
    rows[-1, 0].set_xlim(10, 3e6)
    figure.savefig(path, dpi=130)
