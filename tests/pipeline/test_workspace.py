"""What is collected, and what never is."""

from pathlib import Path

import pytest

from tests.tiny_release import make_release
from tianti.errors import UsageError
from tianti.package import Release
from tianti.pipeline import RunRecord, StageDone, Workspace


def write(folder: Path) -> None:
    (folder / "value").write_text("x", encoding="utf-8")


def finish(workspace: Workspace, folder: Path, release: Release, key: str) -> None:
    workspace.store.build(key, write)
    identity = workspace.keep_release(release.folder)
    record = RunRecord(
        run=folder.name,
        name="x",
        started="",
        seconds=0.0,
        cached=[],
        release=identity,
        tiers={},
        certificate={},
        served=None,
        prices={},
        timeline=[StageDone("one", key, 0.0, False)],
    )
    workspace.keep_run(folder, record)


@pytest.fixture
def releases(tmp_path: Path) -> list[Release]:
    return [make_release(tmp_path / name, name=name) for name in ("first", "second")]


def test_the_release_that_latest_names_is_never_collected(tmp_path: Path, releases: list[Release]) -> None:
    workspace = Workspace(tmp_path)
    with workspace.new_run() as early, workspace.new_run() as late:
        assert early.name < late.name
        finish(workspace, late, releases[0], "late")
        finish(workspace, early, releases[1], "early")  # ends last, so that `latest` is its release
    (tmp_path / ".tianti" / "artifacts" / ".tmp-orphan-1").mkdir()
    workspace.collect(keep_runs=1)
    assert workspace.store.keys() == ["early", "late"]
    assert {path.name for path in workspace.releases.glob("*/")} == {release.id for release in releases}
    assert not list((tmp_path / ".tianti" / "artifacts").glob(".tmp-*"))


def test_nothing_is_collected_while_a_run_is_under_way(tmp_path: Path, releases: list[Release]) -> None:
    workspace = Workspace(tmp_path)
    with workspace.new_run() as folder:
        workspace.store.build("half", write)
        with pytest.raises(UsageError, match=f"{folder.name} is under way"):
            workspace.collect(keep_runs=1)
    assert workspace.store.keys() == ["half"]
    workspace.collect(keep_runs=1)  # it ended without a record: nobody needs what it made
    assert workspace.store.keys() == []
    assert not list((tmp_path / ".tianti" / "runs").iterdir())


def test_collecting_where_there_is_no_workspace_makes_none(tmp_path: Path) -> None:
    assert Workspace(tmp_path).collect(keep_runs=1) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_failed_run_measured_is_forgotten_unless_somebody_needs_it(
    tmp_path: Path, releases: list[Release]
) -> None:
    workspace = Workspace(tmp_path)
    with workspace.new_run() as folder:
        finish(workspace, folder, releases[0], "finished")
    workspace.store.build("failed", write)
    with workspace.new_run() as folder, workspace.new_run():
        workspace.forget(folder.name, {"failed"})
        assert workspace.store.keys() == ["failed", "finished"]  # the other run may be reading it
    with workspace.new_run() as folder:
        workspace.forget(folder.name, {"failed", "finished", "never made"})
    assert workspace.store.keys() == ["finished"]
