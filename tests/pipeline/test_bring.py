"""Models of other frameworks become packages that give the same scores; what is bad is refused and leaves nothing."""

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from tianti.errors import DataError, SpecError, StageError, TiantiError, UsageError
from tianti.pipeline.bring import Origin, import_model
from tianti.runtimes.onnx import OnnxRuntime
from tianti.spec.parse import load_spec

WORDS = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(60))]
LABELS = ["zebra", "apple", "mango"]  # not in alphabetical order
TEXTS = ["w1 w2 w3", "w59", "w7 w7 never w8 w9 w10 w11 w12 w13 w14 w15 w16"]
LENGTH = 10


class Classic(nn.Module):
    """Embedding -> LSTM -> Dense that reads the last state, so padding is part of what it was trained on."""

    def __init__(self, last: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(len(WORDS), 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, len(LABELS))
        self.last = last or nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.lstm(self.embedding(ids))
        return self.last(self.head(states[:, -1]))


def build_classic() -> nn.Module:
    return Classic()


def save_tokenizer(folder: Path, words: list[str]) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tokenizer(tmp_path, WORDS)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    return tmp_path


def export(module: nn.Module, path: Path, example: Any, **names: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what tracing makes constant
        torch.onnx.export(module.eval(), example, str(path), dynamo=False, opset_version=17, **names)
    return path


def ids_of(folder: Path, text: str, side: str = "right") -> Tensor:
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids[:LENGTH]
    fill = [0] * (LENGTH - len(ids))
    return torch.tensor([[*fill, *ids] if side == "left" else [*ids, *fill]])


def write_rows(path: Path, labels: list[str], encoding: str = "utf-8") -> Path:
    rows = ({"text": f"w{number} 好", "label": label} for number, label in enumerate(labels))
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding=encoding)
    return path


def expect_same(folder: Path, runtime: OnnxRuntime, module: nn.Module, side: str = "right") -> None:
    assert runtime.labels == ("apple", "mango", "zebra")
    for text in TEXTS:
        with torch.no_grad():
            theirs = dict(zip(LABELS, module(ids_of(folder, text, side))[0].tolist(), strict=True))
        ours = dict(zip(runtime.labels, runtime.run(text).logits.tolist(), strict=True))
        assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.float32])
def test_a_fixed_length_and_any_type_of_ids_become_part_of_the_graph(
    folder: Path, side: Any, kind: torch.dtype
) -> None:
    class Typed(Classic):
        def forward(self, ids: Tensor) -> Tensor:
            return super().forward(ids.long())

    example = torch.ones((1, LENGTH), dtype=kind)
    path = export(Typed(), folder / "model.onnx", (example,))
    made = import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt", pad_side=side))
    assert made.package.manifest.max_length == LENGTH
    expect_same(folder, OnnxRuntime(made.package), Classic(), side)


def test_probabilities_become_logits(folder: Path) -> None:
    path = export(Classic(nn.Softmax(dim=1)), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    made = import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt"))
    expect_same(folder, OnnxRuntime(made.package), Classic())


def test_one_sigmoid_becomes_two_logits(folder: Path) -> None:
    class Binary(Classic):
        def forward(self, ids: Tensor) -> Tensor:
            return torch.sigmoid(super().forward(ids)[:, :1])

    (folder / "labels.txt").write_text("no\nyes\n", encoding="utf-8")
    module = Binary()
    path = export(module, folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    runtime = OnnxRuntime(import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt")).package)
    for text in TEXTS:
        logits = runtime.run(text).logits
        with torch.no_grad():
            expected = float(module(ids_of(folder, text))[0, 0])
        assert 1 / (1 + np.exp(logits[0] - logits[1])) == pytest.approx(expected, abs=1e-6)


def test_mask_and_token_types_are_computed_inside(folder: Path) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.types = Classic(), nn.Embedding(2, len(LABELS))

        def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
            weight = mask[:, :, None].float()
            pooled = (self.inner.embedding(ids) * weight).sum(1) / weight.sum(1)
            return self.inner.head(pooled) + self.types(types).mean(1)

    module, ones = Masked(), torch.ones((1, 5), dtype=torch.int64)
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask", "token_type_ids")}
    path = export(module, folder / "model.onnx", (ones, ones, ones * 0), input_names=list(axes), dynamic_axes=axes)
    made = import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt"))
    runtime = OnnxRuntime(made.package)
    ids = ids_of(folder, TEXTS[2])
    with torch.no_grad():
        expected = dict(zip(LABELS, module(ids, ids * 0 + 1, ids * 0)[0].tolist(), strict=True))
    session = onnxruntime.InferenceSession(str(made.package.model_path))
    padded = np.concatenate([ids.numpy(), np.zeros((1, 7), np.int64)], axis=1)
    for fed in (ids.numpy(), padded):
        (logits,) = session.run(None, {"input_ids": fed})[0]
        assert dict(zip(runtime.labels, logits.tolist(), strict=True)) == pytest.approx(expected, abs=1e-5)


def test_a_torch_function_that_is_padded_as_it_was_trained(folder: Path) -> None:
    origin = Origin(labels=folder / "labels.txt", tokenizer=folder, pad_to=LENGTH)
    made = import_model(f"{__name__}:build_classic", folder / "out", origin)
    expect_same(folder, OnnxRuntime(made.package), Classic())


class OneLength(Classic):
    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embedding(ids).reshape(-1, LENGTH, 8)[:, 0])


def build_one_length() -> nn.Module:
    return OneLength()


def test_a_module_that_takes_one_length_is_told_how_to_say_so(folder: Path) -> None:
    origin = Origin(labels=folder / "labels.txt", tokenizer=folder)
    with pytest.raises(StageError, match="--pad-to"):
        import_model(f"{__name__}:build_one_length", folder / "out", origin)
    origin = Origin(labels=folder / "labels.txt", tokenizer=folder, pad_to=LENGTH)
    made = import_model(f"{__name__}:build_one_length", folder / "out", origin)
    expect_same(folder, OnnxRuntime(made.package), OneLength())


class Branching(Classic):
    """Reads long texts backwards, which tracing does not see."""

    def forward(self, ids: Tensor) -> Tensor:
        return super().forward(ids.flip(1) if ids.shape[1] > 20 else ids)


def build_branching() -> nn.Module:
    return Branching()


def test_a_module_that_tracing_changes_is_refused(folder: Path) -> None:
    origin = Origin(labels=folder / "labels.txt", tokenizer=folder)
    data = write_rows(folder / "rows.jsonl", LABELS)  # no text of theirs is as long as that
    with pytest.raises(StageError, match=r"other scores than the model.*--pad-to"):
        import_model(f"{__name__}:build_branching", folder / "out", origin, data)
    assert not (folder / "out").exists()


def build_nothing() -> nn.Module:
    raise RuntimeError("no weights here")


def test_a_function_that_fails_says_so(folder: Path) -> None:
    origin = Origin(labels=folder / "labels.txt", tokenizer=folder)
    with pytest.raises(StageError, match="builds the module fails: RuntimeError: no weights here"):
        import_model(f"{__name__}:build_nothing", folder / "out", origin)


def save_bert(folder: Path, labels: list[str]) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
        initializer_range=1.0,  # so that each token counts
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("first", [["[PAD]", "[UNK]"], ["[UNK]", "[PAD]"]])
def test_a_hugging_face_folder_with_its_own_labels(folder: Path, first: list[str]) -> None:
    """Whether its configuration agrees with its tokenizer on the id of padding, 0, or not."""
    save_tokenizer(folder, first + WORDS[2:])
    model = save_bert(folder, LABELS)
    made = import_model(str(folder), folder / "out", Origin())
    assert made.package.manifest.max_length == 32
    runtime = OnnxRuntime(made.package)
    assert runtime.labels == ("apple", "mango", "zebra")
    for text in TEXTS:
        ids = torch.tensor([Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids])
        with torch.no_grad():
            theirs = dict(zip(LABELS, model(input_ids=ids).logits[0].tolist(), strict=True))
        ours = dict(zip(runtime.labels, runtime.run(text).logits.tolist(), strict=True))
        assert ours == pytest.approx(theirs, abs=1e-4)  # of logits up to 5


def test_code_in_a_hugging_face_folder_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    from tianti.training.encoder import load_encoder

    names = {"AutoConfig": "own.C", "AutoModel": "own.M", "AutoModelForSequenceClassification": "own.M"}
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": names}), encoding="utf-8")
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')", encoding="utf-8")
    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # whoever is asked says yes
    with pytest.raises(UsageError, match=r"code of its own, which is not run; export it as ONNX"):
        import_model(str(folder), folder / "out", Origin(labels=folder / "labels.txt"))
    with pytest.raises(SpecError, match="no encoder that transformers can load"):
        load_encoder(folder, 0)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", ["model.keras", "model.tflite"])
def test_a_converter_takes_no_module_from_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for path in ("keras.py", "tensorflow.py", "tf2onnx/__init__.py", "tf2onnx/convert.py"):  # that are not installed
        (folder / "libraries" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "libraries" / path).write_text("import colorsys", encoding="utf-8")
    (folder / "colorsys.py").write_text(f"open({str(folder / 'ran')!r}, 'w')", encoding="utf-8")
    (folder / name).write_bytes(b"?")
    monkeypatch.syspath_prepend(str(folder / "libraries"))
    monkeypatch.setenv("PYTHONPATH", str(folder / "libraries"))
    monkeypatch.chdir(folder)
    with pytest.raises(StageError, match="cannot be converted to ONNX"):
        import_model(name, folder / "out", Origin(labels=folder / "labels.txt"))
    assert not (folder / "ran").exists()


def test_of_several_outputs_the_first_is_taken(folder: Path) -> None:
    class Several(Classic):
        def forward(self, ids: Tensor) -> tuple[Tensor, ...]:
            scores = super().forward(ids)
            return scores, *(scores * time for time in range(2, 9))

    path = export(Several(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    made = import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt"))
    expect_same(folder, OnnxRuntime(made.package), Classic())


def test_weights_beside_the_file_are_read(folder: Path) -> None:
    path = export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    made = import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt"))
    expect_same(folder, OnnxRuntime(made.package), Classic())
    (folder / "model.onnx.data").unlink()
    with pytest.raises(StageError, match=r"damaged or incomplete.*model\.onnx\.data"):
        import_model(str(path), folder / "again", Origin(labels=folder / "labels.txt"))


class Placed(Classic):
    """Has a place for 16 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(16, 8)

    def forward(self, ids: Tensor) -> Tensor:
        places = self.places(torch.arange(ids.shape[1]))
        return self.head((self.embedding(ids) + places).mean(1))


def build_placed() -> nn.Module:
    return Placed()


def test_a_length_that_the_model_does_not_take_is_found(folder: Path) -> None:
    origin = {"labels": folder / "labels.txt", "tokenizer": folder}
    with pytest.raises(StageError, match=r"fails on a text of 17 tokens.*--max-length"):
        import_model(f"{__name__}:build_placed", folder / "out", Origin(**origin, max_length=17))
    made = import_model(f"{__name__}:build_placed", folder / "out", Origin(**origin, max_length=16))
    assert made.package.manifest.max_length == 16


def test_a_side_of_padding_without_a_length_is_refused(folder: Path) -> None:
    origin = Origin(labels=folder / "labels.txt", tokenizer=folder, pad_side="left")
    with pytest.raises(UsageError, match=r"--pad-side left.*add --pad-to"):
        import_model(f"{__name__}:build_classic", folder / "out", origin)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["Zebra", "b1", "b2", "b3", "b4", "b5"], r"got 6 that the data alone.*'Zebra', 'b1', .* 'b4', ….*--labels"),
        ([*LABELS, "oos"], r"got 1 that the data alone have: 'oos'; .*leave those rows out"),
        (["zebra", "apple"], r"got 1 that the model alone has: 'mango'; add rows"),
        (["", ""], r"got 3 that the model alone has"),
    ],
)
def test_data_of_other_labels_are_refused(folder: Path, labels: list[str], says: str) -> None:
    path = export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    data = write_rows(folder / "rows.jsonl", labels)
    with pytest.raises(DataError, match=says):
        import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt"), data)
    assert not (folder / "out").exists()


def test_the_ladder_is_valid_whatever_the_folder_is_called_and_the_data_are_encoded_in(folder: Path) -> None:
    path = export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    data = write_rows(folder / "rows.jsonl", [*LABELS, ""], "gb18030")
    origin = Origin(labels=folder / "labels.txt")
    with pytest.raises(DataError, match="gb18030"):
        import_model(str(path), folder / "my model (2)", origin, data)
    made = import_model(str(path), folder / "my model (2)", origin, data, encoding="gb18030")
    assert made.rows == 3 and made.ladder is not None
    spec = load_spec(made.ladder)
    assert spec.name == made.package.manifest.name == "my-model-2"
    assert spec.data.encoding == "gb18030"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("labels.json", b'{"positive": 0, "negative": 1}', r"'positive'; write one a line .*--labels"),
        ("labels.json", b'["a", "b"', "expected labels, got"),
        ("labels.json", b"3", "expected labels, got"),
        ("labels.txt", "斑马\n苹果\n芒果\n".encode("gb18030"), "expected labels, got.*as UTF-8"),
        ("labels.txt", b"a\na\n", "two or more different labels"),
    ],
)
def test_labels_that_are_none_are_named(folder: Path, name: str, content: bytes, says: str) -> None:
    path = export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    (folder / name).write_bytes(content)
    with pytest.raises(UsageError, match=says):
        import_model(str(path), folder / "out", Origin(labels=folder / name))


def test_a_configuration_that_names_no_labels_asks_for_them(folder: Path) -> None:
    save_bert(folder, ["LABEL_0", "LABEL_1"])  # transformers' own, which it does not save
    with pytest.raises(UsageError, match=r"config\.json.* got \[\]; name them with --labels"):
        import_model(str(folder), folder / "out", Origin())
    (folder / "labels.txt").write_bytes("no\nyes\n".encode("utf-8-sig"))  # as editors on Windows save it
    made = import_model(str(folder), folder / "out", Origin(labels=folder / "labels.txt"))
    assert made.package.manifest.labels == ("no", "yes")


def test_data_give_an_accuracy_and_a_ladder_whose_cloud_is_the_model(folder: Path) -> None:
    from tianti.cli.progress import Quiet
    from tianti.pipeline.build import build_ladder

    class Keyword(nn.Module):
        """Right by construction: the labels of its words are summed."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(len(WORDS), 3)
            self.embedding.weight.data = torch.randn(len(WORDS), 3)

        def forward(self, ids: Tensor) -> Tensor:
            return self.embedding(ids).sum(1)

    torch.manual_seed(0)
    module = Keyword()
    path = export(
        module, folder / "model.onnx", (torch.ones((1, 4), dtype=torch.int64),),
        input_names=["ids"], dynamic_axes={"ids": {0: "n", 1: "t"}},
    )  # fmt: skip
    generator = np.random.default_rng(0)
    drawn = {tuple(generator.integers(2, len(WORDS), 3).tolist()) for _ in range(1500)}
    truth = module(torch.tensor(sorted(drawn))).argmax(1).tolist()
    texts = (" ".join(WORDS[word] for word in words) for words in sorted(drawn))
    rows = [{"text": text, "label": LABELS[label]} for text, label in zip(texts, truth, strict=True)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    made = import_model(str(path), folder / "out", Origin(labels=folder / "labels.txt"), folder / "train.jsonl")
    assert made.accuracy == 1.0 and made.ladder is not None
    ladder = made.ladder.read_text(encoding="utf-8").replace(
        "device:\n", "edge: {student: bag, width: 8, fit: {epochs: 1}, augment: 10}\n"
        "device:\n  student: bag\n  width: 8\n  fit: {epochs: 80}\n  augment: 10\n",
    )  # fmt: skip
    made.ladder.write_text(ladder, encoding="utf-8")
    record = build_ladder(made.ladder, Quiet())
    assert record.tiers["cloud"]["accuracy"] == 1.0
    assert record.tiers["device"]["accuracy"] > 0.9


def damaged(folder: Path) -> str:
    (folder / "model.onnx").write_bytes(b"\x08\x07not a model")
    return str(folder / "model.onnx")


def cut_off(folder: Path) -> str:
    path = export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    path.write_bytes(path.read_bytes()[:-500])
    return str(path)


def of_the_future(folder: Path) -> str:
    path = export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),))
    model = onnx.load(path)
    model.opset_import[0].version = 999
    path.write_bytes(model.SerializeToString())
    return str(path)


def with_an_image(folder: Path) -> str:
    node = helper.make_node("Identity", ["pixels"], ["out"])
    value = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(
        [node], "g", [value], [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, 8, 8])]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "model.onnx")
    return str(folder / "model.onnx")


def with_other_labels(folder: Path) -> str:
    (folder / "labels.txt").write_text("a\nb\n", encoding="utf-8")
    return str(export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),)))


def a_pickle(folder: Path) -> str:
    (folder / "model.pt").write_bytes(pickle.dumps({"weights": 1}))
    return str(folder / "model.pt")


def without_tokenizer(folder: Path) -> str:
    (folder / "tokenizer.json").unlink()
    return str(export(Classic(), folder / "model.onnx", (torch.ones((1, LENGTH), dtype=torch.int64),)))


def of_no_known_kind(folder: Path) -> str:
    (folder / "model.xyz").write_bytes(b"?")
    return str(folder / "model.xyz")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (damaged, StageError, "damaged or incomplete"),
        (cut_off, StageError, "damaged or incomplete"),
        (of_the_future, StageError, "cannot run the model|damaged or incomplete"),
        (with_an_image, StageError, r"expected ids \[batch, tokens\], got FLOAT of 4"),
        (with_other_labels, StageError, r"expected an output of 2 scores.*\[1, 3\]"),
        (a_pickle, UsageError, "cannot carry code.*module:function"),
        (without_tokenizer, UsageError, "--tokenizer"),
        (of_no_known_kind, UsageError, "expected a Hugging Face folder"),
    ],
)
def test_what_is_bad_is_refused_and_leaves_nothing(
    folder: Path, make: Any, error: type[TiantiError], says: str
) -> None:
    source = make(folder)
    before = sorted(folder.iterdir())
    with pytest.raises(error, match=says):
        import_model(source, folder / "out", Origin(labels=folder / "labels.txt"))
    assert sorted(folder.iterdir()) == before
