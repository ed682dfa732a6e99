"""What the figures were measured on: every benchmark prints this first."""

import os
import platform
from pathlib import Path


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
