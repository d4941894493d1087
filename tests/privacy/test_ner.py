"""The NER adapter on a real, tiny token-classification model, exported as Hugging Face folders are."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest

from tianti.errors import PrivacyError
from tianti.privacy import Found, Redactor
from tianti.privacy.ner import NerDetector
from tianti.spec.privacy import PrivacyPolicy

BIO = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
BIOES = ("O", "B-PER", "I-PER", "E-PER", "S-PER")
PLAIN = ("O", "PER")


def make_model(
    folder: Path, words: Mapping[str, str], labels: Iterable[str] = BIO, window: int = 512, inputs: tuple[str, ...] = ()
) -> Path:
    """A folder whose model gives each token of `words` its label."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    labels = list(labels)
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, **{word: at for at, word in enumerate(words, 4)}}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    table = np.zeros((len(vocabulary), len(labels)), dtype=np.float32)
    table[:, 0] = 1
    for word, label in words.items():
        table[vocabulary[word]] = np.eye(len(labels))[labels.index(label)]
    (folder / "onnx").mkdir(parents=True)
    write_model(folder / "onnx" / "model.onnx", table, ("input_ids", "attention_mask", *inputs))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"id2label": dict(enumerate(labels)), "max_position_embeddings": window, "model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def write_model(path: Path, table: np.ndarray, inputs: tuple[str, ...]) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in inputs]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "tokens", table.shape[1]])
    node = helper.make_node("Gather", ["table", "input_ids"], ["logits"])
    graph = helper.make_graph([node], "labels", given, [logits], [numpy_helper.from_array(table, "table")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def found(detector: NerDetector, text: str) -> list[tuple[str, str]]:
    return [(text[one.start : one.end], one.kind) for one in detector(text)]


TYPES = {"PER": "person", "LOC": "address"}


def test_what_its_labels_name_is_found(tmp_path: Path) -> None:
    words = {"王": "B-PER", "芳": "I-PER", "北": "B-LOC", "京": "I-LOC", "anna": "B-PER", "smith": "I-PER", "met": "O"}
    detector = NerDetector(make_model(tmp_path, words), TYPES)
    assert found(detector, "今天王芳去北京") == [("北京", "address"), ("王芳", "person")]
    assert found(detector, "Anna Smith met Anna") == [("Anna Smith", "person"), ("Anna", "person")]
    assert found(detector, "王芳王芳") == [("王芳", "person")] * 2
    assert found(detector, "") == []


def test_other_labels_are_left_aside(tmp_path: Path) -> None:
    detector = NerDetector(make_model(tmp_path, {"anna": "B-PER", "bonn": "B-LOC"}), {"PER": "person"})
    assert found(detector, "anna bonn") == [("anna", "person")]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (BIOES, {"王": "B-PER", "小": "I-PER", "芳": "E-PER", "李": "S-PER"}),
        (PLAIN, {"王": "PER", "小": "PER", "芳": "PER", "李": "PER"}),
        (BIO, {"王": "I-PER", "小": "I-PER", "芳": "I-PER", "李": "I-PER"}),
    ],
)
def test_other_ways_to_mark_entities(tmp_path: Path, labels: tuple[str, ...], words: dict[str, str]) -> None:
    detector = NerDetector(make_model(tmp_path, words, labels), {"PER": "person"})
    assert found(detector, "找王小芳和李。") == [("王小芳", "person"), ("李", "person")]


def test_what_is_said_of_a_part_counts_for_the_word(tmp_path: Path) -> None:
    detector = NerDetector(make_model(tmp_path, {"jo": "O", "##han": "B-PER", "##nes": "O"}), {"PER": "person"})
    assert found(detector, "to Johannes.") == [("Johannes", "person")]
    assert found(detector, "致johannes吗") == [("johannes", "person")]


@pytest.mark.parametrize("before", range(40, 70))
def test_long_texts_are_read_in_windows(tmp_path: Path, before: int) -> None:
    words = {"a": "O", "王": "B-PER", "小": "I-PER", "芳": "I-PER"}
    detector = NerDetector(make_model(tmp_path, words, window=16), {"PER": "person"})
    text = "a " * before + "王小芳" + " a" * 30
    assert found(detector, text) == [("王小芳", "person")]


def test_a_redactor_uses_it(tmp_path: Path) -> None:
    detector = NerDetector(make_model(tmp_path, {"王": "B-PER", "芳": "I-PER"}), {"PER": "person"})
    policy = PrivacyPolicy(rules=1, default="redact", types={}, regions=("CN",))
    redactor = Redactor(policy, [(detector, frozenset({"person"}))])
    assert redactor.leaving("王芳，电话13800138000").text == "⟦PERSON_1⟧，电话⟦PHONE_1⟧"
    assert redactor.find("王芳") == [Found(0, 2, "person")]


def test_its_digest_is_of_its_files(tmp_path: Path) -> None:
    one, two, other = (
        NerDetector(make_model(tmp_path / name, {"anna": label}), TYPES)
        for name, label in (("1", "B-PER"), ("2", "B-PER"), ("3", "I-PER"))
    )
    assert one.digest == two.digest != other.digest
    (tmp_path / "3" / "onnx" / "model.onnx_data").write_bytes(b"weights")
    assert NerDetector(tmp_path / "3", TYPES).digest != other.digest


def test_what_is_no_such_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match=r"expected a token-classification model's config\.json"):
        NerDetector(tmp_path, TYPES)
    make_model(tmp_path, {"anna": "B-PER"}, labels=PLAIN[:1] + BIO[1:3])
    with pytest.raises(PrivacyError, match=r"no label \['LOC'\]"):
        NerDetector(tmp_path, TYPES)
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"no model")
    with pytest.raises(PrivacyError, match="cannot be opened"):
        NerDetector(tmp_path, {"PER": "person"})


def test_a_model_with_other_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrivacyError, match=r"the model has inputs \['bbox'\]"):
        NerDetector(make_model(tmp_path, {"anna": "B-PER"}, inputs=("bbox",)), {"PER": "person"})
