"""The public TUF conformance suite, with our client under it; in an environment of its own, as it pins its libraries.

    python -m tests.conformance.tuf_suite [--suite FOLDER] [--write FILE]

It takes some minutes, and is no part of `make test`. No failure is expected, and none is tolerated: the suite's list of
expected ones is not given. Where the suite or the program `faketime` cannot be had, it says so and skips.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import venv
from argparse import ArgumentParser
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

COMMIT = "eec841c186f81f2d9d8d30460c7e7deefa615f9e"  # of 2026-08-17
SUITE = f"git+https://github.com/theupdateframework/tuf-conformance@{COMMIT}"
CLIENT = Path(__file__).with_name("tuf_client.py")
ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".venv" / "conformance"


def main() -> int:
    parser = ArgumentParser()
    parser.add_argument("--suite", default=SUITE, help=f"a checkout of the suite, at {COMMIT[:12]}")
    parser.add_argument("--write", type=Path, help="where to write the result, as a table")
    said = parser.parse_args()
    if shutil.which("faketime") is None:
        return skip("the program faketime is not installed; on Debian: apt install faketime")
    if (why := install(said.suite)) is not None:
        return skip(f"the suite cannot be had: {why}")
    tests = run()
    if said.write is not None:
        said.write.write_text(page(tests), encoding="utf-8")
    print(page(tests))
    return 0 if tests and all(test["outcome"] == "passed" for test in tests) else 1


def skip(why: str) -> int:
    print(f"skipped: {why}")
    return 0


def install(suite: str) -> str | None:
    """Make the environment; why not, if not."""
    done = PLACE / suite.rpartition("@")[2].rpartition("/")[2]
    if done.exists():
        return None
    shutil.rmtree(PLACE, ignore_errors=True)
    venv.create(PLACE, with_pip=True)
    pip = [python(), "-m", "pip", "--disable-pip-version-check", "install", "-q", suite]
    made = subprocess.run(pip, check=False, capture_output=True, text=True)
    if made.returncode != 0:
        return made.stderr.strip().splitlines()[-1]
    (PLACE / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")  # or pytest would find ours
    done.touch()
    return None


def python() -> Path:
    return PLACE / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def run() -> list[dict[str, Any]]:
    """Each test of the suite, with its outcome."""
    where = subprocess.run(
        [python(), "-c", "import tuf_conformance; print(tuf_conformance.__path__[0])"],
        check=True,
        capture_output=True,
        text=True,
        cwd=PLACE,
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        told = ["--json-report", f"--json-report-file={report}", "-q", "-p", "no:cacheprovider"]
        subprocess.run(
            [python(), "-m", "pytest", *told, where, "--entrypoint", f"{sys.executable} {CLIENT}"],
            check=False,
            cwd=PLACE,
        )
        found: list[dict[str, Any]] = json.loads(report.read_bytes())["tests"]
    return found


def page(tests: list[dict[str, Any]]) -> str:
    """The result as Markdown."""
    outcomes = Counter((Path(test["nodeid"].partition("::")[0]).name, test["outcome"]) for test in tests)
    kinds = ("passed", "failed", "other")
    files: dict[str, Counter[str]] = {}
    for (file, outcome), count in sorted(outcomes.items()):
        files.setdefault(file, Counter())[outcome if outcome in kinds else "other"] += count
    rows = [f"| {file} | {' | '.join(str(counts[kind]) for kind in kinds)} |" for file, counts in files.items()]
    total = sum(files.values(), Counter())
    return "\n".join(
        (
            "# The public TUF conformance suite, with Tianti's client under it",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, `make test-conformance`: tuf-conformance at {COMMIT[:12]},",
            "without a list of expected failures;",
            f"Tianti {version('tianti')}, tuf {version('tuf')}, Python {sys.version.split()[0]} on {sys.platform}.",
            "",
            "| file of the suite | passed | failed | skipped or other |",
            "|---|---|---|---|",
            *rows,
            f"| all | {' | '.join(str(total[kind]) for kind in kinds)} |",
            "",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
