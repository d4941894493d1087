"""What is laid into a repository comes out again, whole or by patches; and what is copied, a client can read."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.release.publisher import CHANNEL, NOW_S, client_of, make_signers
from tests.tiny_release import WORDS, make_release
from tianti.errors import IntegrityError, StoreError, UsageError
from tianti.package import Release, ReleaseRecord, Shipment, read_release, verify_release, write_release
from tianti.package.patch import apply_patch
from tianti.release import (
    Repository,
    add_shipment,
    create,
    download_bytes,
    export_media,
    lay_release,
    offers,
    publish,
    read_blob,
    read_record,
    read_repository,
    read_shipment,
    refresh,
    renew,
    seal,
    serving,
    start_rollout,
    to_bytes,
    upload,
    worse,
)
from tianti.release.edits import rotate_root
from tianti.release.reading import blob_place, patch_place
from tianti.release.upload import FolderPlace, copy_to, in_order
from tianti.spec import Tier
from tianti.store import sha256_bytes

SIGNERS = make_signers()
PRODUCT = "tiny"


def quiet(done: int, total: int, note: str) -> None:
    pass


def many_words(extra: str) -> dict[str, tuple[str, str, str]]:
    """So many that a model is worth a patch; `extra` may be another label's too, so that the model differs."""
    labels = {f"label{n}": (f"a{n}", f"b{n}", f"c{n}") for n in range(40)}
    return {**WORDS, **labels, "label0": ("a0", "b0", extra)}


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> list[Release]:
    return [make_release(tmp_path_factory.mktemp("release"), words=many_words(extra)) for extra in ("c0", "c1", "c2")]


def offer(folder: Path, repository: Repository, release: Release, **options: Any) -> tuple[Repository, Shipment]:
    shipment = lay_release(folder, repository, release, quiet, **options)
    repository = seal(add_shipment(repository, shipment, SIGNERS, NOW_S), SIGNERS, NOW_S)
    publish(folder, repository, [shipment])
    return repository, shipment


def roll(folder: Path, repository: Repository, release: str) -> Repository:
    repository = start_rollout(repository, PRODUCT, release, SIGNERS, NOW_S, channel=CHANNEL, ppm=1_000_000)
    repository = seal(repository, SIGNERS, NOW_S)
    publish(folder, repository)
    return repository


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_release_comes_out_whole(tmp_path: Path, releases: list[Release]) -> None:
    repository, shipment = offer(tmp_path / "repo", create(SIGNERS, NOW_S), releases[0])
    assert read_shipment(tmp_path / "repo", repository, PRODUCT, releases[0].id) == shipment
    for name, file in shipment.files.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(read_blob(tmp_path / "repo", file))
    verify_release(read_release(tmp_path / "out"))
    packed = shipment.files["packages/cloud/onnx/model.onnx"].sha256
    stored = (tmp_path / "repo" / blob_place(packed)).stat().st_size
    assert (
        stored == shipment.compressed[packed].size_bytes < shipment.files["packages/cloud/onnx/model.onnx"].size_bytes
    )
    assert not shipment.patches
    whole = download_bytes(shipment, Tier.DEVICE)
    assert whole < sum(file.size_bytes for file in shipment.files.values() if file.tier in (None, Tier.DEVICE))


def test_patches_lead_from_the_last_releases_and_are_few_bytes(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    repository, first = offer(folder, create(SIGNERS, NOW_S), releases[0])
    repository, second = offer(folder, repository, releases[1])
    repository, third = offer(folder, repository, releases[2], patches=1)
    assert [found.counter for found in offers(repository)] == [3, 2, 1]
    model = "packages/cloud/onnx/model.onnx"
    for shipment, before in ((second, first), (third, second)):
        new, old = shipment.files[model], before.files[model]
        (patch,) = [patch for patch in shipment.patches[new.sha256] if patch.old == old.sha256]
        content = (folder / patch_place(new.sha256, old.sha256, patch.codec)).read_bytes()
        assert (sha256_bytes(content), len(content)) == (patch.sha256, patch.size_bytes)
        made = apply_patch(patch.codec, read_blob(folder, old), content, new.size_bytes)
        assert made == read_blob(folder, new)
        assert download_bytes(shipment, Tier.CLOUD, before) < download_bytes(shipment, Tier.CLOUD)
    skipped = first.files[model].sha256
    assert all(patch.old != skipped for found in third.patches.values() for patch in found)  # two releases ago
    assert download_bytes(third, Tier.CLOUD, third) == 0


def test_publishing_again_changes_nothing_and_mends_what_is_damaged(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    repository, first = offer(folder, create(SIGNERS, NOW_S), releases[0])
    repository, second = offer(folder, repository, releases[1])
    before = files(folder)
    assert offer(folder, repository, releases[1]) == (repository, second)
    assert files(folder) == before
    (folder / blob_place(second.release)).write_bytes(b"rotten")
    some_patch = next(path for path in (folder / "blobs/patch").rglob("*.*"))
    some_patch.write_bytes(b"rotten")
    assert offer(folder, repository, releases[1])[1] == second
    assert files(folder) == before
    (folder / blob_place(first.files["packages/cloud/onnx/model.onnx"].sha256)).write_bytes(b"rotten")
    shutil.rmtree(folder / "blobs/patch")
    with pytest.raises(IntegrityError):
        offer(folder, repository, releases[1])


def test_a_changed_file_is_not_published(tmp_path: Path) -> None:
    release = make_release(tmp_path / "release")
    (release.folder / "packages/device/onnx/model.onnx").write_bytes(b"")
    with pytest.raises(IntegrityError, match="expected sha256"):
        lay_release(tmp_path / "repo", create(SIGNERS, NOW_S), release, quiet)


def test_a_copy_is_a_repository(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    repository, _ = offer(folder, create(SIGNERS, NOW_S), releases[0])
    repository = roll(folder, repository, releases[0].id)
    copied = upload(folder, str(tmp_path / "copy"), quiet)
    assert copied.files == len(files(tmp_path / "copy")) > 15
    assert client_of_tiny(tmp_path / "copy", tmp_path / "device", repository) == releases[0].id
    assert upload(folder, str(tmp_path / "copy"), quiet) == (0, 0)
    repository, _ = offer(folder, repository, releases[1])
    roll(folder, repository, releases[1].id)
    upload(folder, (tmp_path / "copy").as_uri(), quiet)
    assert client_of_tiny(tmp_path / "copy", tmp_path / "later", repository) == releases[1].id


def client_of_tiny(folder: Path, cache: Path, repository: Repository) -> str:
    from tests.release import publisher

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publisher, "PRODUCT", PRODUCT)
        return str(client_of(folder, cache, repository).see()["release"])


def test_a_copy_cut_off_anywhere_shows_the_old_or_the_new(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    repository, _ = offer(folder, create(SIGNERS, NOW_S), releases[0])
    repository = roll(folder, repository, releases[0].id)
    upload(folder, str(tmp_path / "before"), quiet)
    after, _ = offer(folder, repository, releases[1])
    fresh = make_signers()["timestamp"]
    both = {**SIGNERS, "timestamp": [*SIGNERS["timestamp"], *fresh]}
    after = rotate_root(roll(folder, after, releases[1].id), {"timestamp": [fresh[0].public_key]}, both, NOW_S)
    publish(folder, after)

    class Cut(FolderPlace):
        def __init__(self, folder: Path, left: int) -> None:
            super().__init__(folder)
            self.left = left

        def write(self, path: str, source: Path) -> None:
            if self.left == 0:
                raise OSError("the network is gone")
            self.left -= 1
            super().write(path, source)

        def replace(self, path: str, content: bytes) -> None:
            if self.left == 0:
                raise OSError("the network is gone")
            self.left -= 1
            super().replace(path, content)

    stamp = (folder / "metadata/timestamp.json").read_bytes()
    left, seen = 8, []  # writes of blobs come before; each of metadata is tried
    while True:
        copy = tmp_path / f"copy{left}"
        shutil.copytree(tmp_path / "before", copy)
        try:
            copy_to(folder, Cut(copy, left), in_order(folder), stamp, quiet)
        except StoreError:
            seen.append(client_of_tiny(copy, tmp_path / f"device{left}", repository))
            upload(folder, str(copy), quiet)
        else:
            break
        left += 1
    assert (set(seen[:-1]), seen[-1]) == ({releases[0].id}, releases[1].id)  # the last write is the root's
    assert client_of_tiny(copy, tmp_path / "end", repository) == releases[1].id


def test_a_later_or_another_copy_is_left_alone(tmp_path: Path, releases: list[Release]) -> None:
    folder, other = tmp_path / "repo", tmp_path / "other"
    repository, _ = offer(folder, create(SIGNERS, NOW_S), releases[0])
    shutil.copytree(folder, tmp_path / "old")
    publish(folder, refresh(repository, SIGNERS, NOW_S + 1))
    upload(folder, str(tmp_path / "copy"), quiet)
    publish(other, create(make_signers(), NOW_S))
    for stale in (tmp_path / "old", other):
        before = files(tmp_path / "copy")
        with pytest.raises(UsageError, match="got a later one, or another repository's"):
            upload(stale, str(tmp_path / "copy"), quiet)
        assert files(tmp_path / "copy") == before
    (tmp_path / "copy/metadata/timestamp.json").write_text("<html>")
    with pytest.raises(UsageError, match="choose another place"):
        upload(folder, str(tmp_path / "copy"), quiet)


def test_what_a_publish_that_was_given_up_left_is_written_over(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    repository, _ = offer(folder, create(SIGNERS, NOW_S), releases[0])
    upload(folder, str(tmp_path / "copy"), quiet)
    shutil.copytree(folder, tmp_path / "other")
    for later_s, place in enumerate((tmp_path / "other", folder)):
        publish(place, seal(renew(repository, "rollout", SIGNERS, NOW_S + later_s), SIGNERS, NOW_S))
    given_up = tmp_path / "other/metadata/2.rollout.json"
    assert given_up.stat().st_size == (folder / "metadata/2.rollout.json").stat().st_size
    shutil.copy(given_up, tmp_path / "copy/metadata/2.rollout.json")
    upload(folder, str(tmp_path / "copy"), quiet)
    assert {name: content for name, content in files(folder).items() if name[0] != "."} == files(tmp_path / "copy")


def test_an_object_store_gets_every_file(tmp_path: Path, releases: list[Release]) -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra s3 is not installed")
    offer(tmp_path / "repo", create(SIGNERS, NOW_S), releases[0])
    assert upload(tmp_path / "repo", "memory://bucket/updates", quiet).files > 15
    assert upload(tmp_path / "repo", "memory://bucket/updates", quiet).files == 0
    store = fsspec.filesystem("memory")
    for name, content in files(tmp_path / "repo").items():
        if not name.startswith("."):
            assert store.cat_file(f"/bucket/updates/{name}") == content
    with pytest.raises(UsageError, match="Protocol not known"):
        upload(tmp_path / "repo", "moon://bucket", quiet)


@pytest.mark.parametrize("way", ["copy", "stick"])
def test_what_a_hub_publishes_while_files_are_copied_spoils_no_copy(
    tmp_path: Path, releases: list[Release], way: str
) -> None:
    folder, copy = tmp_path / "repo", tmp_path / "copy"
    repository, _ = offer(folder, create(SIGNERS, NOW_S), releases[0])
    repository = roll(folder, repository, releases[0].id)
    renewed = []

    def meanwhile(done: int, total: int, note: str) -> None:
        if not renewed:
            renewed.append(seal(renew(repository, "rollout", SIGNERS, NOW_S), SIGNERS, NOW_S))
            publish(folder, renewed[0])

    if way == "copy":
        upload(folder, str(copy), meanwhile)
    else:
        export_media(folder, repository, copy, NOW_S, meanwhile)
    assert client_of_tiny(copy, tmp_path / "device", repository) == releases[0].id
    assert read_repository(copy, to_bytes(repository.root)).timestamp == repository.timestamp
    upload(folder, str(copy), quiet)
    assert read_repository(copy, to_bytes(repository.root)).timestamp == renewed[0].timestamp


def test_a_stick_holds_what_rollouts_name_and_no_more(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    repository = create(SIGNERS, NOW_S)
    with pytest.raises(UsageError, match="with a rollout, got none"):
        export_media(folder, repository, tmp_path / "stick", NOW_S, quiet)
    for release in releases:
        repository, _ = offer(folder, repository, release)
    repository = roll(folder, repository, releases[1].id)
    made = export_media(folder, repository, tmp_path / "stick", NOW_S, quiet, tiers=[Tier.DEVICE])
    assert made.releases == (releases[1].id,)
    assert made.valid_until_s == repository.timestamp.signed.expires.timestamp()
    assert client_of_tiny(tmp_path / "stick", tmp_path / "device", repository) == releases[1].id
    again = read_repository(tmp_path / "stick", to_bytes(repository.root))
    shipment = read_shipment(tmp_path / "stick", again, PRODUCT, releases[1].id)
    there = files(tmp_path / "stick")
    meant = {blob_place(file.sha256) for file in shipment.files.values() if file.tier in (None, Tier.DEVICE)}
    assert meant == {name for name in there if name.startswith("blobs/") and "patch" not in name}
    assert len(meant) < len({file.sha256 for file in shipment.files.values()})
    assert blob_place(releases[0].id) not in there
    with pytest.raises(UsageError, match="timestamp expires"):
        export_media(folder, repository, tmp_path / "late", NOW_S + 86_401, quiet)
    with pytest.raises(UsageError, match="got other; start one first"):
        export_media(folder, repository, tmp_path / "other", NOW_S, quiet, products=["other"])


def test_a_full_stick_is_said_before_anything_is_copied(
    tmp_path: Path, releases: list[Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, _ = offer(tmp_path / "repo", create(SIGNERS, NOW_S), releases[0])
    repository = roll(tmp_path / "repo", repository, releases[0].id)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1))  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match="bytes of space, got 1"):
        export_media(tmp_path / "repo", repository, tmp_path / "stick", NOW_S, quiet)
    assert files(tmp_path / "stick") == {}


def measured(record: ReleaseRecord, accuracy: float | None, **slices: tuple[int, float]) -> ReleaseRecord:
    parts = [{"column": "domain", "value": name, "n": n, "accuracy": got} for name, (n, got) in slices.items()]
    metrics = {} if accuracy is None else {"accuracy": accuracy, "slices": parts}
    return msgspec.structs.replace(record, metrics=metrics)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ((0.9, {"home": (400, 0.9), "bank": (20, 0.2)}), ""),
        ((0.9, {"home": (400, 0.88), "bank": (20, 0.9)}), ""),
        ((0.899, {"home": (400, 0.95)}), "accuracy: expected at least 90.00%, got 89.90%"),
        ((0.95, {"home": (400, 0.85)}), "accuracy on domain=home: expected about 90.0% of 400 rows, 86.2% at least"),
        ((0.95, {"other": (400, 1.0)}), "domain=home: expected about 90.0% of 400 rows, got none"),
        ((None, {}), "accuracy: expected at least 90.00%, which serves, got none"),
    ],
)
def test_a_release_is_not_worse_than_the_serving_one(
    releases: list[Release], new: tuple[float | None, dict[str, tuple[int, float]]], said: str
) -> None:
    record = releases[0].record
    serving = measured(record, 0.9, home=(400, 0.9), bank=(20, 0.9))
    found = worse(measured(record, new[0], **new[1]), serving)
    assert bool(found) == bool(said)
    assert said in " ".join(found)
    assert worse(measured(record, 0.1), measured(record, None)) == []


def test_what_serves_is_read_back_from_the_repository(tmp_path: Path, releases: list[Release]) -> None:
    folder = tmp_path / "repo"
    release = write_release(
        tmp_path / "measured",
        measured(releases[0].record, 0.9, home=(400, 0.9)),
        {tier: releases[0].package(tier).folder for tier in releases[0].record.packages},
    )
    repository, _ = offer(folder, create(SIGNERS, NOW_S), release)
    assert serving(repository, PRODUCT, CHANNEL) is None
    found = serving(roll(folder, repository, release.id), PRODUCT, CHANNEL)
    assert found is not None
    assert read_record(folder, repository, found) == release.record
