"""The formats that leave this machine: ModelPackage and Release. FORMAT.md beside this file specifies both."""

from tianti.package.manifest import (
    MODEL_FILES,
    Engine,
    Golden,
    Manifest,
    ModelPackage,
    read_package,
    verify_package,
    write_package,
)
from tianti.package.release import (
    Release,
    ReleaseRecord,
    bind,
    check_binding,
    find_release,
    read_release,
    verify_release,
    write_release,
)
from tianti.package.shipment import Shipment, decode_shipment, ship, shipment_path

__all__ = [
    "MODEL_FILES",
    "Engine",
    "Golden",
    "Manifest",
    "ModelPackage",
    "Release",
    "ReleaseRecord",
    "Shipment",
    "bind",
    "check_binding",
    "decode_shipment",
    "find_release",
    "read_package",
    "read_release",
    "ship",
    "shipment_path",
    "verify_package",
    "verify_release",
    "write_package",
    "write_release",
]
