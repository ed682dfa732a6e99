import io
import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from microgradlike import __version__, nn, training
from microgradlike.cli.commands import main
from microgradlike.cli.expression import FUNCTIONS, METHODS
from microgradlike.nn import ACTIVATIONS, LOSSES


def run(*args, code=0):
    result = CliRunner().invoke(main, args)
    assert code is None or result.exit_code == code, result.output
    if code in (0, 2, None):
        assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_explain_prints_the_chain_rule():
    lines = run("explain", "sigmoid(w*x + b)", "w=2", "x=-1", "b=0.5").stdout.splitlines()
    assert lines[0] == "L = σ(w·x + b) = 0.1824"
    assert re.search(r"∂L/∂w \+= ∂L/∂v₁ · ∂₁v₁ = 0.1491 × -1 = -0.1491 .*∂₁v₁ = x", "\n".join(lines))
    assert max(map(len, lines)) <= 80


def test_explain_takes_an_expression_that_begins_with_a_minus():
    assert "∂L/∂x = -6" in run("explain", "-x**2", "x=3").stdout


def test_explain_abbreviates_unless_full():
    text = "+".join(["x*x"] * 12)
    abbreviated = run("explain", text, "x=1").stdout
    assert "left out (--full shows them all)" in abbreviated
    assert "full=True" not in abbreviated
    assert "more inputs (--full shows them all)" in run("explain", f"sum([{'x, ' * 12}])", "x=1").stdout
    assert "left out" not in run("explain", text, "x=1", "--full").stdout


def test_explain_draws_the_gradients(tmp_path):
    run("explain", "x*x", "x=3", "--svg", str(tmp_path / "graph.svg"))
    svg = (tmp_path / "graph.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert "∇ 6" in svg


def test_explain_writes_a_page_that_steps_through_it(tmp_path):
    said = run("explain", "x*x", "x=3", "--html", str(tmp_path / "page.html")).stdout
    assert "page.html" in said and "To share it, send the file" in said
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_explain_steps_at_the_press_of_a_key(monkeypatch):
    def key():
        pressed = next(keys)
        if pressed == "\x03":
            raise KeyboardInterrupt
        return pressed

    # forward twice, back, forward past the end, Ctrl-C
    keys = iter(["\x1b[C", "\x1b[C", "\x1b[D", "\x1b[C", "\x1b[C", "\x1b[C", "\x03"])
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(
        "microgradlike.cli.commands.sys", SimpleNamespace(stdin=terminal, stdout=terminal, stderr=terminal)
    )
    cleared = []
    monkeypatch.setattr("click.getchar", key)
    monkeypatch.setattr("click.clear", lambda: cleared.append(True))
    output = run("explain", "x*x", "x=3", "--step").stdout
    assert len(cleared) == 7
    assert re.findall(r"step (\d) of 3", output) == ["0", "1", "2", "1", "2", "3", "3"]
    assert max(map(len, re.findall("step .*", output))) <= 38  # fits 40 columns, also where there are 100 steps
    assert output.count("L = x·x = 9") == 4  # in the forward step, twice, and in the last step, twice
    assert len(re.findall("^L = x·x$", output, re.MULTILINE)) == 7 and "∂₁L = x" in output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["explain"], "Missing argument 'EXPRESSION'"),
        (["explain", "w*x", "w=1"], "no number for x: add x=…"),
        (["explain", "sigmod(x)", "x=1"], "unknown function sigmod; known are"),
        (["explain", "x", "x=one"], "expected name=number, as in w=2, got 'x=one'"),
        (["explain", "x", "x"], "expected name=number"),
        (["explain", "x", "x=1", "x=2"], "two numbers for x"),
        (["explain", "x", "x=1", "--svg", "graph.gif"], "ends in .svg or .png or .pdf"),
        (["explain", "x", "x=1", "--svg", "no/such/folder/graph.svg"], "there is no folder"),
        (["explain", "x", "x=1", "--html", "page.htm"], "ends in .html"),
        (["explain", "x", "x=1", "--step"], "--step needs a terminal"),
        (["check", "--sizes", "4"], "expected the number of inputs and the size of each layer"),
        (["check", "--sizes", "4,0"], "expected the number of inputs and the size of each layer"),
        (["check", "--sizes", "4,x"], "expected the number of inputs and the size of each layer"),
        (["check", "--activation", "step"], "'step' is not one of 'linear', "),
        (["check", "--loss", "hinge"], "let the sizes end with 1"),
        (["equations", "--loss", "hinge"], "let the sizes end with 1"),
        (["train"], "Missing argument '{moons|digits}'. Choose from: moons, digits"),
        (["train", "moons", "--lr", "nan"], "the learning rate must be a finite number"),
        (["train", "moons", "--lr", "inf", "--engine", "matrix"], "the learning rate must be a finite number"),
        (["train", "stars"], "'stars' is not one of 'moons', 'digits'"),
        (["train", "moons", "--steps", "0"], "0 is not in the range"),
        (["train", "moons", "--sizes", "3,1"], "moons needs 2 inputs and 1 outputs"),
        (["train", "moons", "--plot", "loss.gif"], "ends in .svg or .png or .pdf"),
        (["demo", "--steps", "-1"], "-1 is not in the range"),
        (["dance"], "No such command 'dance'"),
        (["--dance"], "No such option"),
    ],
)
def test_bad_input_gets_one_clear_line_and_exit_code_2(args, message):
    result = run(*args, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_check_agrees_for_every_activation(activation):
    assert "All agree" in run("check", "--activation", activation, "--sizes", "3,2,2").stdout


@pytest.mark.parametrize("loss", LOSSES)
def test_check_agrees_for_every_loss(loss):
    assert "All agree" in run("check", "--loss", loss, "--sizes", "3,4,1", "--activation", "sigmoid").stdout


@pytest.mark.parametrize("loss", LOSSES)
def test_equations_are_those_of_the_textbook(loss):
    output = run("equations", "--sizes", "4,3,1", "--loss", loss).stdout
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert lines[0] == "z¹ = W¹ x + b¹ 3"
    assert "∂C/∂W¹ = δ¹ xᵀ 3×4" in lines


def test_check_fails_where_a_way_differs(monkeypatch):
    from microgradlike.nn import deltas

    backpropagate = deltas.backpropagate

    def wrong(*args):
        result = backpropagate(*args)
        result.grad_w[0][0, 0] *= 1.001
        return result

    monkeypatch.setattr(sys.modules["microgradlike.check.crosscheck"], "backpropagate", wrong)
    assert "They disagree" in run("check", code=1).stdout


def test_help_names_every_choice_and_every_function():
    said = {command: run(command, "--help").stdout for command in ("explain", "check", "equations", "train")}
    assert all(f"[{'|'.join(ACTIVATIONS)}]" in said[command] for command in ("check", "equations", "train"))
    assert all(f"[{'|'.join(LOSSES)}]" in said[command] for command in ("check", "equations"))
    assert f"{{{'|'.join(training.TASKS)}}}" in said["train"]
    plain, of_lists = re.search(r"the functions (.*?); of lists\s(.*?)\.", said["explain"], re.DOTALL).groups()
    assert re.findall(r"\w+", plain) == [*METHODS, "maximum", "minimum"]
    assert re.findall(r"\w+", of_lists) == [name for name in FUNCTIONS if name not in ("maximum", "minimum")]


def test_train_learns_and_draws_the_loss(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = run("train", "moons", "--sizes", "2,8,1", "--steps", "60", "--optimizer", "adam", "--lr", "0.1").output
    right = int(re.search(r"(\d+) of 200 samples", output)[1])
    assert right > 160
    assert (tmp_path / "moons-loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("task", training.TASKS)
def test_a_network_has_an_output_for_each_class_or_one_for_two(task):
    task = training.TASKS[task]()
    assert {len(x) for x, _ in task.train + task.test} == {task.sizes[0]}
    assert {y for _, y in task.train} == {y for _, y in task.test} == set(range(max(2, task.sizes[-1])))


def test_training_repeats_with_its_seeds():
    def losses(seed):
        model = nn.MLP(2, [3, 1], "tanh", seed=0)
        steps = training.steps(model, training.moons().train, nn.SGD(model.parameters(), 0.1), 10, seed)
        return list(islice(steps, 5))

    assert losses(1) == losses(1) != losses(2)


@pytest.mark.parametrize("task", [training.moons, training.digits])
def test_the_matrix_engine_takes_the_same_steps(task):
    task = task()
    scalar, matrix = (nn.MLP(task.sizes[0], task.sizes[1:], "tanh", seed=0, init="xavier") for _ in range(2))
    expected = training.steps(scalar, task.train, nn.Adam(scalar.parameters(), 0.01), 10, seed=1)
    program = training.program(matrix, task.train[0])
    found = training.matrix_steps(program, task.train, nn.Adam(program.parameters, 0.01), 10, seed=1)
    losses = list(islice(expected, 8))
    assert list(islice(found, 8)) == pytest.approx(losses, rel=1e-11)
    assert losses[-1] < losses[0]
    before = [p.data for p in matrix.parameters()]
    found.close()
    assert [p.data for p in matrix.parameters()] == pytest.approx([p.data for p in scalar.parameters()], rel=1e-9)
    assert before != [p.data for p in matrix.parameters()]


def test_train_with_the_matrix_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = run("train", "digits", "--steps", "2000", "--engine", "matrix").output
    assert int(re.search(r"(\d+) of 297 samples", output)[1]) > 255


def test_an_epoch_takes_every_sample_once():
    class Recorder(nn.MLP):
        def __call__(self, x):
            seen.append(tuple(x))
            return super().__call__(x)

    seen = []
    model, samples = Recorder(2, [1]), training.moons().train[:25]
    steps = training.steps(model, samples, nn.SGD(model.parameters(), 0.1), batch_size=10, seed=0)
    for epoch in range(2):
        assert len(list(islice(steps, 3))) == 3
        assert sorted(seen[25 * epoch :]) == sorted(tuple(x) for x, _ in samples)
    assert seen[:25] != seen[25:]


def test_ctrl_c_keeps_what_was_learnt(tmp_path, monkeypatch):
    def interrupted(*args):
        yield from (0.5, 0.25)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "steps", interrupted)
    output = run("train", "moons", "--plot", str(tmp_path / "loss.pdf"), code=130).output
    assert "stopped after 2 steps" in output
    assert "Test accuracy" in output
    assert (tmp_path / "loss.pdf").exists()


def test_ctrl_c_exits_as_a_shell_expects_and_not_as_a_disagreement(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("microgradlike.check.crosscheck.agreement", interrupted)
    assert run("check", code=130).output.strip() == ""


def test_training_that_diverges_is_shown_in_four_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = run("train", "moons", "--sizes", "2,1", "--steps", "20", "--lr", "1e300").output
    assert re.search(r"loss \d\.\d{3}e\+\d{3} ", output)


def test_the_demo_at_a_reduced_size(tmp_path):
    output = run("demo", "--steps", "20", "--out", str(tmp_path / "demo")).output
    assert "1500 handwritten digits; a [64, 16, 10] network of 1210 scalar parameters" in output
    assert int(re.search(r"(\d+) are recognised", output)[1]) > 120
    assert "∂C/∂C = 1" in output
    assert "All agree" in output
    assert "δ¹ xᵀ" in output
    written = {path.name: path.read_bytes() for path in (tmp_path / "demo").iterdir()}
    assert written.keys() == {"graph.svg", "backward.html", "explanation.txt", "digits.png"}
    assert written["graph.svg"].startswith(b"<svg")
    assert written["digits.png"].startswith(b"\x89PNG")
    assert "left out" not in written["explanation.txt"].decode()
    assert re.findall(r"─ (\d)\. [A-Z]", output) == ["1", "2", "3", "4", "5"]
    look = output.partition("5. Look")[2]
    assert look.index("backward.html") < look.index("explanation.txt") and "open it first" in look
    assert "\nNext:\n  " in look
    assert "∂C/∂" in written["backward.html"].decode() and "<script>" in written["backward.html"].decode()
    assert all(str(tmp_path / "demo" / name) in output for name in written)  # unbroken, to be copied


def test_help_teaches_and_loads_nothing_heavy():
    program = (
        "import sys\nfrom microgradlike.cli.commands import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'rich', 'matplotlib', 'graphviz', 'mpmath'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True).stdout
    assert output.endswith("[]\n")
    for command in ("demo", "explain", "check", "equations", "train"):
        assert command in output
        assert (f"microgradlike {command} " in run(command, "--help").stdout) == (command != "demo")
    assert run().stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("args", "shown"),
    [(["explain", "x*x", "x=3"], "∂L/∂x = 6"), (["check"], "δ²"), (["train", "--help"], "σ")],
)
def test_a_file_or_a_pipe_gets_utf_8_whatever_the_code_page(args, shown):
    command = [sys.executable, "-m", "microgradlike", *args]
    env = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    result = subprocess.run(command, env=env, capture_output=True, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "")
    assert shown in result.stdout


def test_a_terminal_keeps_its_code_page(monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", Terminal(io.BytesIO(), encoding="cp1252"))
    with pytest.raises(SystemExit):
        main(["train", "stars", "--help"])
    sys.stdout.flush()
    assert "learning rate ?" in sys.stdout.buffer.getvalue().decode("cp1252")


def test_the_package_runs_as_a_module():
    result = subprocess.run([sys.executable, "-m", "microgradlike", "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, f"microgradlike {__version__}\n")


# ── Output that nobody reads, or that nothing can take ─────────────────────────────────────────

COMMANDS = {
    "explain": ["explain", "x*x", "x=3"],
    "check": ["check", "--sizes", "2,1"],
    "equations": ["equations", "--sizes", "2,1"],
    "train": ["train", "moons", "--sizes", "2,1", "--steps", "1"],
    "demo": ["demo", "--steps", "0"],
    "no command": [],
    "--help": ["--help"],
    "help of a command": ["train", "--help"],
    "--version": ["--version"],
}


def process(args, folder, **streams):
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "microgradlike", *args]
    return subprocess.run(command, cwd=folder, env=env, encoding="utf-8", **{"stderr": subprocess.PIPE, **streams})


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_a_closed_pipe_ends_a_command_quietly_and_is_no_disagreement(args, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    result = process(args, tmp_path, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, "")


@pytest.mark.parametrize("args", COMMANDS.values(), ids=COMMANDS)
def test_a_full_device_gets_one_line_and_exit_code_2(args, tmp_path):
    with open("/dev/full", "w") as full:
        result = process(args, tmp_path, stdout=full)
    assert (result.returncode, result.stderr) == (2, "Error: cannot write the output: No space left on device\n")


def test_only_an_error_that_names_no_file_is_of_the_output(tmp_path):
    """Another one is an error of this package: it keeps its traceback."""
    commands = type(main)()
    commands.command("full")(lambda: os.write(os.open("/dev/full", os.O_WRONLY), b"text"))
    commands.command("missing")(lambda: (tmp_path / "missing").read_text(encoding="utf-8"))
    result = CliRunner().invoke(commands, ["full"])
    assert (result.exit_code, result.stderr) == (2, "Error: cannot write the output: No space left on device\n")
    assert isinstance(CliRunner().invoke(commands, ["missing"]).exception, FileNotFoundError)


@pytest.mark.parametrize("stream", ["/dev/full", "closed pipe"])
def test_an_error_that_cannot_be_told_is_still_its_exit_code(stream, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "w") as full:
        result = process(["check", "--sizes", "x"], tmp_path, stderr=full if stream == "/dev/full" else writer)
    os.close(writer)
    assert result.returncode == 2


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
@pytest.mark.parametrize("args", ["check --sizes 2,1", "explain x x=1", "--help"])
def test_without_a_console_there_is_no_error(closed, args, tmp_path):
    command = f"{sys.executable} -m microgradlike {args} {closed}"
    result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "")


# ── The result first, then the files ───────────────────────────────────────────────────────────


@pytest.fixture
def no_graphviz(monkeypatch):
    monkeypatch.setattr("microgradlike.view.diagram._graphvizes", lambda: iter(()))


@pytest.mark.parametrize("option", [("--svg", "x.svg"), ("--svg", "x.pdf"), ("--html", "x.html")])
def test_without_graphviz_the_table_is_shown_and_the_error_says_what_to_install(
    option, tmp_path, monkeypatch, no_graphviz
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["explain", "x*x", "x=3", *option])
    assert result.exit_code == 2
    assert "∂L/∂x = 6" in result.stdout
    assert re.fullmatch(
        r"Error: drawing needs Graphviz, and there is none\. .*pip install .*pygraphviz.*\n", result.stderr
    )
    assert not list(tmp_path.iterdir())


def test_without_graphviz_the_demo_writes_all_but_the_graph(tmp_path, no_graphviz):
    result = CliRunner().invoke(main, ["demo", "--steps", "0", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 2
    assert "All agree" in result.stdout and "digits.png" in result.stdout
    assert re.fullmatch("Error: drawing needs Graphviz.*\n", result.stderr)
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        "explanation.txt",
        "digits.png",
    }


def test_the_accuracy_is_shown_where_the_plot_cannot_be_written(tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr("microgradlike.view.plots.replace_file", full)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["train", "moons", "--sizes", "2,1", "--steps", "2"])
    assert result.exit_code == 2
    assert re.search(r"Test accuracy .*%: \d+ of 200 samples", result.stdout)
    assert result.stderr == "Error: cannot write moons-loss.png: No space left on device\n"
    assert "The loss curve is in" not in result.stdout


def test_the_plot_of_training_that_nobody_named_is_checked_before_it(tmp_path, monkeypatch):
    (tmp_path / "moons-loss.png").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "moons-loss.png': it is a folder" in run("train", "moons", code=2).stderr


def test_without_a_step_there_is_no_curve(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(training, "steps", interrupted)
    monkeypatch.chdir(tmp_path)
    assert "The loss curve is in" not in run("train", "moons", code=130).output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("option", "terms"), [("--svg", 333), ("--svg", 2000), ("--html", 600)])
def test_too_large_a_picture_names_the_option_that_draws_a_part(option, terms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = ["explain", "+".join(["x"] * terms), "x=1", option, f"x.{option[2:]}"]
    error = run(*args, code=None).stderr
    assert re.fullmatch(
        r"Error: [\d,]+ nodes are too many to draw: --depth \d+ draws those nearest to the result\n", error
    )
    depth = re.search(r"--depth (\d+)", error)[1] if option == "--svg" else "9"  # Graphviz takes long for 500 nodes
    assert "x." in run(*args, "--depth", depth).stdout
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["[red]x", "[bold]", ":smile:", "a\x1b[31mb", "ünï", "a b", "%s", "{x}"])
def test_paths_are_shown_as_they_are(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(name.encode())  # as the command line gives it, in an ASCII locale too
    shown = re.sub("[\x1b\ud800-\udfff]", "�", name)
    assert f"The graph is in {shown}.svg" in run("explain", "x", "x=1", "--svg", f"{name}.svg").stdout
    assert (tmp_path / f"{name}.svg").exists()
    error = run("explain", "x", "x=1", "--svg", f"{name}/x.svg", code=2).stderr
    assert "\x1b" not in error and "there is no folder" in error


def test_the_demo_shows_its_folder_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "  [red]x/graph.svg" in run("demo", "--steps", "0", "--out", "[red]x").stdout


@pytest.mark.parametrize("typed", ["µ", "μ"])
@pytest.mark.parametrize("given", ["µ", "μ"])
def test_the_keyboards_mu_is_the_greek_letter(typed, given):
    assert "∂L/∂μ = 6" in run("explain", f"{typed}*{typed}", f"{given}=3").stdout
    assert "two numbers for μ" in run("explain", "μ", f"{typed}=1", f"{given}=2", code=2).stderr


def test_equations_explain_the_loss_that_check_checks():
    options = ["--output", "softmax", "--loss", "cross_entropy"]
    text = " ".join(run("equations", *options).stdout.split())
    assert "C = logsumexp(z²) − y · z²" in text
    assert "δ² = softmax(z²) − y" in text
    assert "All agree" in run("check", *options).stdout


def test_a_long_error_breaks_between_words_in_a_terminal_alone(monkeypatch):
    program = (
        "import sys\nfrom microgradlike.cli.commands import main\n"
        "sys.stderr.isatty = lambda: {terminal}\nmain(['explain', 'sigmod(x)', 'x=1'])"
    )
    one, broken = (
        subprocess.run(
            [sys.executable, "-c", program.format(terminal=terminal)],
            env={**os.environ, "COLUMNS": "40"}, stderr=subprocess.PIPE, encoding="utf-8", check=False,
        ).stderr
        for terminal in (False, True)
    )  # fmt: skip
    assert one.count("\n") == 1 and broken.split() == one.split()
    assert broken.count("\n") > 3 and max(map(len, broken.splitlines())) <= 40
