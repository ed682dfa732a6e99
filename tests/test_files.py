"""Whatever saves a file replaces it whole, keeps what the file was, and refuses what is no file.

Every way to save (all commands, every `.save`) meets every kind of file.
"""

import errno
import os
import resource
import stat
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from microgradlike import Value, draw, steps
from microgradlike.cli.commands import main
from microgradlike.view.files import replace_file
from microgradlike.view.plots import loss_curve, save


def loss():
    x = Value(3.0, "x")
    return (x * x).tanh()


def command(*args):
    """A way to save by a command: the error line of an exit code of 2 is raised as an OSError."""

    def run(path):
        result = CliRunner().invoke(main, [str(path) if arg is ... else arg for arg in args])
        if result.exit_code == 2 and result.stderr.startswith("Error: "):
            assert len(result.stderr.splitlines()) == 1
            raise OSError(result.stderr)
        assert result.exit_code == 0, result.output

    return run


TRAIN = "train", "moons", "--sizes", "2,1", "--steps", "1", "--plot", ...
SAVES = {
    "replace_file": (lambda path: replace_file(path, b"<svg "), "x.svg"),
    "draw svg": (lambda path: draw(loss()).save(path), "x.svg"),
    "draw png": (lambda path: draw(loss()).save(path), "x.png"),
    "draw pdf": (lambda path: draw(loss()).save(path), "x.pdf"),
    "draw dot": (lambda path: draw(loss()).save(path), "x.dot"),
    "steps page": (lambda path: steps(loss()).save(path), "x.html"),
    "steps film": (lambda path: steps(loss()).save(path), "x.svg"),
    "plot png": (lambda path: save(loss_curve([2.0, 1.0], ""), path), "x.png"),
    "plot svg": (lambda path: save(loss_curve([2.0, 1.0], ""), path), "x.svg"),
    "plot pdf": (lambda path: save(loss_curve([2.0, 1.0], ""), path), "x.pdf"),
    "explain --svg": (command("explain", "x*x", "x=1", "--svg", ...), "x.svg"),
    "explain --html": (command("explain", "x*x", "x=1", "--html", ...), "x.html"),
    "train --plot": (command(*TRAIN), "x.png"),
}
STARTS = {
    ".svg": b"<",
    ".png": b"\x89PNG",
    ".pdf": b"%PDF",
    ".dot": b"digraph",
    ".html": b"<!doctype html>",
    ".txt": b"",
}


@pytest.fixture(params=SAVES, scope="module")
def way(request):
    return SAVES[request.param]


def is_new(path):
    content = path.read_bytes()
    return content.startswith(STARTS[path.suffix]) and content != b"old"


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_every_kind_of_file_is_kept_or_refused(way, tmp_path, umask, monkeypatch):
    write, name = way

    def folder(kind):
        (tmp_path / kind).mkdir()
        return tmp_path / kind / name

    new = folder("new")
    write(new)
    assert is_new(new) and stat.S_IMODE(new.stat().st_mode) == 0o666 & ~umask

    for mode in (0o600, 0o664, 0o755):
        old = folder(oct(mode))
        old.write_bytes(b"old")
        old.chmod(mode)
        write(old)
        assert is_new(old) and stat.S_IMODE(old.stat().st_mode) == mode

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for kind, target in (("link", elsewhere / f"old{new.suffix}"), ("dangling", elsewhere / f"none{new.suffix}")):
        link = folder(kind)
        link.symlink_to(os.path.relpath(target, link.parent))
        if kind == "link":
            target.write_bytes(b"old")
        write(link)
        assert link.is_symlink() and is_new(target)

    def refused(path, why):
        before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        with pytest.raises(OSError, match=why):
            write(path)
        assert before == (sorted(path.parent.iterdir()) if path.parent.is_dir() else [])

    a_folder = folder("folder")
    a_folder.mkdir()
    refused(a_folder, "cannot write .*: it is a folder")
    pipe = folder("pipe")
    os.mkfifo(pipe)
    refused(pipe, "cannot write .*: it is a device or a pipe")
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    for device in ("/dev/full", "/dev/null", "/dev/stdout"):
        to_device = folder(device[1:].replace("/", "-"))
        to_device.symlink_to(device)
        if not to_device.is_file():  # standard output may well be one
            refused(to_device, "cannot write .*: it is a device or a pipe")
    loop = folder("loop")
    loop.symlink_to(loop)
    refused(loop, "cannot write .*[Ss]ymbolic link")
    assert loop.is_symlink()

    nowhere = folder("nowhere")
    nowhere.symlink_to(new / "x")
    refused(nowhere, "cannot write .*Not a directory")

    protected = folder("protected")
    protected.write_bytes(b"old")
    with monkeypatch.context() as patch:  # who runs the tests as root may write to anything
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        refused(protected, "cannot write .*: it is read-only")
    assert protected.read_bytes() == b"old"


def test_the_demo_keeps_and_refuses_the_same(tmp_path):
    write, out = command("demo", "--steps", "0", "--out", ...), tmp_path / "[red]demo"
    write(out)
    names = {path.name for path in out.iterdir()}
    assert names == {"graph.svg", "backward.html", "explanation.txt", "digits.png"}
    for name in names:
        (out / name).rename(tmp_path / name)
        (tmp_path / name).write_bytes(b"old")
        (tmp_path / name).chmod(0o640)
        (out / name).symlink_to(tmp_path / name)
    write(out)
    for name in names:
        assert (out / name).is_symlink() and is_new(tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640
    for name in names:
        (out / name).unlink()
        os.mkfifo(out / name)
        with pytest.raises(OSError, match=rf"cannot write .*{name}.*it is a device or a pipe"):
            write(out)
        (out / name).unlink()
    with pytest.raises(OSError, match="File exists"):
        write(tmp_path / "graph.svg")


def test_a_full_disk_leaves_the_old_file(way, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    write, name = way
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(OSError, match=r"cannot write .*: No space left on device"):
        write(path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_grow_is_left_as_it_was(tmp_path):
    path = tmp_path / "x.dot"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=r"^cannot write '.*x.dot': File too large$") as failed:
            draw(loss()).save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.__cause__.errno == errno.EFBIG
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


NAMES = {"ascii": "x" * 251 + ".svg", "two bytes a letter": "é" * 125 + "x.svg", "short": "x.svg", "dots": "...svg.svg"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_may_be_as_long_as_a_folder_allows(name, tmp_path):
    name = os.fsdecode(name.encode())  # in an ASCII locale, too
    for _ in range(2):
        draw(loss()).save(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match=r"cannot write .*: File name too long"):
        draw(loss()).save(tmp_path / ("x" * 252 + ".svg"))


def test_a_relative_path_and_a_name_that_is_no_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert draw(loss()).save("x.svg") == Path("x.svg")
    odd = os.fsdecode(b"\xff.svg")
    draw(loss()).save(odd)
    assert {os.fsencode(each.name) for each in tmp_path.iterdir()} == {b"x.svg", b"\xff.svg"}
    assert "�.svg" in CliRunner().invoke(main, ["explain", "x", "x=1", "--svg", odd]).output


def test_a_folder_that_is_none(way, tmp_path):
    write, name = way
    (tmp_path / "file").touch()
    for folder in ("none", "file"):
        with pytest.raises(OSError, match=r"cannot write .*there is no folder"):
            write(tmp_path / folder / name)


def test_who_reads_meanwhile_finds_the_old_or_the_new(tmp_path):
    path, contents, seen, stop = tmp_path / "x", [bytes([i]) * 100_000 for i in range(20)], set(), threading.Event()
    replace_file(path, contents[0])

    def read():
        while not stop.is_set():
            seen.add(path.read_bytes())
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for content in contents:
            replace_file(path, content)
    finally:
        stop.set()
        reader.join()
    assert seen <= set(contents)
