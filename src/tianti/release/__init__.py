"""The publish side of updates: keys, the signed repository as a value, and its folder of static files."""

from tianti.release.edits import add_shipment, rotate_delegated, rotate_root, set_floors, set_rollout
from tianti.release.folder import Blob, publish, whole_blobs
from tianti.release.keys import load_signer, load_signers, make_keys
from tianti.release.lint import lint_repository, lint_rollout
from tianti.release.offers import Offer, Standing, find_offer, floor_of, offers, read_rollout, read_rollouts, revoked
from tianti.release.reading import read_repository
from tianti.release.repository import Repository, create, renew, seal, to_bytes
from tianti.release.rollouts import halt, promote, refresh, revoke, rollback, start_rollout

__all__ = [
    "Blob",
    "Offer",
    "Repository",
    "Standing",
    "add_shipment",
    "create",
    "find_offer",
    "floor_of",
    "halt",
    "lint_repository",
    "lint_rollout",
    "load_signer",
    "load_signers",
    "make_keys",
    "offers",
    "promote",
    "publish",
    "read_repository",
    "read_rollout",
    "read_rollouts",
    "refresh",
    "renew",
    "revoke",
    "revoked",
    "rollback",
    "rotate_delegated",
    "rotate_root",
    "seal",
    "set_floors",
    "set_rollout",
    "start_rollout",
    "to_bytes",
    "whole_blobs",
]
