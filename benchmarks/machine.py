"""What the figures were measured on, which every benchmark prints first, and the file into which it writes them."""

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def describe() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in cpuinfo.open(encoding="utf-8") if "model name" in line]
        if cpuinfo.exists()
        else []
    )
    cpu = models[0] if models else platform.processor() or platform.machine()
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}, "
        f"{os.cpu_count()} cores, {cpu}"
    )


def versions() -> dict[str, str]:
    """Return the versions of the packages that compute, with the BLAS of NumPy and its kernel."""
    found = {}
    for package in ("numpy", "jax", "torch", "micrograd"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if "numpy" in found:
        import numpy as np

        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        found["BLAS"] = f"{blas['name']} {blas['version']}, {kernel()}"
    return found


def kernel() -> str:
    """Return the name of the processor for which OpenBLAS has chosen its kernels."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return "kernel unknown: threadpoolctl is not installed"
    return next((each["architecture"] for each in threadpool_info() if "architecture" in each), "kernel unknown")


def in_a_process(module: str, *arguments: object, env: dict[str, str] | None = None) -> Any:
    """Return what `python -m module --worker ARGUMENTS` prints as JSON: a contestant in a process of its own."""
    command = [sys.executable, "-m", module, "--worker", *map(str, arguments)]
    return json.loads(subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE).stdout)


def options(parser: argparse.ArgumentParser) -> None:
    """Add the option that every benchmark has."""
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")


def save(path: Path | None, figures: Any) -> None:
    """Write the figures and what they were measured on, if there is a file to write to."""
    if path:
        about = {"machine": describe(), "versions": versions(), "figures": figures}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
