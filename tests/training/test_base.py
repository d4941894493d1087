"""Teachers on a base: a tiny encoder in a folder, laid out as Hugging Face does."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from tianti.errors import DataError, SpecError
from tianti.spec.ladder import FitSpec
from tianti.training import Rows, Teacher, find_base, fine_tune, teach_head
from tianti.training.students import EncoderBody
from tianti.training.warm import warm_start

WORDS = ("red", "green", "blue")
VOCABULARY = {word: i for i, word in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "thing", *WORDS))}


def silent(done: int, total: int, note: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def colours(count: int) -> Rows:
    return Rows([f"the {WORDS[i % 3]} thing" for i in range(count)], np.arange(count) % 3)


def answers(teacher: Teacher) -> list[int]:
    return teacher.label(teacher.encode([f"the {word} thing" for word in WORDS]), silent).argmax(axis=1).tolist()


def test_a_head_is_fitted_and_the_encoder_is_left_alone(base: Path) -> None:
    teacher = teach_head(base, colours(60), 3, 16, silent)
    assert answers(teacher) == [0, 1, 2]


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_all_weights_are_trained(base: Path, optimizer: str) -> None:
    fit = FitSpec(optimizer=optimizer, epochs=2, patience=1)
    teacher = fine_tune(base, colours(60), colours(6), 3, 16, fit, 0, silent)
    assert answers(teacher) == [0, 1, 2]
    table, kept = (t.module.encoder.word_table() for t in (teacher, teach_head(base, colours(60), 3, 16, silent)))
    assert not np.allclose(table, kept)


@pytest.mark.parametrize("revision", ["", "@v2"])
def test_a_base_of_the_hub_is_found_in_its_cache(
    base: Path, revision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    commit = "0" * 40
    cached = tmp_path / "models--org--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / (revision.removeprefix("@") or "main")).write_text(commit, encoding="utf-8")
    shutil.copytree(base, cached / "snapshots" / commit)
    assert find_base(f"hf://org/name{revision}", Path()) == cached / "snapshots" / commit
    with pytest.raises(DataError, match="set HF_ENDPOINT to a mirror"):
        find_base("hf://org/other", Path())


def test_a_folder_without_weights_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(SpecError, match="no encoder that transformers can load"):
        teach_head(tmp_path / "bare", colours(60), 3, 16, silent)


def test_the_table_of_an_encoder_never_moves_so_freezing_it_changes_nothing(base: Path) -> None:
    teacher = teach_head(base, colours(30), 3, 16, silent)
    body = EncoderBody(teacher.module.encoder, [2, 3, 4], 1, teacher.module.head)
    assert not body.encoder.model.get_input_embeddings().weight.requires_grad
    assert warm_start(body, copy.deepcopy(body), range(3), freeze="embedding") is None
