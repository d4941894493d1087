"""A package proves its bytes; another's bytes, paths and schemas are refused."""

from pathlib import Path

import msgspec
import pytest

from tianti.errors import IntegrityError, PackageError
from tianti.package import Golden, ModelPackage, read_package, verify_package, write_package


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    return write_package(
        tmp_path / "package",
        name="demo",
        version="1",
        labels=("yes", "no"),
        max_length=16,
        model=model,
        tokenizer_json="{}",
        goldens=[Golden(text="好", label="yes", top={"yes": 1.5})],
        card="# demo",
        architecture="Bag",
        lineage={"data": "0" * 64},
    )


def test_round_trip(package: ModelPackage) -> None:
    verify_package(package)
    again = read_package(package.folder)
    assert again == package
    assert again.goldens()[0].text == "好"
    on_disk = sum(file.stat().st_size for file in package.folder.rglob("*") if file.is_file())
    assert package.manifest.size_bytes == on_disk


@pytest.mark.parametrize("file", ["onnx/model.onnx", "tokenizer.json", "config.json", "golden.jsonl", "README.md"])
def test_a_changed_byte_is_found(package: ModelPackage, file: str) -> None:
    path = package.folder / file
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"expected sha256 .*, got"):
        verify_package(package)


def test_a_missing_file_is_found(package: ModelPackage) -> None:
    package.model_path.unlink()
    with pytest.raises(IntegrityError, match="got None"):
        verify_package(package)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "..\\outside"])
def test_a_path_outside_is_refused(package: ModelPackage, path: str) -> None:
    files = {**package.manifest.files, path: package.manifest.files["config.json"]}
    manifest = msgspec.structs.replace(package.manifest, files=files)
    (package.folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(PackageError, match="outside the package"):
        read_package(package.folder)


@pytest.mark.parametrize("name", ["../../escaped", "/etc", "..", ".", "", "a b", "a\n", 'a"', "x" * 121])
def test_a_name_that_is_no_name_of_a_folder_is_refused(package: ModelPackage, name: str) -> None:
    manifest = msgspec.structs.replace(package.manifest, name=name)
    (package.folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(PackageError, match=r"malformed.*\$\.name"):
        read_package(package.folder)


@pytest.mark.parametrize("name", ["demo-device", "模型.v2-edge", "..-cloud", "x" * 107])
def test_a_name_of_a_ladder_with_its_tier_is_read(package: ModelPackage, name: str) -> None:
    manifest = msgspec.structs.replace(package.manifest, name=name)
    (package.folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    assert read_package(package.folder).manifest.name == name


def test_another_schema_is_refused(package: ModelPackage) -> None:
    manifest = msgspec.structs.replace(package.manifest, schema="tianti.package/9")
    (package.folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(PackageError, match=r"expected schema tianti\.package/1"):
        read_package(package.folder)


def test_what_is_no_package_says_so(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"no manifest\.json"):
        read_package(tmp_path)
