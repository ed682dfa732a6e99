"""The launcher of several processes: it waits for all, or says which one was lost, and ends the others."""

import sys
import time

import pytest

from microgradlike.scale import processes

LOST = "and the others were stopped. With --checkpoint, the same command goes on from the last one.\n"


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """A function that launches two workers that are shell scripts."""

    def launched(*scripts):
        program = tmp_path / "worker"
        cases = "\n".join(f'"{i} 2 127.0.0.1:"*) {script};;' for i, script in enumerate(scripts))
        program.write_text(f'#!/bin/sh\ncase "${processes.PROCESS}" in\n{cases}\nesac\n', encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return processes.launch(["train", "moons"], len(scripts))

    return launched


@pytest.mark.parametrize(
    "scripts, code, out, err",
    [
        (("sleep 0.3; echo 0 $*", "sleep 0.5; echo 1"), 0, "0 -m microgradlike train moons\n", ""),
        (("echo no >&2; exit 2", "exec sleep 60"), 2, "", "no\n"),
        (
            ("exec sleep 60", "echo no >&2; exit 1"),
            3,
            "",
            f"Error: process 2 of 2 failed with exit code 1 (no), {LOST}",
        ),
        (("exec sleep 60", "exit 1"), 3, "", f"Error: process 2 of 2 failed with exit code 1, {LOST}"),
        (
            ("echo first >&2; echo last >&2; exit 4", "exec sleep 60"),
            3,
            "",
            f"Error: process 1 of 2 failed with exit code 4 (last), {LOST}",
        ),
        (("echo no >&2; kill -9 $$", "exit 1"), 3, "", f"Error: process 1 of 2 was ended by signal 9, {LOST}"),
        (("kill -6 $$", "exec sleep 60"), 3, "", f"Error: process 1 of 2 no longer heard from another, {LOST}"),
    ],
)
def test_the_exit_codes_of_all_become_one_and_a_line_says_what_went_wrong(launch, capfd, scripts, code, out, err):
    start = time.monotonic()
    assert launch(*scripts) == code
    assert time.monotonic() - start < 30
    assert tuple(capfd.readouterr()) == (out, err)


def test_a_long_last_line_is_cut(launch, capfd):
    launch(f"echo {'x' * 1000} >&2; exit 1", "")
    assert 100 < capfd.readouterr().err.count("x") < 400


def test_after_ctrl_c_all_are_ended(launch, monkeypatch):
    def ctrl_c(_):
        raise KeyboardInterrupt

    start = time.monotonic()
    monkeypatch.setattr(processes.time, "sleep", ctrl_c)
    assert launch("exec sleep 60", "exec sleep 60") == 130
    assert time.monotonic() - start < 30


def test_a_process_by_itself_is_no_worker(monkeypatch):
    assert (processes.is_worker(), processes.join()) == (False, 0)
    monkeypatch.setenv(processes.PROCESS, "1 2 127.0.0.1:9")
    assert processes.is_worker() is True
