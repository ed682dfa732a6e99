"""What several test files share: a browser, and pictures of what it showed."""

import os
import shutil
import signal
import threading
import time
from importlib.util import find_spec

import pytest
from hypothesis import settings

# Slow machines are no errors. In CI, Hypothesis by itself takes the same examples every time.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

PICTURES = pytest.StashKey()


# In an installation without extras (`make test-bare`) these test files cannot even be imported, for lack of a package.
# Only `make test` installs JAX.
LEFT_OUT = {
    "test_cli.py": "click",
    "test_contributing.py": "numpy",
    "test_crosscheck.py": "numpy",
    "test_deltas.py": "mpmath",
    "test_docstrings.py": "numpy",
    "test_editions.py": "nbformat",
    "test_equations.py": "numpy",
    "test_exercises.py": "nbformat",
    "test_files.py": "click",
    "test_fuzz.py": "numpy",
    "test_interpreter.py": "numpy",
    "test_jax.py": "jax",
    "test_lecture.py": "nbformat",
    "test_matrix.py": "numpy",
    "test_notebooks.py": "nbformat",
    "test_passes.py": "numpy",
    "test_people.py": "numpy",
    "test_plots.py": "numpy",
    "test_processes.py": "numpy",
    "test_program_snapshots.py": "numpy",
    "test_program_values.py": "numpy",
    "test_questions.py": "nbformat",
    "test_readme.py": "click",
    "test_stacks.py": "numpy",
    "test_structure.py": "numpy",
    "test_walk.py": "numpy",
    "test_widget.py": "anywidget",
    "test_writing.py": "numpy",
}
# Tests of these files are skipped there where what they test says that such a package is missing. In all other
# files nothing may say so.
MAY_LACK = {
    "test_animation.py": ["Graphviz"],
    "test_anomaly.py": ["mpmath"],
    "test_check.py": ["mpmath"],
    "test_course.py": ["IPython"],
    "test_custom.py": ["mpmath", "numpy"],
    "test_docstrings.py": ["jax"],
    "test_draw.py": ["Graphviz"],
    "test_edges.py": ["numpy"],
    "test_exchange.py": ["numpy"],
    "test_flow.py": ["Graphviz"],
    "test_grid.py": ["Graphviz"],
    "test_hostile_text.py": ["Graphviz", "numpy", "rich"],
    "test_lecture.py": ["torch"],
    "test_live.py": ["Graphviz", "mpmath", "numpy"],
    "test_losses.py": ["numpy"],
    "test_nn.py": ["numpy"],
    "test_optim.py": ["numpy"],
    "test_page.py": ["Graphviz", "numpy"],
    "test_second_derivatives.py": ["numpy"],
    "test_stage.py": ["Graphviz", "axe_playwright_python", "rich"],
    "test_testing.py": ["mpmath"],
}
collect_ignore = [file for file, package in LEFT_OUT.items() if find_spec(package) is None]


@pytest.hookimpl(tryfirst=True)  # before any fixture is made: it fails without Chromium as well
def pytest_runtest_setup(item):
    """Fail a test that opens a browser without `@pytest.mark.browser`, which `-m "not browser"` leaves out."""
    if "chromium" in item.fixturenames and not item.get_closest_marker("browser"):
        pytest.fail("this test opens a browser: mark it with @pytest.mark.browser", pytrace=False)
    if item.get_closest_marker("browser") and "chromium" not in item.fixturenames:
        pytest.fail("this test opens no browser: remove its mark", pytrace=False)


def pytest_terminal_summary(terminalreporter, config):
    """Say where the pictures lie."""
    if PICTURES in config.stash:
        terminalreporter.write_line(f"pictures of the pages: {config.stash[PICTURES]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that lacks what its file may lack, or gets something of a package that is not installed."""
    if hasattr(item, "callspec") and "which is not installed>" in repr(item.callspec.params):
        pytest.skip("it gets something of a package that is not installed")
    try:
        return (yield)
    except (ModuleNotFoundError, RuntimeError) as error:
        no_graphviz = str(error).startswith("drawing needs Graphviz, and there is none")
        missing = "Graphviz" if no_graphviz else getattr(error, "name", None)
        package = "pygraphviz" if no_graphviz else missing  # where it is installed, such an error is a mistake
        if missing in MAY_LACK.get(item.path.name, ()) and find_spec(package) is None:
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium, without a window. CI must have it; elsewhere the tests that need it are skipped."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program and os.environ.get("CI"):
        pytest.fail("no Chromium on PATH, and in CI the page must be tested in a browser")
    if not program:
        pytest.skip("no Chromium on PATH: the page is not tested in a browser (`apt-get install chromium`)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--force-color-profile=srgb"]
        )
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium):
    """A function that opens a page, in which any error and any request to a host fails the test."""
    wrong, contexts = [], []

    def open_page(url=None, *, width=1200, height=900, **settings):
        context = chromium.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        context.set_default_timeout(5000)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on(
            "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or wrong.append(request.url)
        )
        if url:
            page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def lines():
    """Programs run their lines of NumPy, also those of graphs that would go node by node."""
    from microgradlike.matrix import program

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "INPUTS", 0)
        yield


@pytest.fixture
def holds_in_children():
    """A function that forks children, one after the other, while another thread works; in each, `check()` must be true."""

    def forked(check, work, children):
        going = True

        def keep_working():
            while going:
                work()

        thread = threading.Thread(target=keep_working)
        thread.start()
        try:
            for _ in range(children):
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        status = 0 if check() else 1
                    finally:
                        os._exit(status)  # whatever check raises, no second pytest goes on from here
                deadline = time.monotonic() + 20
                while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
                    time.sleep(0.001)
                if ended == (0, 0):
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                assert ended == (child, 0), "the child is stuck, or failed"
        finally:
            going = False
            thread.join()

    return forked


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, pytestconfig):
    """The folder of the pictures, outside the checkout: pytest keeps those of its last three runs."""
    pytestconfig.stash[PICTURES] = tmp_path_factory.mktemp("pictures", numbered=False)
    return pytestconfig.stash[PICTURES]


@pytest.fixture
def screenshot(pictures):
    """Keep a picture of a page, for a person to look at."""
    return lambda page, name: page.screenshot(path=pictures / f"{name}.png", full_page=True)
