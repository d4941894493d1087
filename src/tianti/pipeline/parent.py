"""The release that a retrain starts from: what its run left in this workspace.

Not here: copying its weights (`training.warm`). Invariant: a parent is named by what never changes, so that the same
spec means the same start.
"""

from dataclasses import dataclass
from pathlib import Path

from tianti.data import read_prepared
from tianti.errors import SpecError
from tianti.pipeline.workspace import Workspace
from tianti.spec.ladder import LadderSpec


@dataclass(frozen=True)
class Parent:
    """The keys and folders of a parent's stages, and its labels in the order of its outputs."""

    keys: dict[str, str]
    folders: dict[str, Path]
    labels: tuple[str, ...]


_STAGES = ("prepare", "teach", "lessons", "distill-edge", "distill-device")


def find_parent(spec: LadderSpec, base: Path) -> Parent | None:
    """The parent that `train.from` names, by the id of its release or the name of its run; None without one.

    Raises:
        SpecError: this workspace has no such run, or its models were collected.
    """
    if spec.train is None:
        return None
    name, workspace = spec.train.from_, Workspace(base)
    runs = workspace.runs()
    fitting = [record for record in runs if record.run == name or (len(name) >= 6 and record.release.startswith(name))]
    if not fitting:
        known = ", ".join(record.release[:12] for record in runs[-5:]) or "none"
        cure = "name one by its id, since `latest` changes with every run"
        raise SpecError(f"train.from: no run of release {name!r} in {workspace.root}; there are: {known}; {cure}")
    made = {stage.name: stage.key for stage in fitting[-1].timeline}
    keys = {stage: made[stage] for stage in _STAGES if stage in made}
    if "label" in made:  # the cloud's labels stand in for the data's
        keys["prepare"] = made["label"]
    if absent := [stage for stage in _STAGES if stage not in keys]:
        raise SpecError(f"train.from: {name} has no {', '.join(absent)}: it is a ladder without an edge; name another")
    folders = {stage: workspace.store.get(key) for stage, key in keys.items()}
    present = {stage: folder for stage, folder in folders.items() if folder is not None}
    if lacking := ", ".join(stage for stage in _STAGES if stage not in present):
        raise SpecError(f"train.from: the models of {name} are gone ({lacking}); keep more runs: tianti gc --keep")
    return Parent(keys, present, read_prepared(present["prepare"]).labels)
