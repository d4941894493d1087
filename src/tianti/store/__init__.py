"""Content-addressed artifacts, answers that were paid for, atomic and watched files on one local disk."""

from tianti.store.answers import AnswerStore
from tianti.store.artifacts import ArtifactStore
from tianti.store.files import canonical_json, fsync_folder, sha256_bytes, sha256_file, sha256_tree, write_atomic
from tianti.store.watched import Watched

__all__ = [
    "AnswerStore",
    "ArtifactStore",
    "Watched",
    "canonical_json",
    "fsync_folder",
    "sha256_bytes",
    "sha256_file",
    "sha256_tree",
    "write_atomic",
]
