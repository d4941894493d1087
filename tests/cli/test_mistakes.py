"""A newcomer's mistakes: one clear error each (expected, got, cure), the right exit code, nothing half-written."""

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tianti.cli.main import run_cli
from tianti.cli.progress import ProgressBars

Tianti = Callable[..., tuple[int, str]]


@pytest.fixture
def tianti(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tianti:
    """Run the command line in this process; returns its exit code and what it said on stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tianti", *arguments])
        with pytest.raises(SystemExit) as exited:
            run_cli()
        code = exited.value.code
        return (code if isinstance(code, int) else 1), capsys.readouterr().err

    return run


def rows(classes: int = 3, each: int = 20) -> list[dict[str, str]]:
    return [
        {"text": f"please do thing {k} number {i}", "label": f"label{k}"} for k in range(classes) for i in range(each)
    ]


def write_ladder(folder: Path, data: list[dict[str, str]] | bytes, extra: str = "", keys: str = "") -> Path:
    if not isinstance(data, bytes):
        data = "".join(json.dumps(row) + "\n" for row in data).encode()
    (folder / "train.jsonl").write_bytes(data)
    path = folder / "ladder.yaml"
    path.write_text(f"name: x\ndata: {{train: train.jsonl{keys}}}\n{extra}", encoding="utf-8")
    return path


def artifacts(folder: Path) -> list[Path]:
    return list((folder / ".tianti" / "artifacts").glob("*")) + list((folder / ".tianti" / "releases").glob("*"))


@pytest.mark.parametrize(
    ("data", "extra", "keys", "code", "said"),
    [
        (rows(), "", ", text: txet", 1, ["txet", "text", "label"]),
        (rows(), "deivce: {size: 1 MB}\n", "", 2, ["deivce", "did you mean device?"]),
        ("text,label\n你好,问候\n".encode("gb18030") * 30, "", "", 1, ["utf-8", "encoding"]),
        (rows(classes=1), "", "", 1, ["label0", "two"]),
        (b"", "", "", 1, ["empty"]),
        ("\ufeff".encode(), "", "", 1, ["empty"]),
        (bytes(range(256)) * 20, "", "", 1, ["binary"]),
        (rows(each=3), "", "", 1, ["3", "rows"]),
    ],
    ids=[
        "wrong column",
        "unknown key",
        "wrong encoding",
        "one class",
        "empty file",
        "only a mark",
        "binary file",
        "3 rows a class",
    ],
)
def test_data_mistakes(
    tianti: Tianti,
    tmp_path: Path,
    data: list[dict[str, str]] | bytes,
    extra: str,
    keys: str,
    code: int,
    said: list[str],
) -> None:
    got, message = tianti("run", str(write_ladder(tmp_path, data, extra, keys)), "--json")
    assert got == code, message
    assert message.startswith("error: ") and "Traceback" not in message
    for word in said:
        assert word.lower() in message.lower()
    assert artifacts(tmp_path) == []


def test_a_label_in_test_that_train_never_saw(tianti: Tianti, tmp_path: Path) -> None:
    strange = [{"text": f"strange {i}", "label": "unheard_of"} for i in range(5)]
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows()[:9] + strange), encoding="utf-8"
    )
    code, message = tianti("run", str(write_ladder(tmp_path, rows(), keys=", test: test.jsonl")), "--json")
    assert code == 1 and "unheard_of" in message and "train" in message
    assert artifacts(tmp_path) == []


def test_a_full_disk(tianti: Tianti, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tianti.store.files.os.fsync", full)
    code, message = tianti("run", str(write_ladder(tmp_path, rows())), "--json")
    assert code == 1 and "No space left on device" in message and "free space" in message
    assert artifacts(tmp_path) == []


def test_a_port_that_is_taken(tianti: Tianti, tiny_release: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        code, message = tianti("serve", "--tier", "cloud", "--release", str(tiny_release), "--port", port)
    assert code == 2 and port in message and "--port" in message


def test_a_missing_extra(tmp_path: Path) -> None:
    """In a process of its own, in which torch cannot be found."""
    code = "import sys; sys.modules['torch'] = None; from tianti.cli.main import run_cli; run_cli()"
    command = [sys.executable, "-c", code, "run", str(write_ladder(tmp_path, rows(each=40))), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'tianti[train]'" in ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["predict", "--nope"], ["frobnicate"], ["serve", "--tier", "moon"]])
def test_wrong_use_exits_2(tianti: Tianti, arguments: list[str]) -> None:
    code, message = tianti(*arguments)
    assert code == 2 and "Traceback" not in message


def test_no_release_yet(tianti: Tianti, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, message = tianti("predict", "hello")
    assert code == 1 and "tianti run" in message


@pytest.mark.parametrize("url", ["http://[::1", "http://localhost:99999", "localhost:80"])
def test_a_url_that_is_none(tianti: Tianti, tiny_release: Path, url: str) -> None:
    code, message = tianti("predict", "--release", str(tiny_release), "--upstream", url, "lamp")
    assert code == 2 and "expected a URL" in message


def test_init_overwrites_nothing(tianti: Tianti, tmp_path: Path) -> None:
    mine = tmp_path / "data" / "train.jsonl.gz"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    code, message = tianti("init", str(tmp_path))
    assert code == 2 and "there already" in message
    assert mine.read_text(encoding="utf-8") == "mine" and not (tmp_path / "ladder.yaml").exists()


def test_a_label_in_brackets_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBars() as bars:
        bars.said("billing[/card] and [red]")
    assert "billing[/card] and [red]" in capsys.readouterr().err


def test_a_pickle_and_a_missing_tokenizer_are_refused_before_anything_is_written(
    tmp_path: Path, tianti: Tianti
) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x04")
    (tmp_path / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    options = ["--out", str(tmp_path / "out"), "--labels", str(tmp_path / "labels.txt")]
    code, said = tianti("import", str(tmp_path / "model.pt"), *options)
    assert code == 2 and "tokenizer.json" in said
    (tmp_path / "tokenizer.json").unlink()
    code, said = tianti("import", str(tmp_path / "model.pt"), *options)
    assert code == 2 and "--tokenizer" in said
    assert not (tmp_path / "out").exists()


def test_an_imported_model_that_knows_other_labels_or_shorter_texts_is_named(tmp_path: Path, tianti: Tianti) -> None:
    code, said = tianti("run", str(write_ladder(tmp_path, rows(), "cloud: {package: p, train: head, base: x}\n")))
    assert code == 2 and "cloud.package" in said
    code, said = tianti("run", str(write_ladder(tmp_path, rows(), "cloud: {package: p}\n")))
    assert code == 1 and "manifest.json" in said


def test_an_engine_that_is_not_installed_is_found_before_any_work(tmp_path: Path, tianti: Tianti) -> None:
    if importlib.util.find_spec("litert_torch") is not None:
        pytest.skip("LiteRT's converter is installed here")
    code, said = tianti("run", str(write_ladder(tmp_path, rows(), "device: {engine: litert}\n")))
    assert code == 2 and "pip install 'tianti[litert-train]'" in said
    assert not artifacts(tmp_path)
