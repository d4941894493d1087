"""The classic text model, Embedding -> LSTM -> Dense on tokenised, padded text, from PyTorch or Keras to a device.

    python examples/classic.py torch            # needs tianti[train]
    python examples/classic.py keras            # needs tianti[train,keras,litert-train]

It is trained here, imported as the cloud of a ladder (`tianti import`), distilled and quantised for edge and device
(`tianti run`), and asked on the device, in ONNX Runtime and for Keras in LiteRT too. All files go to ./classic-NAME.

Two repairs of the printed recipes: texts are padded on the left, since an LSTM's last state on a text that is padded on
the right is what it made of padding; and the Keras LSTM is unrolled, since the loop of a rolled one cannot become
TFLite. Rows that certify and test are not those that the model was trained on.
"""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from tianti import load

LENGTH, WIDTH, EPOCHS, ROWS, BATCH, DROPOUT = 16, 64, 8, 4000, 64, 0.4
LADDER = """
name: classic
data: {{train: train.jsonl, calibration: calibration.jsonl, test: test.jsonl, max_length: {length}}}
cloud: {{package: imported/package}}
edge: {{width: 64, layers: 1, augment: 4000}}
device: {{student: bag, width: 32, augment: 4000, size: 0.3 MB, engine: {engine}}}
"""


def write_rows(name: str, folder: Path) -> list[dict[str, str]]:
    """Rows of the sample, without those that no label fits."""
    with gzip.open(folder / "sample" / "data" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [row for line in file if (row := json.loads(line))["label"] != "out_of_scope"][:ROWS]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return rows


def train_tokenizer(texts: list[str], path: Path) -> Tokenizer:
    """Words of English, characters of Chinese, lower case; the file is what the model will be shipped with."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=["[PAD]", "[UNK]"]))
    tokenizer.save(str(path))
    return tokenizer


def pad(tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.int64]:
    """Ids [texts, LENGTH], padded on the left with 0."""
    padded = np.zeros((len(texts), LENGTH), np.int64)
    for row, text in enumerate(texts):
        ids = tokenizer.encode(text).ids[:LENGTH]
        padded[row, LENGTH - len(ids) :] = ids
    return padded


class Classic(torch.nn.Module):
    """Embedding -> LSTM -> Dense."""

    def __init__(self, words: int, labels: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(words, WIDTH)
        self.dropout = torch.nn.Dropout(DROPOUT)
        self.lstm = torch.nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.dense = torch.nn.Linear(WIDTH, labels)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(self.dropout(self.embedding(ids)))
        return self.dense(self.dropout(states[:, -1]))


def train_torch(ids: NDArray[np.int64], labels: NDArray[np.int64], words: int, folder: Path) -> list[str]:
    torch.manual_seed(0)
    module = Classic(words, int(labels.max()) + 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(ids)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(
                module(torch.from_numpy(ids)[rows]), torch.from_numpy(labels)[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(module.state_dict(), folder / "weights.pt")
    return ["classic:build", "--pad-to", str(LENGTH)]


def build() -> Classic:
    """What `tianti import classic:build` calls: the module, with its weights."""
    weights = torch.load(Path("classic-torch") / "weights.pt", weights_only=True)
    module = Classic(*weights["embedding.weight"].shape[:1], weights["dense.bias"].shape[0])
    module.load_state_dict(weights)
    return module


def train_keras(ids: NDArray[np.int64], labels: NDArray[np.int64], words: int, folder: Path) -> list[str]:
    import keras

    keras.utils.set_random_seed(0)
    layers: Any = keras.layers
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            layers.Embedding(words, WIDTH),
            layers.Dropout(DROPOUT),
            layers.LSTM(WIDTH, unroll=True),
            layers.Dropout(DROPOUT),
            layers.Dense(int(labels.max()) + 1, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(ids, labels, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    model.save(folder / "model.keras")
    return [str(folder / "model.keras")]


def tianti(*arguments: object) -> None:
    """Run a command of Tianti's, as on the command line."""
    print("$ tianti", *arguments, flush=True)
    path = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {path!r}); from tianti.cli.main import run_cli; run_cli()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def main(framework: str) -> None:
    folder = Path(f"classic-{framework}")
    folder.mkdir()
    tianti("init", folder / "sample")
    rows = [write_rows(name, folder) for name in ("calibration", "test", "train")][-1]
    texts, names = [row["text"] for row in rows], sorted({row["label"] for row in rows})
    (folder / "labels.txt").write_text("\n".join(names), encoding="utf-8")
    tokenizer = train_tokenizer(texts, folder / "tokenizer.json")
    labels = np.array([names.index(row["label"]) for row in rows])
    train = {"torch": train_torch, "keras": train_keras}[framework]
    source = train(pad(tokenizer, texts), labels, tokenizer.get_vocab_size(), folder)
    files = ["--tokenizer", folder / "tokenizer.json", "--labels", folder / "labels.txt", "--pad-side", "left"]
    tianti("import", *source, *files, "--out", folder / "imported", "--data", folder / "test.jsonl")
    for engine in {"torch": ["onnx"], "keras": ["onnx", "litert"]}[framework]:
        (folder / "ladder.yaml").write_text(LADDER.format(length=LENGTH, engine=engine), encoding="utf-8")
        tianti("run", folder / "ladder.yaml")
        releases = folder / ".tianti" / "releases"
        with load(releases / (releases / "latest").read_text(encoding="utf-8").strip()) as ladder:
            for text in ("turn off the kitchen light", "打开厨房的灯"):
                answer = ladder.predict(text)
                print(f"{engine}: {text} -> {answer.label} ({answer.score:.2f}, {answer.tier})")


if __name__ == "__main__":
    main(sys.argv[1])
