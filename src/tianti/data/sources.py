"""Where a data file is: a path, or hf://, ms:// and s3://, fetched by the library of that place into its own cache.

Not here: what is in the file (`read`). HF_ENDPOINT, HF_TOKEN, MODELSCOPE_ENDPOINT and AWS_* are those libraries' own.
Invariant: a name from outside cannot point out of its repository or its cache.
"""

import difflib
import os
from pathlib import Path

from tianti.errors import DataError, needs_extra

_PLACES = "a path, hf://datasets/ORG/NAME/FILE, ms://ORG/NAME/FILE or s3://BUCKET/KEY"


def resolve_source(source: str, base: Path) -> Path:
    """The local path of a source; a remote one is fetched unless the library's cache has it.

    Raises:
        DataError: there is no such file, it cannot be reached, or the source is not written as it must be.
        MissingExtraError: the library of that place is not installed.
    """
    place, remote, name = source.partition("://")
    if not remote:
        return _local(base / source, source)
    parts = tuple(name.split("/"))
    if any(part in ("", ".", "..") or "\\" in part for part in parts):
        raise DataError(f"{source}: expected a name without empty parts, '.', '..' or '\\'; write it as {_PLACES}")
    match place, parts:
        case "hf", ("datasets", organisation, dataset, *path) if path:
            return _from_hugging_face(source, f"{organisation}/{dataset}", "/".join(path))
        case "ms", (organisation, dataset, *path) if path:
            return _from_modelscope(source, f"{organisation}/{dataset}", "/".join(path))
        case "s3", (_, _, *_):
            return _from_s3(source)
    raise DataError(f"data source: expected {_PLACES}; got {source!r}")


def _local(path: Path, source: str) -> Path:
    if path.is_dir():
        raise DataError(f"{source}: expected a file, got a folder; name the file inside it")
    if not path.is_file():
        beside = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, n=1)
        cure = f"did you mean {near[0]}?" if near else "check the name; paths are relative to ladder.yaml"
        raise DataError(f"{source}: expected a file, got nothing at {path}; {cure}")
    return path


def _from_hugging_face(source: str, dataset: str, path: str) -> Path:
    with needs_extra("train"):
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HFValidationError
    name, _, revision = dataset.partition("@")
    try:
        return Path(hf_hub_download(name, path, repo_type="dataset", revision=revision or None))
    except (OSError, EntryNotFoundError, HFValidationError) as error:
        cure = "check the name and the network; HF_ENDPOINT names a mirror, HF_TOKEN opens a private dataset"
        raise _unreachable(source, constants.ENDPOINT, error, cure) from error


def _from_modelscope(source: str, dataset: str, path: str) -> Path:
    with needs_extra("modelscope"):
        from modelscope.hub.file_download import dataset_file_download
    name, _, revision = dataset.partition("@")
    try:
        return Path(dataset_file_download(name, path, revision=revision or None))
    except Exception as error:  # modelscope raises requests', its own and bare exceptions, which vary by version
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT", "https://modelscope.cn")
        cure = "check the name and the network; MODELSCOPE_API_TOKEN opens a private dataset"
        raise _unreachable(source, endpoint, error, cure) from error


def _from_s3(source: str) -> Path:
    with needs_extra("s3"):
        import fsspec
        import s3fs  # noqa: F401  fsspec would report its absence as an error of its own
        from botocore.exceptions import BotoCoreError
    cache = {"cache_storage": str(Path.home() / ".cache" / "tianti" / "s3"), "check_files": True}
    try:
        return Path(fsspec.open_local(f"filecache::{source}", filecache=cache))
    except (OSError, BotoCoreError) as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "Amazon S3")
        cure = "check the name, the network and the credentials (AWS_*); AWS_ENDPOINT_URL names another store"
        raise _unreachable(source, endpoint, error, cure) from error


def _unreachable(source: str, endpoint: str, error: Exception, cure: str) -> DataError:
    got = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"{source}: expected a file at {endpoint}, got: {got:.300}; {cure}")
