"""From the text of a ladder.yaml to a LadderSpec.

Not here: what the keys mean (`ladder`), what cannot be said together (`checks`); no file of the data is opened.
Invariant: an unknown key is an error with a suggestion; a key that is known and not built yet is an error that
says so. Nothing is accepted and ignored.
"""

import difflib
from pathlib import Path
from typing import Any, get_args

import msgspec
import yaml

from tianti.errors import SpecError
from tianti.spec.checks import check_values
from tianti.spec.ladder import SCRATCH, LadderSpec

_NOT_YET = {
    "telemetry": "exporting telemetry",
    "rollout": "staged rollouts",
}
# a better cloud and device for more minutes
_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "fast": {"cloud": {"train": "fine_tune", "fit": {"epochs": 2}}, "device": {"width": 160, "augment": 60_000}},
    "quality": {
        "cloud": {"train": "fine_tune", "fit": {"epochs": 2}},
        "device": {"width": 184, "matmul": "int4", "augment": 170_000, "fit": {"epochs": 7}},
    },
}


def load_spec(path: Path) -> LadderSpec:
    """Read and check a ladder.yaml.

    Raises:
        SpecError: the file is missing, is not YAML, or holds a key or value that cannot be.
    """
    try:
        content = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"no file {path}; `tianti init DIR` writes a ladder.yaml to start from") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read as UTF-8 text: {error}") from error
    return parse_spec(content, str(path))


def parse_spec(content: str, origin: str = "ladder.yaml") -> LadderSpec:
    """Check the text of a ladder.yaml; `origin` names it in errors."""
    try:
        tree = read_yaml(content)
    except yaml.YAMLError as error:
        raise SpecError(f"{origin} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise SpecError(f"{origin}: expected keys such as name, data, cloud; got {type(tree).__name__}")
    _check_keys(tree, LadderSpec, "")
    try:
        spec = msgspec.convert(_with_consequences(_with_preset(tree)), LadderSpec)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise SpecError(f"{origin}: {error}") from error
    check_values(spec)
    return spec


def read_yaml(content: str) -> Any:  # noqa: ANN401
    """What a text of YAML says.

    Raises:
        yaml.YAMLError: it is none, or names a date or a number that is none; the library has other errors for those.
    """
    try:
        return yaml.safe_load(content)
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error


def _with_consequences(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with what follows from there being no labels, or no edge, where it says nothing else itself."""
    data = tree.get("data")
    if isinstance(data, dict) and data.get("label", "") is None:
        given = tree.get("certificate") or {}
        tree = {**tree, "certificate": {"risk": "disagree", **given} if isinstance(given, dict) else given}
    if tree.get("edge", {}) is None:
        given = tree.get("prices") or {}
        tree = {**tree, "prices": {"edge": 0.0, **given} if isinstance(given, dict) else given}
    return tree


def _with_preset(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with what its preset says where it says nothing itself."""
    for part, values in _PRESETS.get(str(tree.get("preset")), {}).items():
        given = tree.get(part) or {}
        if not isinstance(given, dict):
            continue  # msgspec says what is wrong with it
        if part == "cloud" and given.get("base", SCRATCH) == SCRATCH:
            raise SpecError(f"preset: {tree['preset']} fine-tunes a cloud.base, got none; name one, or remove preset")
        if given.get("student", "transformer") != "transformer":
            values = {"augment": values["augment"]}  # the rest was found for a transformer
        if given.get("engine", "onnx") != "onnx" or "quantize" in given:
            values = {key: value for key, value in values.items() if key != "matmul"}  # it may not go with what is said
        fit = given.get("fit") or {}
        if "fit" in values and isinstance(fit, dict):
            given = {**given, "fit": {**values["fit"], **fit}}
        tree = {**tree, part: {**values, **given}}
    return tree


def _check_keys(tree: dict[str, Any], shape: type[msgspec.Struct], prefix: str) -> None:
    fields = {field.encode_name: _struct_of(field.type) for field in msgspec.structs.fields(shape)}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if name in _NOT_YET:
            raise SpecError(f"{name}: {_NOT_YET[name]} is planned and not built yet; remove the key")
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            cure = f"did you mean {prefix}{near[0]!s}?" if near else f"known keys: {', '.join(fields)}"
            raise SpecError(f"unknown key {name!r}; {cure}")
        inner = fields[key]
        if isinstance(value, dict) and inner is not None:
            _check_keys(value, inner, f"{name}.")


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401  (a type, or a union of some)
    """The struct that a field holds, if it holds one."""
    kinds = (part for part in (kind, *get_args(kind)) if isinstance(part, type))
    return next((part for part in kinds if issubclass(part, msgspec.Struct)), None)
