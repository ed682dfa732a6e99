"""Packages that an installation may lack: what is missing is named, with the command that installs it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

# Each package, and the extra of pyproject.toml that brings it.
EXTRAS = {
    "anywidget": "widget", "click": "cli", "jax": "jax", "matplotlib": "plots", "mpmath": "check", "numpy": "matrix",
    "optax": "jax", "orbax": "jax", "rich": "cli",
}  # fmt: skip


class MissingPackage(ModuleNotFoundError):
    """What is asked for needs a package that is not installed.

    It stands in for a function that cannot be imported, so that a program may import what it never calls.
    """

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        raise self


@contextmanager
def needed_for(purpose: str, extra: str = "") -> Iterator[None]:
    """Raise MissingPackage where a package is imported that is not installed: one line says what to install.

    `extra` is for what needs several packages; by itself it is the one that brings the missing package. A package
    that is installed and fails to import raises what it raises.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        command = f'pip install "microgradlike[{extra or EXTRAS[error.name]}]"'  # in the quotes that every shell knows
        raise MissingPackage(f"{purpose} needs {error.name}: {command}", name=error.name) from None
