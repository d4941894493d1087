"""Each engine gives what torch gives, and the fastest is chosen by measuring. `make test-platforms` installs them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor, nn

from tianti import load
from tianti.cli.progress import Quiet
from tianti.compression import export_onnx
from tianti.data.sample.generate import sample_rows
from tianti.errors import StageError
from tianti.explain import occlude, scorer_of
from tianti.package import Engine, ModelPackage, read_package, write_package
from tianti.pipeline import Workspace
from tianti.pipeline.build import build_ladder
from tianti.runtimes import open_package
from tianti.spec import ScoreHead
from tianti.training.students import BagBody, LstmBody, Student, TransformerBody

VOCABULARY, KEPT, LABELS, LONGEST = 300, 80, 7, 40
WORDS = ["[PAD]", "[UNK]", *(f"w{number}" for number in range(VOCABULARY - 2))]
BODIES = {"transformer": TransformerBody, "bag": BagBody, "lstm": LstmBody}
TOKENLESS = "\ufe0f"
TEXTS = [" ".join(f"w{(7 * n + 3 * at) % 290}" for at in range(n % LONGEST + 1)) for n in range(200)]


def make_student(kind: str) -> Student:
    torch.manual_seed(1)
    alias = torch.randint(1, KEPT, (VOCABULARY,))
    alias[0] = 0
    size = {"layers": 2, "max_length": LONGEST} if kind == "transformer" else {}
    return Student(BODIES[kind](KEPT, LABELS, 16, **size), alias).eval()


def make_package(folder: Path, engine: Engine, model: Path) -> ModelPackage:
    tokenizer = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Replace(TOKENLESS, "")
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return write_package(
        folder,
        name="x",
        version="1",
        labels=tuple(f"label {number}" for number in range(LABELS)),
        max_length=LONGEST,
        model=model,
        tokenizer_json=tokenizer.to_str(),
        goldens=[],
        card="",
        architecture="",
        lineage={},
        engine=engine,
    )


def ids_of(text: str) -> Tensor:
    return torch.tensor([[WORDS.index(word) for word in text.split()]])


def write_model(engine: Engine, module: nn.Module, folder: Path) -> Path:
    if engine == "litert":
        from tianti.compression import export_litert

        export_litert(module, folder / "model.tflite", max_length=LONGEST, quantized=False)
        return folder / "model.tflite"
    export_onnx(module, folder / "model.onnx", example_ids=ids_of(TEXTS[12]))
    return folder / "model.onnx"


def skip_without(engine: str) -> None:
    module = {"litert": "litert_torch", "openvino": "openvino", "openvino-bf16": "openvino"}.get(engine, "onnxruntime")
    found = pytest.importorskip(module, reason=f"needs {module}: make test-platforms", exc_type=ImportError)
    if engine == "openvino-bf16" and "BF16" not in found.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("needs a CPU that computes in bfloat16: AVX512_BF16 or AMX")


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("engine", ["onnx", "litert", "openvino"])
def test_every_engine_gives_what_torch_gives(tmp_path: Path, engine: Engine, kind: str) -> None:
    skip_without(engine)
    module = make_student(kind)
    runtime = open_package(make_package(tmp_path / "package", engine, write_model(engine, module, tmp_path)))
    farthest = 0.0
    for text in TEXTS:
        output = runtime.run(text)
        with torch.no_grad():
            expected = module(ids_of(text))[0].numpy()
        farthest = max(farthest, float(np.abs(output.logits - expected).max()))
        assert output.tokens == len(text.split())
    print(f"{engine} {kind}: {farthest:.2g} from torch at most, {len(TEXTS)} texts")
    assert farthest <= 1e-5


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("engine", ["onnx", "litert", "openvino"])
def test_a_text_without_a_token_is_padding(tmp_path: Path, engine: Engine, kind: str) -> None:
    skip_without(engine)
    module = make_student(kind)
    runtime = open_package(make_package(tmp_path / "package", engine, write_model(engine, module, tmp_path)))
    output = runtime.run(" ")
    with torch.no_grad():
        np.testing.assert_allclose(output.logits, module(torch.tensor([[0]]))[0].numpy(), atol=1e-5)
    assert output.tokens == 0
    if runtime.batches:
        np.testing.assert_allclose(runtime.run_rows([[], []]), [output.logits] * 2, atol=1e-5)


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("engine", ["litert", "openvino"])
def test_every_engine_explains_as_onnx_does(tmp_path: Path, engine: Engine, kind: str) -> None:
    skip_without(engine)
    module, found = make_student(kind), []
    for each in ("onnx", engine):
        runtime = open_package(make_package(tmp_path / each, each, write_model(each, module, tmp_path)))
        score = scorer_of(runtime, ScoreHead(temperature=1.0))
        texts = [*TEXTS[:50], TOKENLESS, f"w1 {TOKENLESS} w2 {TOKENLESS}"]
        found.append(np.array([word.weight for text in texts for word in occlude(score, text, 1)]))
    assert np.abs(found[0]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)


def test_an_operator_that_litert_lacks_is_an_error(tmp_path: Path) -> None:
    skip_without("litert")
    from tianti.compression import export_litert

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(KEPT, 8)

        def forward(self, ids: Tensor) -> Tensor:
            return torch.linalg.svdvals(self.embedding(ids))

    with pytest.raises(StageError, match=r"LiteRT cannot express this model.*svd.*engine: onnx"):
        export_litert(Odd(), tmp_path / "model.tflite", max_length=16, quantized=False)
    assert not list(tmp_path.iterdir())


LADDER = """
name: small
data: {train: train.jsonl, calibration: calibration.jsonl, test: test.jsonl, out_of_scope: out_of_scope}
cloud: {fit: {epochs: 2}}
edge: {student: bag, width: 16, augment: 10, fit: {epochs: 1}}
device: {student: bag, width: 16, augment: 10, fit: {epochs: 4}, engine: ENGINE}
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    for name, rows in sample_rows().items():
        few = rows[: {"train": 1200, "calibration": 600, "test": 300}[name]]
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in few)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("engine", ["litert", "openvino", "openvino-bf16", "fastest"])
def test_a_ladder_answers_on_its_device_with_another_engine(small: Path, engine: str) -> None:
    skip_without("litert" if engine == "fastest" else engine)
    said = "openvino, matmul: bf16" if engine == "openvino-bf16" else engine
    (small / "ladder.yaml").write_text(LADDER.replace("ENGINE", said), encoding="utf-8")
    record = build_ladder(small / "ladder.yaml", Quiet())
    release = Workspace(small).releases / record.release
    manifest = read_package(release / "packages" / "device").manifest
    assert manifest.engine == engine or engine == "fastest"
    if engine == "fastest":
        took = dict(part.split()[:2] for part in manifest.lineage["engines"].split(", ") if "refused" not in part)
        assert manifest.engine == min(took, key=lambda name: float(took[name])) and len(took) >= 2
    with load(release) as ladder:
        assert ladder.predict("where is my parcel?").package == read_package(release / "packages" / "device").id
        assert len(ladder.explain("where is my parcel?").words) == 5


def test_the_same_file_in_a_browser_s_engine(tmp_path: Path) -> None:
    web = Path(__file__).parents[2] / ".venv" / "web"
    if shutil.which("node") is None or not (web / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("needs node and onnxruntime-web: make test-platforms")
    module = make_student("transformer")
    write_model("onnx", module, tmp_path)
    ids = [ids_of(text)[0].tolist() for text in TEXTS]
    (tmp_path / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
    script = web / "run.mjs"
    script.write_text((Path(__file__).parent / "run.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    done = subprocess.run(
        ["node", script, tmp_path / "model.onnx", tmp_path / "ids.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    with torch.no_grad():
        expected = [module(torch.tensor([row]))[0].numpy() for row in ids]
    farthest = max(float(np.abs(np.array(a) - b).max()) for a, b in zip(found, expected, strict=True))
    print(f"onnxruntime-web: {farthest:.2g} from torch at most, {len(ids)} texts")
    assert farthest <= 1e-5
