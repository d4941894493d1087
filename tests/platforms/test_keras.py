"""Keras, SavedModel and TFLite models are imported with their scores unchanged. `make test-platforms` installs them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tianti.compression import foreign
from tianti.errors import StageError
from tianti.pipeline.bring import Origin, import_model
from tianti.runtimes import open_package

WORDS = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(60))]
LABELS = ["zebra", "apple", "mango"]
LENGTH = 12
TEXTS = [" ".join(f"w{(7 * n + 3 * at) % 60}" for at in range(n % LENGTH + 1)) for n in range(50)]


@pytest.fixture(scope="module")
def keras() -> Any:
    pytest.importorskip("tensorflow", reason="needs tensorflow: make test-platforms", exc_type=ImportError)
    return pytest.importorskip("keras", reason="needs keras: make test-platforms", exc_type=ImportError)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    return tmp_path


def make_model(keras: Any, unroll: bool) -> Any:
    """The classic Embedding -> LSTM -> Dense on padded text."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(len(WORDS), 8),
            layers.LSTM(8, unroll=unroll),
            layers.Dense(len(LABELS), activation="softmax"),
        ]
    )


def save(model: Any, kind: str, folder: Path) -> Path:
    path = folder / {"keras": "model.keras", "saved_model": "model", "tflite": "model.tflite"}[kind]
    if kind == "keras":
        model.save(path)
    else:
        model.export(path, format={"saved_model": "tf_saved_model", "tflite": "litert"}[kind], verbose=False)
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", ["keras", "saved_model", "tflite"])
def test_a_classic_lstm_keeps_its_scores(keras: Any, folder: Path, kind: str, side: Any) -> None:
    model = make_model(keras, unroll=True)
    origin = Origin(tokenizer=folder, labels=folder / "labels.txt", pad_side=side)
    runtime = open_package(import_model(str(save(model, kind, folder)), folder / "out", origin).package)
    ids = np.zeros((len(TEXTS), LENGTH), np.int32)
    for row, text in enumerate(TEXTS):
        found = [WORDS.index(word) for word in text.split()]
        ids[row, slice(0, len(found)) if side == "right" else slice(LENGTH - len(found), None)] = found
    theirs = model.predict(ids, verbose=0)
    for text, expected in zip(TEXTS, theirs, strict=True):
        odds = np.exp(runtime.run(text).logits)
        ours = dict(zip(runtime.labels, odds / odds.sum(), strict=True))
        assert [ours[label] for label in LABELS] == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_layer_that_onnx_gets_wrong_is_found(keras: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The original is run on the examples, not only the ONNX file that was made of it."""
    path = save(make_model(keras, unroll=True), "keras", folder)
    spoilt = foreign._EXPORT_KERAS.replace("model.export", "model.layers[-1].bias.assign([9, 0, 0]); model.export")
    monkeypatch.setattr(foreign, "_EXPORT_KERAS", spoilt)
    with pytest.raises(StageError, match="other scores than the model"):
        import_model(str(path), folder / "out", Origin(tokenizer=folder, labels=folder / "labels.txt"))
    assert not (folder / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_tflite_that_no_interpreter_without_tensorflow_runs_is_an_error(keras: Any, folder: Path) -> None:
    path = save(make_model(keras, unroll=False), "tflite", folder)  # a rolled LSTM is a loop over TensorFlow's own ops
    with pytest.raises(StageError, match=r"TFLite model cannot be converted|cannot run the model|damaged"):
        import_model(str(path), folder / "out", Origin(tokenizer=folder, labels=folder / "labels.txt"))
    assert not (folder / "out").exists()
