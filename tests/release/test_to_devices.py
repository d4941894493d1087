"""What the publish side lays out, the device side takes: verified, whole or by patches, and running."""

from pathlib import Path

import pytest

pytest.importorskip("tuf", reason="the development group is not installed")

from tests.release.publisher import CHANNEL, NOW_S
from tests.release.test_publishing import PRODUCT, SIGNERS, many_words, offer, roll
from tests.tiny_release import make_release
from tianti.errors import UpdateError
from tianti.package import read_release, verify_package
from tianti.release import create, publish, revoke, rollback, seal, to_bytes
from tianti.spec import Tier
from tianti.update.install import install
from tianti.update.metadata import TufClient
from tianti.update.source import FolderSource
from tianti.update.state import UpdateState

DEVICE = Tier.DEVICE


class Counting(FolderSource):
    """Adds up what is fetched of blobs."""

    fetched = 0
    patches = 0

    def stream(self, path: str, start: int = 0):  # noqa: ANN201
        for piece in super().stream(path, start):
            self.fetched += len(piece) if path.startswith("blobs/") else 0
            self.patches += path.startswith("blobs/patch/")
            yield piece


def test_a_device_follows_releases_and_a_rollback(tmp_path: Path) -> None:
    repo, device = tmp_path / "repo", tmp_path / "device"
    releases = [make_release(tmp_path / extra, words=many_words(extra)) for extra in ("c0", "c1")]
    repository, first = offer(repo, create(SIGNERS, NOW_S), releases[0])
    repository = roll(repo, repository, first.release)
    source = Counting(repo)
    client = TufClient(device, to_bytes(repository.root), source, PRODUCT, CHANNEL, UpdateState())
    device.mkdir()

    assert client.refresh(NOW_S).rollout.release == first.release
    shipped = client.shipment(first.release)
    assert shipped == first
    folders = [install(device, shipped, source, tier=DEVICE, have=())]
    whole = source.fetched
    assert (source.patches, whole) == (0, sum_of_packed(first))

    repository, second = offer(repo, repository, releases[1])
    repository = roll(repo, repository, second.release)
    source.fetched = 0
    assert client.refresh(NOW_S).rollout.release == second.release
    folders.append(install(device, client.shipment(second.release), source, tier=DEVICE, have=folders))
    assert source.patches >= 1
    assert source.fetched < sum_of_packed(second)
    for folder in folders:
        verify_package(read_release(folder).package(DEVICE))

    repository = seal(rollback(repository, PRODUCT, CHANNEL, SIGNERS, NOW_S, release=first.release), SIGNERS, NOW_S)
    publish(repo, repository)
    said = client.refresh(NOW_S).rollout
    assert (said.release, said.force) == (first.release, True)

    repository = seal(revoke(repository, PRODUCT, second.release, SIGNERS, NOW_S), SIGNERS, NOW_S)
    publish(repo, repository)
    assert client.refresh(NOW_S).rollout.revoked == (second.release,)
    with pytest.raises(UpdateError, match="was revoked"):
        client.shipment(second.release)


def sum_of_packed(shipment) -> int:  # noqa: ANN001
    files = {file.sha256: file for file in shipment.files.values() if file.tier in (None, DEVICE)}
    return sum(shipment.compressed.get(digest, file).size_bytes for digest, file in files.items())
