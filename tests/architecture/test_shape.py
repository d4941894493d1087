"""The shape that the design asks for, as far as a linter does not hold it."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import tianti

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "transformers",
    "sklearn",
    "scipy",
    "onnx",
    "onnxruntime",
    "tokenizers",
    "httpx2",
    "starlette",
    "rich",
    "prometheus_client",
    "opentelemetry",
    "phonenumbers",
    "tianti.privacy.finder",
)


def test_importing_tianti_is_light() -> None:
    code = f"import sys, tianti; print([name for name in {HEAVY!r} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_what_is_exported_can_be_imported() -> None:
    rooms = [path.parent.name for path in (ROOT / "src/tianti").glob("*/__init__.py")]
    for module in [tianti, *(importlib.import_module(f"tianti.{room}") for room in rooms)]:
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{module.__name__}.{name}"


def test_every_module_says_what_it_is() -> None:
    for path in set((ROOT / "src/tianti").rglob("*.py")) - set((ROOT / "src/tianti").rglob("*_pb2.py")):
        assert path.read_text(encoding="utf-8").startswith('"""'), path


def test_both_readmes_have_the_same_shape() -> None:
    """Same headings in number and depth, same commands, same figures."""
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))

    def depths(text: str) -> list[str]:
        return re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.S), flags=re.M)

    def commands(text: str) -> list[str]:
        return re.findall(r"^ *(?:make|tianti|pip) [^#\n]*", text, flags=re.M)

    def figures(text: str) -> list[str]:
        rows = [line for line in text.splitlines() if line.startswith("|")]
        return [number for row in rows for number in re.findall(r"\d+(?:\.\d+)?", row)]

    assert depths(english) == depths(chinese)
    assert [c.strip() for c in commands(english)] == [c.strip() for c in commands(chinese)]
    assert figures(english) == figures(chinese)
