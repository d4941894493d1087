"""A tiny but real release for tests: three ONNX models, their tokenizer, a certificate; made in well under a second.

Each label has three words. The device's model knows the first, the edge's the first two, the cloud's all of them:

    label     device   edge      cloud
    lights    lamp     lantern   luminaire
    music     song     tune      sonata
    weather   rain     drizzle   precipitation

A word that a model does not know leaves it undecided: its score is 0, so it passes the text up, and the cloud answers
`other`, the out-of-scope label. Logits are the mean of the words' rows, padding (id 0) left out.
"""

from pathlib import Path

import numpy as np

from tianti.package import Golden, Release, ReleaseRecord, bind, write_package, write_release
from tianti.spec import TIERS, Certificate, Level, ScoreHead, Tested, Tier
from tianti.spec.privacy import PrivacyPolicy

WORDS = {
    "lights": ("lamp", "lantern", "luminaire"),
    "music": ("song", "tune", "sonata"),
    "weather": ("rain", "drizzle", "precipitation"),
}
OUT_OF_SCOPE = "other"
ALPHA = 0.01
PRICES = {"edge": 0.02, "cloud": 0.2}
THRESHOLD = 0.5
_SURE = 8.0  # logit of a known word for its label, so that its margin is about 1


def make_release(
    folder: Path,
    *,
    certified: bool = True,
    words: dict[str, tuple[str, str, str]] | None = None,
    name: str = "tiny",
    broken: Tier | None = None,
    work: int = 0,
    privacy: PrivacyPolicy | None = None,
) -> Release:
    """Write a release below `folder`, which must be empty.

    `certified`: one level, ALPHA, with THRESHOLD on device and edge; else nothing is certified. `broken`: the tier
    whose model gives NaN. `work`: of the cloud's model, about a tenth of a millisecond a text each.
    """
    words = words or WORDS
    packages, ids = {}, {}
    for known, tier in enumerate(TIERS, start=1):
        packages[tier] = folder / "packages" / tier
        ids[tier] = _make_package(packages[tier], tier, known, words, broken is tier, work if tier is Tier.CLOUD else 0)
    heads = dict.fromkeys(TIERS, ScoreHead(reject_below=float(np.log(len(words))) + 0.5))
    share = dict(zip(TIERS, (0.5, 0.3, 0.2) if certified else (0.0, 0.0, 1.0), strict=True))
    level = Level(alpha=ALPHA, point=0 if certified else None, share=share, rows_needed=None if certified else 2000)
    certificate = Certificate(
        risk="harm",
        confidence=0.95,
        n=1000,
        path=(Tested(device=THRESHOLD, edge=THRESHOLD, harmful=0, disagreeing=0),),
        levels=(level,),
        out_of_scope_share=0.1,
        bound=bind(ids, heads, privacy),
    )
    record = ReleaseRecord(
        name=name,
        labels=(*words, OUT_OF_SCOPE),
        out_of_scope=OUT_OF_SCOPE,
        packages=ids,
        heads=heads,
        certificate=certificate,
        prices=PRICES,
        privacy=privacy,
    )
    return write_release(folder / "release", record, packages)


def _make_package(
    folder: Path, tier: Tier, known: int, words: dict[str, tuple[str, str, str]], broken: bool, work: int
) -> str:
    vocabulary = {"[PAD]": 0, "[UNK]": 1}
    for row in words.values():
        for word in row:
            vocabulary.setdefault(word, len(vocabulary))
    table = np.zeros((len(vocabulary), len(words)), dtype=np.float32)
    for column, row in enumerate(words.values()):
        table[[vocabulary[word] for word in row[:known]], column] = _SURE
    if broken:
        table[:] = np.nan
    model = folder.with_suffix(".onnx")
    folder.mkdir(parents=True)
    write_model(model, table, work)
    goldens = [Golden(text=row[0], label=label, top={label: _SURE}) for label, row in words.items()]
    package = write_package(
        folder,
        name=f"tiny-{tier}",
        version="1",
        labels=tuple(words),
        max_length=8,
        model=model,
        tokenizer_json=make_tokenizer_json(vocabulary),
        goldens=[] if broken else goldens,
        card="A test's model.",
        architecture="Bag",
        lineage={},
    )
    return package.id


def make_tokenizer_json(vocabulary: dict[str, int]) -> str:
    """Lower-cased words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer.to_str()


def write_model(path: Path, table: np.ndarray, work: int = 0) -> None:
    """logits [batch, labels] = mean of `table` [vocabulary, labels] over the tokens that are not padding, 0 of none.

    `work`: so many multiplications of matrices, whose result is 0 and is added.
    """
    from onnx import TensorProto, checker, helper, numpy_helper, save

    constants = {
        "table": table,
        "pad": np.array(0, dtype=np.int64),
        "one": np.array(1, dtype=np.float32),
        "tokens_axis": np.array([1], dtype=np.int64),
        "last_axis": np.array([2], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Equal", ["input_ids", "pad"], ["is_pad"]),
        helper.make_node("Not", ["is_pad"], ["is_token"]),
        helper.make_node("Cast", ["is_token"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last_axis"], ["mask_column"]),
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Mul", ["rows", "mask_column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens_axis"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "tokens_axis"], ["tokens"], keepdims=1),
        helper.make_node("Max", ["tokens", "one"], ["count"]),
        helper.make_node("Div", ["total", "count"], ["mean" if work else "logits"]),
    ]
    if work:
        constants |= {
            "ones": np.ones((1, 64, 256), dtype=np.float32),
            "zeros": np.zeros((256, 256), dtype=np.float32),
            "all_axes": np.array([1, 2], dtype=np.int64),
        }
        nodes += [
            helper.make_node("Unsqueeze", ["count", "last_axis"], ["count_column"]),
            helper.make_node("Mul", ["ones", "count_column"], ["work_0"]),
            *(helper.make_node("MatMul", [f"work_{at}", "zeros"], [f"work_{at + 1}"]) for at in range(work)),
            helper.make_node("ReduceSum", [f"work_{work}", "all_axes"], ["nothing"], keepdims=0),
            helper.make_node("Unsqueeze", ["nothing", "tokens_axis"], ["nothing_column"]),
            helper.make_node("Add", ["mean", "nothing_column"], ["logits"]),
        ]
    graph = helper.make_graph(
        nodes,
        "bag",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", table.shape[1]])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, path)
