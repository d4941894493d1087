"""The publish side of updates: keys, the signed repository as a value, and its folder of static files."""

from tianti.release.edits import add_shipment, rotate, set_floors, set_rollout
from tianti.release.folder import publish, publish_next
from tianti.release.gates import worse
from tianti.release.keys import load_signer, load_signers, make_keys
from tianti.release.lint import lint_repository, lint_rollout
from tianti.release.media import Exported, export_media
from tianti.release.offers import Offer, Standing, find_offer, floor_of, offers, read_rollout, read_rollouts, revoked
from tianti.release.publishing import PATCHES, Progress, download_bytes, lay_release, read_record
from tianti.release.reading import read_blob, read_repository, read_shipment
from tianti.release.repository import PROFILES, Repository, Signers, create, issued_s, renew, seal, to_bytes
from tianti.release.rollouts import halt, promote, refresh, revoke, rollback, salt_of, serving, start_rollout
from tianti.release.upload import Copied, upload

__all__ = [
    "PATCHES",
    "PROFILES",
    "Copied",
    "Exported",
    "Offer",
    "Progress",
    "Repository",
    "Signers",
    "Standing",
    "add_shipment",
    "create",
    "download_bytes",
    "export_media",
    "find_offer",
    "floor_of",
    "halt",
    "issued_s",
    "lay_release",
    "lint_repository",
    "lint_rollout",
    "load_signer",
    "load_signers",
    "make_keys",
    "offers",
    "promote",
    "publish",
    "publish_next",
    "read_blob",
    "read_record",
    "read_repository",
    "read_rollout",
    "read_rollouts",
    "read_shipment",
    "refresh",
    "renew",
    "revoke",
    "revoked",
    "rollback",
    "rotate",
    "salt_of",
    "seal",
    "serving",
    "set_floors",
    "set_rollout",
    "start_rollout",
    "to_bytes",
    "upload",
    "worse",
]
