"""How long the page of `steps` takes to answer, in Chromium: a leaf that moves, a step, 60 frames a second; and its size.

A time is that of computing both passes anew, of writing what changed, and of the browser's layout. Needs Playwright
and Chromium, as the tests marked `browser` do.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks import machine
from microgradlike import Value, steps

MOVE = """host => {
    const page = host.shadowRoot, slider = page.querySelector(".leaves input[type=range]"), times = [];
    page.querySelector(".leaves details").open = false;
    for (let n = 0; n < 60; n += 1) {
        const start = performance.now();
        slider.value = 0.01 * n - 0.3;
        slider.dispatchEvent(new Event("input"));
        host.getBoundingClientRect();
        times.push(performance.now() - start);
    }
    return times;
}"""
STEP = """host => {
    const forth = host.shadowRoot.querySelector(".forth"), times = [];
    host.shadowRoot.querySelector(".tab.backward").click();
    for (let n = 0; n < 60; n += 1) {
        const start = performance.now();
        forth.click();
        host.getBoundingClientRect();
        times.push(performance.now() - start);
    }
    return times;
}"""
FRAMES = """host => new Promise((done) => {
    const slider = host.shadowRoot.querySelector(".leaves input[type=range]"), times = [];
    const frame = (now) => {
        times.push(now);
        slider.value = 0.3 * Math.sin(times.length / 10);
        slider.dispatchEvent(new Event("input"));
        if (times.length < 120) requestAnimationFrame(frame);
        else done(times.slice(1).map((time, n) => time - times[n]));
    };
    requestAnimationFrame(frame);
})"""


def network(width, layers):
    """A network written out with + and ×, so that every node is drawn."""
    a = [Value(0.1 * i - 0.3, f"x{i}") for i in range(width)]
    for _ in range(layers):
        a = [sum((Value(0.1 * j - 0.2 * k) * x for k, x in enumerate(a)), Value(0.1)).tanh() for j in range(width)]
    return sum(a)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    machine.options(parser)
    options, rows = parser.parse_args(), []
    print(machine.describe())
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        print(f"Chromium {browser.version}")
        print("nodes   move a leaf   one step   frame while a leaf moves   script + style + data")
        for width, layers in ((2, 2), (3, 3), (7, 3)):
            result = steps(network(width, layers))
            path = result.save(Path(folder) / "page.html")
            size = len(path.read_bytes()) - sum(4 * ((len(each.encode()) + 2) // 3) for each in result.pictures[:1])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(path.as_uri())
            host = page.locator("div[id^=steps-]")
            if not host.locator(".leaves input[type=range]").count():
                host.get_by_text("What if a leaf").click()
                host.locator(".leaves input[type=range]").first.wait_for()
            page.keyboard.press("End")
            times = [statistics.median(host.evaluate(script)) for script in (MOVE, FRAMES, STEP)]
            print(
                f"{len(result.order):5} {times[0]:10.1f} ms {times[2]:7.1f} ms {times[1]:17.1f} ms {size / 1000:20.1f} KB"
            )
            rows.append((len(result.order), *times, size))
            page.close()
        browser.close()
    machine.save(options.json, rows)


if __name__ == "__main__":
    main()
