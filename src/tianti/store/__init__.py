"""Content-addressed artifacts, answers that were paid for, and atomic files on one local disk."""

from tianti.store.answers import AnswerStore
from tianti.store.artifacts import ArtifactStore
from tianti.store.files import canonical_json, sha256_bytes, sha256_file, sha256_tree, write_atomic

__all__ = [
    "AnswerStore",
    "ArtifactStore",
    "canonical_json",
    "sha256_bytes",
    "sha256_file",
    "sha256_tree",
    "write_atomic",
]
