"""The publish side of updates: keys, the signed repository as a value, and its folder of static files."""

from tianti.release.edits import add_shipment, rotate_delegated, rotate_root, set_floors, set_rollout
from tianti.release.folder import Blob, publish, whole_blobs
from tianti.release.keys import load_signer, load_signers, make_keys
from tianti.release.reading import read_repository
from tianti.release.repository import Repository, create, renew, seal, to_bytes

__all__ = [
    "Blob",
    "Repository",
    "add_shipment",
    "create",
    "load_signer",
    "load_signers",
    "make_keys",
    "publish",
    "read_repository",
    "renew",
    "rotate_delegated",
    "rotate_root",
    "seal",
    "set_floors",
    "set_rollout",
    "to_bytes",
    "whole_blobs",
]
