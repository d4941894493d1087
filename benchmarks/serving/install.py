"""Make the peers' environments: python -m benchmarks.serving.install DIR [NAME ...]

Each peer gets its own below DIR, with the versions that the figures in the docs are of. nvidia-pytriton carries a
Python 3.11 of its own, which must not be older than the environment's: PYTRITON_PYTHON names one that it works with
where that is not the one that runs this (Debian 12's own, 3.11.2, does).
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.servers import python_of

_SHARED = ("onnxruntime==1.31.1", "tokenizers==0.23.3", "numpy")
REQUIREMENTS = {
    "fastapi": ("fastapi==0.165.0", "uvicorn[standard]==0.54.0"),
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.39",),
    "mlserver": ("mlserver==1.7.1",),
    "pytriton": ("nvidia-pytriton==0.7.0",),
    "ray": ("ray[serve]==2.60.0",),
}


def main(folder: str, *names: str) -> None:
    failed = []
    for name in names or REQUIREMENTS:
        print(f"{name}: {', '.join(REQUIREMENTS[name])}", flush=True)
        maker = os.environ.get("PYTRITON_PYTHON", sys.executable) if name == "pytriton" else sys.executable
        python = str(python_of(Path(folder), name))
        made = subprocess.run([maker, "-m", "venv", str(Path(folder) / name)], check=False)
        pip = [python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[name], *_SHARED]
        if made.returncode or subprocess.run(pip, check=False).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"not installed: {', '.join(failed)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
