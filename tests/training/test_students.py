"""Students: padding changes nothing, every base token has a row, and what is trained can be exported."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tianti.compression import export_onnx, quantize
from tianti.errors import StageError
from tianti.spec.ladder import FitSpec, Freeze, PruneSpec
from tianti.training import (
    Lessons,
    Rows,
    Teacher,
    Vocabulary,
    build_body,
    distill,
    make_texts,
    shrink_vocabulary,
    teach_scratch,
    warm_start,
)
from tianti.training.students import Student, TransformerBody

LABELS = 3
WORDS = ("red", "green", "blue")


def silent(done: int, total: int, note: str) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """A cloud model from scratch that tells three colours apart."""
    texts = [f"the {WORDS[i % 3]} thing number {i} 号" for i in range(120)]
    rows = Rows(texts, np.arange(120) % LABELS)
    return teach_scratch(rows, rows, LABELS, 16, FitSpec(epochs=2), 0, silent)


@pytest.fixture(scope="module")
def vocabulary(teacher: Teacher) -> Vocabulary:
    return shrink_vocabulary(teacher, teacher.encode(["the red thing", "the blue thing"]), silent)


def test_the_teacher_from_scratch_learns(teacher: Teacher) -> None:
    logits = teacher.label(teacher.encode([f"a {word} thing" for word in WORDS]), silent)
    assert logits.argmax(axis=1).tolist() == [0, 1, 2]


def test_every_token_has_a_row_and_unseen_ones_find_a_neighbour_or_unknown(vocabulary: Vocabulary) -> None:
    assert vocabulary.alias.min() >= 0 and vocabulary.alias.max() == vocabulary.rows - 1
    assert vocabulary.alias[vocabulary.special.pad] == 0
    for row, token in enumerate(vocabulary.kept, 1):
        assert vocabulary.alias[token] == row


def test_attention_is_the_same_while_training_and_in_the_file() -> None:
    torch.manual_seed(0)
    body = TransformerBody(50, LABELS, 16, 2, 12)
    for module in body.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    ids = torch.tensor([[3, 4, 5, 6, 7], [8, 9, 0, 0, 0]])
    torch.testing.assert_close(body.train()(ids), body.eval()(ids))


@pytest.mark.parametrize("kind", ["transformer", "bag", "lstm"])
def test_padding_changes_nothing_and_the_file_agrees(
    kind: str, teacher: Teacher, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    body = build_body(kind, teacher, vocabulary, LABELS, 16, 2)
    student = Student(body, vocabulary.alias_tensor()).eval()
    ids = torch.tensor(teacher.encode(["the red thing number one"]))
    padded = torch.nn.functional.pad(ids, (0, 5), value=teacher.pad_id)
    with torch.no_grad():
        torch.testing.assert_close(student(ids), student(padded))
    export_onnx(student, tmp_path / "float.onnx", example_ids=ids, pad_id=teacher.pad_id)
    quantize(tmp_path / "float.onnx", tmp_path / "small.onnx", embedding="int4", matmul="int8")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"input_ids": ids.numpy()})[0].shape == (1, LABELS)


def test_a_student_without_a_table_is_refused(teacher: Teacher, vocabulary: Vocabulary) -> None:
    with pytest.raises(StageError, match="called `embedding`"):
        build_body(lambda vocab, labels, width: torch.nn.Linear(width, labels), teacher, vocabulary, LABELS, 16, 2)


def test_cutting_a_teacher_from_scratch_down_is_refused(teacher: Teacher, vocabulary: Vocabulary) -> None:
    with pytest.raises(StageError, match=r"cloud\.base"):
        build_body("encoder:2", teacher, vocabulary, LABELS, 16, 2)


def test_a_diverging_fit_is_an_error(teacher: Teacher) -> None:
    rows = Rows(["a b c d"] * 64, np.arange(64) % LABELS)
    with pytest.raises(StageError, match="learning_rate"):
        teach_scratch(rows, rows, LABELS, 16, FitSpec(epochs=20, learning_rate=1e30, optimizer="sgd"), 0, silent)


def test_made_up_texts_are_framed_short_and_repeatable(teacher: Teacher, vocabulary: Vocabulary) -> None:
    ids = teacher.encode(["the red thing", "the blue thing", "the red one"])
    labels = np.array([0, 1, 0])
    made = [make_texts(ids, labels, vocabulary.neighbours(), vocabulary.special, 50, 8, seed=3) for _ in range(2)]
    assert made[0] == made[1]
    (first,), (last,) = vocabulary.special.before, vocabulary.special.after
    assert all(len(text) <= 8 and text[0] == first and text[-1] == last for text in made[0])


def test_a_student_that_is_pruned_may_stop_early(teacher: Teacher, vocabulary: Vocabulary) -> None:
    ids = teacher.encode([f"the {word} thing" for word in WORDS])
    labels = np.arange(LABELS)
    lessons = Lessons(ids, labels, teacher.label(ids, silent), ids, labels)
    body = build_body("bag", teacher, vocabulary, LABELS, 16, 2)
    fit = FitSpec(epochs=4, patience=1)
    student = distill(body, vocabulary, lessons, fit, 4, 0, silent, PruneSpec(weights="50%"))
    assert (student.body.head.weight == 0).float().mean() == pytest.approx(0.5, abs=0.02)


def retrain(teacher: Teacher, vocabulary: Vocabulary, freeze: Freeze | None, *, warm: bool = True) -> dict[str, float]:
    """How far each part of a student moves from its parent's weights."""
    ids = teacher.encode([f"the {word} thing" for word in WORDS] * 200)
    labels = np.arange(len(ids)) % LABELS
    lessons = Lessons(ids, labels, teacher.label(ids, silent), ids, labels)
    torch.manual_seed(1)
    parent = build_body("transformer", teacher, vocabulary, LABELS, 16, 1)
    body = build_body("transformer", teacher, vocabulary, LABELS, 16, 1)
    with torch.no_grad():
        warm_start(body, parent, range(LABELS), freeze)
    student = distill(body, vocabulary, lessons, FitSpec(), None, 0, silent, warm=warm)
    after = student.body.state_dict()
    return {name: float((after[name] - old).norm()) for name, old in parent.state_dict().items()}


def test_a_retrain_moves_what_it_is_told_and_by_default_not_far(teacher: Teacher, vocabulary: Vocabulary) -> None:
    anything = retrain(teacher, vocabulary, None)
    assert all(anything.values())
    far = retrain(teacher, vocabulary, None, warm=False)
    widened = "layers.0.widen.weight"
    assert anything[widened] < 0.1 * far[widened]
    tables = retrain(teacher, vocabulary, "embedding")
    assert {name for name, moved in tables.items() if not moved} == {"embedding.weight", "position"}
    head = retrain(teacher, vocabulary, "all")
    assert {name for name, moved in head.items() if moved} == {"head.weight", "head.bias"}


def test_a_student_without_a_head_cannot_be_frozen_but_for_it() -> None:
    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 3)

    with pytest.raises(StageError, match=r"train\.freeze: expected a part called head"), torch.no_grad():
        warm_start(Whole(), Whole(), range(3), "all")
