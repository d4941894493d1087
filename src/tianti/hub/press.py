"""The hub's hand on the repository: reads it, verified, and publishes what the online keys may say.

Not here: what is said, and when (`governor`). Invariants: each change follows from what is in the folder then, so that
a person who publishes at the same time loses nothing; nothing is signed by a clock that contradicts what was signed.
"""

from collections.abc import Callable
from pathlib import Path

from tianti.certificate import audit_bound
from tianti.errors import UsageError
from tianti.release import (
    Repository,
    find_offer,
    load_signers,
    publish_next,
    read_record,
    read_repository,
    to_bytes,
)
from tianti.release.reading import read_file
from tianti.release.repository import ONLINE, Signers
from tianti.router import choose_point


class Press:
    """Of one repository.

    Raises:
        UsageError: a key is not there, or not under this passphrase, or there is no root.json.
        IntegrityError: the repository is not the one of that root.
        StoreError: a file of it cannot be read.
    """

    def __init__(self, folder: Path, keys: Path, passphrase: str) -> None:
        self._folder = folder
        self._signers = load_signers(keys, passphrase)
        if lacking := [role for role in ONLINE if not self._signers.get(role)]:
            raise UsageError(
                f"{keys}: expected {', '.join(f'{role}.pem' for role in lacking)}, got none; copy it there"
            )
        if not (keys / "root.json").is_file():
            raise UsageError(f"{keys}: expected root.json, which says whom to trust, got none; copy it there")
        self._trusted = read_file(keys / "root.json")
        self._bounds: dict[str, float | None] = {}
        self.root = ""
        self.read()

    def read(self) -> Repository:
        """What is published; `root` is its newest root from then on.

        Raises:
            IntegrityError, StoreError: as the class.
        """
        repository = read_repository(self._folder, self._trusted)
        self.root = to_bytes(repository.root).decode()
        return repository

    def change(self, now_s: int, change: Callable[[Repository, Signers], Repository]) -> None:
        """Publish what `change` makes of what is there; nobody else publishes between.

        Raises:
            UsageError: it cannot be said.
            StoreError: the folder cannot be written, or the clock is wrong.
        """
        signers = self._signers
        publish_next(self._folder, self._trusted, signers, now_s, lambda found: change(found, signers))

    def bound(self, repository: Repository, product: str, release: str) -> float | None:
        """The share of audits that may differ from the cloud, by the release's certificate; None: it does not say.

        Raises:
            PackageError: the release cannot be read.
            StoreError: a file of it cannot be read.
        """
        if release not in self._bounds:
            record = read_record(self._folder, repository, find_offer(repository, product, release))
            point = choose_point(record.certificate)  # of devices that do not choose
            self._bounds[release] = None if point is None else audit_bound(record.certificate, point)
        return self._bounds[release]
