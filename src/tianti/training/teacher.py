"""The cloud's model: a frozen encoder with a linear head, the same fine-tuned, or one from scratch.

Not here: distilling it (`distill`). Invariant: a teacher maps ids of its tokenizer to logits of the in-scope labels.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tianti.errors import needs_extra
from tianti.package import read_package
from tianti.spec.ladder import FitSpec
from tianti.training.contract import Progress
from tianti.training.encoder import Encoder, Pool, load_encoder, load_tokenizer
from tianti.training.imported import PackageModule
from tianti.training.loop import Ids, compute_all, fit_module
from tianti.training.tokenizer import encode_texts, find_special, train_tokenizer
from tianti.training.wide import DeepPart, WideAndDeep, fit_wide

with needs_extra("train"):
    import torch
    from sklearn.linear_model import LogisticRegression
    from tokenizers import Tokenizer
    from torch import Tensor, nn

FINE_TUNE = FitSpec(optimizer="adamw", schedule="linear", learning_rate=1e-4, epochs=3, batch_size=32)
SCRATCH = FitSpec(optimizer="adamw", schedule="cosine", learning_rate=2e-3, batch_size=64)
_SCRATCH_ROWS, _SCRATCH_EPOCHS = 60_000, (3, 10)  # rows seen in all, so that small data are seen more often
_HEAD_RATE = 2e-3
_INVERSE_PENALTY = 5.0  # of the logistic head: small enough that energy still tells strangers
_MIXES = np.linspace(0.0, 1.0, 11)
_IMPORTED, _VECTORS, _REST = "package", "vectors.npy", "teacher.json"


class EncoderClassifier(nn.Module):
    """An encoder and a linear head: input_ids int64 [batch, tokens] -> logits float32 [batch, labels]."""

    def __init__(self, encoder: Encoder, labels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.width, labels)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Classify a batch."""
        return self.head(self.encoder(input_ids))


@dataclass(frozen=True)
class Rows:
    """Texts and the indices of their labels."""

    texts: Sequence[str]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Teacher:
    """A trained cloud model. `frozen` says that the encoder's weights are those of its base."""

    module: nn.Module
    tokenizer: Tokenizer
    max_length: int
    architecture: str

    @property
    def pad_id(self) -> int:
        """The id of padding."""
        return find_special(self.tokenizer).pad

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts."""
        return encode_texts(self.tokenizer, texts, self.max_length)

    def tokenizer_json(self) -> str:
        """The tokenizer as it ships: it neither cuts nor pads."""
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        return self.tokenizer.to_str()

    def label(self, ids: Ids, progress: Progress) -> NDArray[np.float32]:
        """Logits of rows, float32 [rows, labels]."""
        return compute_all(self.module, ids, self.pad_id, progress, "asking the teacher")


def teach_head(base: Path, train: Rows, labels: int, max_length: int, progress: Progress) -> Teacher:
    """A frozen encoder whose logistic head is fitted on its embeddings."""
    tokenizer = load_tokenizer(base)
    encoder = load_encoder(base, find_special(tokenizer).pad)
    module = EncoderClassifier(encoder, labels)
    ids = encode_texts(tokenizer, train.texts, max_length)
    vectors = torch.from_numpy(compute_all(Pool(encoder), ids, encoder.pad_id, progress, "encoding"))
    vectors = vectors.view(len(ids), *encoder.centre.shape)
    encoder.centre.copy_(vectors.mean(dim=0))
    progress(0, 1, "fitting the head")
    _set_head(module.head, encoder.join(vectors).numpy(), train.labels)
    return Teacher(module.eval(), tokenizer, max_length, architecture="encoder with a linear head")


def fine_tune(
    base: Path, train: Rows, validation: Rows, labels: int, max_length: int, fit: FitSpec, seed: int, progress: Progress
) -> Teacher:
    """The same with all weights trained, from the logistic head on."""
    start = teach_head(base, train, labels, max_length, progress)
    ids, held_out = start.encode(train.texts), start.encode(validation.texts)
    target = torch.from_numpy(train.labels)
    fit_module(
        start.module,
        ids,
        start.pad_id,
        lambda logits, rows: nn.functional.cross_entropy(logits, target[torch.from_numpy(rows)].to(logits.device)),
        with_defaults(fit, FINE_TUNE),
        seed=seed,
        note="fine-tuning",
        progress=progress,
        head_rate=_HEAD_RATE,
        validate=lambda module: accuracy_of(module, held_out, start.pad_id, validation.labels),
    )
    return Teacher(start.module, start.tokenizer, max_length, architecture="fine-tuned encoder")


def teach_scratch(
    train: Rows,
    validation: Rows,
    labels: int,
    max_length: int,
    fit: FitSpec,
    seed: int,
    progress: Progress,
    tokenizer: Tokenizer | None = None,
) -> Teacher:
    """Wide and deep (Cheng et al. 2016) without a base: a linear model of 1-3-grams and a small transformer.

    Their logits are mixed as validation says. `tokenizer`: a parent's; None: one is trained.
    """
    tokenizer = tokenizer or train_tokenizer(train.texts)
    special = find_special(tokenizer)
    ids, held_out = (encode_texts(tokenizer, rows.texts, max_length) for rows in (train, validation))
    progress(0, 1, "fitting 1-3-grams")
    torch.manual_seed(seed)
    wide = fit_wide(ids, train.labels, labels, special.pad)
    deep = DeepPart(tokenizer.get_vocab_size(), labels, max_length, special.pad, special.unknown)
    target = torch.from_numpy(train.labels)
    fit_module(
        deep,
        ids,
        special.pad,
        lambda logits, rows: nn.functional.cross_entropy(logits, target[torch.from_numpy(rows)].to(logits.device)),
        with_defaults(fit, msgspec.structs.replace(SCRATCH, epochs=_scratch_epochs(len(ids)))),
        seed=seed,
        note="training",
        progress=progress,
        validate=lambda module: accuracy_of(module, held_out, special.pad, validation.labels),
    )
    module = _mix(WideAndDeep(wide, deep), held_out, validation.labels, special.pad)
    return Teacher(module.eval(), tokenizer, max_length, architecture="wide and deep, from scratch")


def _scratch_epochs(rows: int) -> int:
    fewest, most = _SCRATCH_EPOCHS
    return min(max(round(_SCRATCH_ROWS / rows), fewest), most)


def _mix(module: WideAndDeep, ids: Ids, labels: NDArray[np.int64], pad_id: int) -> WideAndDeep:
    """Choose the share of the deep part by validation accuracy, ties by likelihood."""
    silent: Progress = lambda done, total, note: None  # noqa: E731
    wide, deep = (torch.from_numpy(compute_all(part, ids, pad_id, silent, "")) for part in (module.wide, module.deep))
    target = torch.from_numpy(labels)
    if not len(labels):
        return module

    def quality(share: float) -> tuple[float, float]:
        logits = (1 - share) * wide + share * deep
        return float((logits.argmax(1) == target).float().mean()), -float(nn.functional.cross_entropy(logits, target))

    module.share.fill_(max(_MIXES.tolist(), key=quality))
    return module


def with_defaults(fit: FitSpec, defaults: FitSpec) -> FitSpec:
    """A fit whose missing numbers are the defaults'."""
    given = {name: value for name, value in msgspec.structs.asdict(fit).items() if value is not None}
    return msgspec.structs.replace(defaults, **given)


def accuracy_of(module: nn.Module, ids: Ids, pad_id: int, labels: NDArray[np.int64]) -> float:
    """Share of rows whose largest logit is the label."""
    if not len(labels):
        return 0.0
    logits = compute_all(module, ids, pad_id, lambda done, total, note: None, "")
    return float((logits.argmax(axis=1) == labels).mean())


def _set_head(head: nn.Linear, embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    model = LogisticRegression(C=_INVERSE_PENALTY, max_iter=300, tol=1e-4).fit(embeddings, labels)
    weight, bias = model.coef_, model.intercept_
    if len(weight) == 1:  # two labels: scikit-learn keeps one row, the log-odds of the second
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head.weight.data = torch.tensor(weight, dtype=torch.float32)
    head.bias.data = torch.tensor(bias, dtype=torch.float32)


def save_teacher(teacher: Teacher, folder: Path) -> None:
    """Keep a teacher for later stages of the same workspace."""
    torch.save(teacher.module, folder / "teacher.pt")
    teacher.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    _keep_rest(folder, teacher.max_length, teacher.architecture)


def keep_imported(package: Path, vectors: NDArray[np.float32], max_length: int, folder: Path) -> None:
    """Keep an imported package as a teacher; `vectors` as in `PackageModule`."""
    shutil.copytree(package, folder / _IMPORTED)
    np.save(folder / _VECTORS, vectors)
    _keep_rest(folder, max_length, "imported")


def _keep_rest(folder: Path, max_length: int, architecture: str) -> None:
    (folder / _REST).write_bytes(msgspec.json.encode({"max_length": max_length, "architecture": architecture}))


def load_teacher(folder: Path) -> Teacher:
    """What `save_teacher` or `keep_imported` kept. The file is the workspace's own: unpickling it trusts nobody new."""
    rest = msgspec.json.decode((folder / _REST).read_bytes())
    if (folder / _IMPORTED).is_dir():
        package = read_package(folder / _IMPORTED)
        tokenizer = Tokenizer.from_file(str(package.tokenizer_path))
        module: nn.Module = PackageModule(package.folder, np.load(folder / _VECTORS), find_special(tokenizer).pad)
        return Teacher(module, tokenizer, **rest)
    module = torch.load(folder / "teacher.pt", weights_only=False)
    return Teacher(module, load_tokenizer(folder), **rest)
