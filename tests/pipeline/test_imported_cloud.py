"""A cloud that was imported teaches: what its tokenizer knows beside its table, and at the length that is served."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

from tests.tiny_release import WORDS, make_tokenizer_json, write_model
from tianti.errors import SpecError
from tianti.package import ModelPackage, write_package
from tianti.pipeline.stages.teach import _keep_imported
from tianti.training import load_teacher, shrink_vocabulary

VOCABULARY = {word: i for i, word in enumerate(("[PAD]", "[UNK]", *(row[0] for row in WORDS.values())))}
PREPARED: Any = SimpleNamespace(labels=tuple(WORDS))


@pytest.fixture
def package(tmp_path: Path) -> ModelPackage:
    tokenizer = Tokenizer.from_str(make_tokenizer_json(VOCABULARY))
    tokenizer.add_special_tokens([AddedToken("[CLS]", special=True)])  # an id behind the table's last row
    table = np.eye(len(VOCABULARY), len(WORDS), k=-2, dtype=np.float32)
    write_model(tmp_path / "model.onnx", table)
    (tmp_path / "package").mkdir()
    return write_package(
        tmp_path / "package",
        name="mine",
        version="1",
        labels=tuple(WORDS),
        max_length=8,
        model=tmp_path / "model.onnx",
        tokenizer_json=tokenizer.to_str(),
        goldens=[],
        card="",
        architecture="imported",
        lineage={},
    )


def test_students_learn_at_the_length_that_is_served_and_know_every_token(
    package: ModelPackage, tmp_path: Path
) -> None:
    (tmp_path / "teach").mkdir()
    _keep_imported(package, PREPARED, 4, tmp_path / "teach")
    teacher = load_teacher(tmp_path / "teach")
    ids = teacher.encode(["lamp song rain lamp song rain"])
    assert [len(tokens) for tokens in ids] == [4]
    vocabulary = shrink_vocabulary(teacher, ids, lambda done, total, note: None)
    assert len(vocabulary.alias) == len(VOCABULARY) + 1


def test_a_length_that_the_package_does_not_take_is_refused(package: ModelPackage, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at most the 8 tokens"):
        _keep_imported(package, PREPARED, 9, tmp_path)
