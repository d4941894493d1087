"""ladder.yaml: what is accepted, and what each mistake says."""

from pathlib import Path

import pytest

from tianti.errors import SpecError
from tianti.spec.parse import load_spec, parse_spec
from tianti.spec.privacy import PrivacySpec

MINIMAL = "name: demo\ndata: {train: train.jsonl}\n"
FULL = """
name: support-intents
task: text-classification
data: {train: data/train.jsonl.gz, validation: 10%, calibration: 3000, test: data/test.jsonl.gz, out_of_scope: oos}
cloud: {base: hf://sentence-transformers/all-MiniLM-L6-v2}
device: {size: 1.5 MB, latency: 2 ms}
certificate: {risk: harm, levels: [0.5%, 1%, 2%], confidence: 95%}
evaluate: {min_accuracy: 90%, slices: [domain]}
prices: {edge: 0.02, cloud: 0.20}
"""


def test_the_specification_of_the_design_is_read() -> None:
    spec = parse_spec(FULL)
    assert spec.device.size_bytes == 1_500_000
    assert spec.device.latency_ms == 2.0
    assert spec.certificate.alphas == (0.005, 0.01, 0.02)
    assert spec.certificate.confidence_share == 0.95


def test_defaults_are_enough() -> None:
    spec = parse_spec(MINIMAL)
    assert spec.cloud.base == "scratch"
    assert spec.certificate.alphas == (0.005, 0.01, 0.02)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("name: x\ndata: {train: a}\ncluod: {}", "did you mean cloud?"),
        ("name: x\ndata: {train: a, lable: y}", "did you mean data.label?"),
        (MINIMAL + "rollout: {rings: 3}", "planned and not built yet"),
        (MINIMAL + "cloud: {calls: 100}", "give its URL as cloud.endpoint"),
        ("name: x\ndata: {train: a, label: null}", "needs a cloud.endpoint"),
        (MINIMAL + "cloud: {endpoint: nonsense}", "expected a URL"),
        (MINIMAL + "cloud: {endpoint: 'http://joe:hunter2@host'}", "no user, query or fragment"),
        (MINIMAL + "cloud: {endpoint: 'http://host?api_key=hunter2'}", "no user, query or fragment"),
        (MINIMAL + "cloud: {endpoint: 'http://host', key_env: sk-live-hunter2}", "not the key itself"),
        (MINIMAL + "cloud: {endpoint: 'http://host', package: mine}", "remove one of them"),
        (MINIMAL + "edge: null\nprices: {edge: 1}", "no edge to pay for"),
        (MINIMAL + "edge: null\nsearch: {minutes: 1}", "not built yet"),
        (MINIMAL + "search: {minutes: 0}", "> 0"),
        (MINIMAL + "device: {size: 1.5}", "size"),
        (MINIMAL + "device: {size: 1.5 mb}", "expected a number and one of"),
        (MINIMAL + "device: {student: bog}", "expected transformer, bag, lstm"),
        (MINIMAL + "device: {width: 30}", "expected a multiple of 4"),
        (MINIMAL + "device: {student: bag, width: 5}", "expected a multiple of 2"),
        (MINIMAL + "device: {student: bag, layers: 2}", "device.layers: bag does not take it"),
        (MINIMAL + "device: {width: 0}", ">= 1"),
        (MINIMAL + "device: {fit: {epochs: 0}}", ">= 1"),
        (MINIMAL + "device: {fit: {learning_rate: -1.0}}", "> 0"),
        (MINIMAL + "device: {student: 'encoder:2'}", "needs a cloud.base"),
        (MINIMAL + "cloud: {base: hf://a/b}\ndevice: {student: 'encoder:0'}", "expected transformer, bag, lstm"),
        (MINIMAL + "cloud: {base: hf://a/b}\nedge: {width: 64}", "has the width of its base"),
        (MINIMAL + "cloud: {base: hf://a/b, fit: {epochs: 2}}", "cloud.fit"),
        (MINIMAL + "cloud: {train: fine_tune}", "needs a cloud.base"),
        (MINIMAL + "device: {student: ':f'}", "module:function"),
        (MINIMAL + "device: {memory: 1 mb}", "device.memory: expected a number and one of"),
        (MINIMAL + "edge: {download: 1}", "download"),
        (MINIMAL + "train: {keep: vocabulary}", "from"),
        (MINIMAL + "privacy: {defualt: redact}", "did you mean privacy.default?"),
        (MINIMAL + "privacy: {default: keep}", "privacy.default"),
        (MINIMAL + "privacy: {types: {phnoe: redact}}", "did you mean phone?"),
        (MINIMAL + "privacy: {types: {order_number: redact}}", "and what privacy.own finds"),
        (MINIMAL + "privacy: {types: {token: allow}}", "privacy.types.token: a secret never leaves"),
        (MINIMAL + "privacy: {types: {Phone: redact}}", "privacy.types"),
        (MINIMAL + "privacy: {regions: [cn]}", "privacy.regions"),
        (MINIMAL + "privacy: {own: [{use: nothing, types: [a]}]}", "expected module:function"),
        (MINIMAL + "privacy: {own: [{use: 'm:f', types: []}]}", "the types that m:f finds"),
        (MINIMAL + "preset: fast", "fine-tunes a cloud.base, got none"),
        (MINIMAL + "preset: best\ncloud: {base: hf://a/b}", "preset"),
        (MINIMAL + "device: {matmul: int4, engine: litert}", "only engine onnx has int4"),
        (MINIMAL + "device: {matmul: int8, engine: openvino}", "openvino has bf16 or none"),
        (MINIMAL + "device: {matmul: bf16}", "only engine openvino has bf16, got onnx"),
        (MINIMAL + "device: {student: lstm, matmul: bf16, engine: openvino}", "an lstm has no bf16"),
        (MINIMAL + "edge: {matmul: bf16, engine: fastest}", "only engine openvino has bf16, got fastest"),
        (
            "name: a\ndata: {train: a, max_length: 40}\nedge: {matmul: bf16, engine: openvino}",
            "data.max_length: bf16 takes texts padded to a multiple of 16 tokens, got 40",
        ),
        (MINIMAL + "device: {quantize: int4, engine: litert}", "litert has int8 or none"),
        (MINIMAL + "device: {quantize: none, matmul: int8, engine: litert}", "say it with quantize alone"),
        (MINIMAL + "device: {prune: {heads: 4}}", "expected fewer than 4, got 4"),
        (MINIMAL + "device: {prune: {weights: 100%}}", "expected shares below 100%"),
        (MINIMAL + "device: {student: bag, prune: {neurons: 50%}}", "a transformer's, got bag"),
        (MINIMAL + "device: {student: lstm, prune: {weights: 50%}}", "an lstm's are not pruned"),
        (MINIMAL + "train: {from: abc}\nsearch: {minutes: 1}", "search tries others"),
        (MINIMAL + "prices: {edge: -1}", ">= 0"),
        ("name: team/intents\ndata: {train: a}", "name"),
        ("name: ..\ndata: {train: a}", "name"),
        (MINIMAL + "certificate: {levels: [0%]}", "above 0%"),
        (MINIMAL + "certificate: {levels: [1]}", "below 100%"),
        (MINIMAL + "certificate: {risk: vibes}", "risk"),
        (MINIMAL + "evaluate: {min_slice_accuracy: 90%}", "evaluate.slices"),
        ("data: {train: a}", "name"),
        ("- a\n- b", "expected keys"),
        ("name: [", "not valid YAML"),
    ],
)
def test_a_mistake_is_one_clear_error(content: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(content)
    assert expected in str(caught.value)


def test_without_a_word_on_privacy_all_that_is_found_is_redacted() -> None:
    assert parse_spec(MINIMAL).privacy == PrivacySpec(default="redact", regions=("CN", "US"))


def test_a_type_that_a_detector_of_ones_own_declares_is_known() -> None:
    own = "own: [{use: 'mine:find', types: [order_number]}]"
    spec = parse_spec(MINIMAL + f"privacy: {{types: {{order_number: local_only, api_key: local_only}}, {own}}}")
    assert spec.privacy.types["order_number"] == "local_only"
    assert parse_spec(MINIMAL + "privacy: {default: allow}").privacy.default == "allow"  # of what is no secret


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="tianti init"):
        load_spec(tmp_path / "ladder.yaml")


def test_a_preset_fills_what_is_left_open_and_nothing_else() -> None:
    spec = parse_spec(MINIMAL + "preset: quality\ncloud: {base: hf://a/b}\ndevice: {width: 96, size: 1 MB}\n")
    assert spec.cloud.train == "fine_tune" and spec.cloud.base == "hf://a/b"
    assert (spec.device.width, spec.device.augment, spec.device.size) == (96, 170_000, "1 MB")
    assert spec.edge == parse_spec(MINIMAL).edge
    bag = parse_spec(MINIMAL + "preset: quality\ncloud: {base: hf://a/b}\ndevice: {student: bag}\n").device
    assert (bag.width, bag.augment) == (None, 170_000)
    batches = parse_spec(MINIMAL + "preset: quality\ncloud: {base: hf://a/b}\ndevice: {fit: {batch_size: 16}}\n").device
    assert (batches.fit.batch_size, batches.fit.epochs) == (16, 7)


@pytest.mark.parametrize(
    ("said", "matmul"),
    [("", "int4"), ("engine: litert", None), ("engine: fastest", None), ("quantize: none", None)],
)
def test_a_preset_leaves_int4_matmuls_to_engines_and_tables_that_have_them(said: str, matmul: str | None) -> None:
    spec = parse_spec(MINIMAL + f"preset: quality\ncloud: {{base: hf://a/b}}\ndevice: {{{said}}}\n")
    assert spec.device.matmul == matmul
