"""All published figures, measured anew: each benchmark in a process of its own, into benchmarks/figures.json.

    python -m benchmarks [NAME …]

Named ones alone are measured anew, and the others stay as they are. `gpu` is only for a machine that has one: name it.
What is published, `benchmarks.publish` then writes from the file. Takes some thirty minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import publish

ALL = {
    "micrograd_demo": [],
    "by_hand": [],
    "memory": [],
    "matrix_speed": ["--threads", "1", "2"],
    "beside_jax": ["--threads", "1", "2"],
    "matrix_structure": [],
    "matrix_checks": [],
    "irregular": [],
    "matrix_lowering": [],
    "jax_compile": [],
    "scale": [],
    "layout": [],
    "page": [],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(ALL), choices=[*ALL, "gpu"], metavar="NAME")
    options = parser.parse_args()
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5:
        print(f"Others compute on this machine (load {os.getloadavg()[0]:.1f}): the figures will be too large.")
    figures = publish.read()
    with tempfile.TemporaryDirectory() as folder:
        for name in options.names:
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", f"benchmarks.{name}", *ALL.get(name, []), "--json", str(path)]
            print(f"\n── {name}", flush=True)
            subprocess.run(command, check=True)
            figures[name] = json.loads(path.read_text(encoding="utf-8"))
            publish.write(figures)
    publish.main()


if __name__ == "__main__":
    main()
