"""ladder.yaml: what is accepted, and what each mistake says."""

from pathlib import Path

import pytest

from tianti.errors import SpecError
from tianti.spec.ladder import load_spec, parse_spec

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
        (MINIMAL + "cloud: {endpoint: https://x}", "planned and not built yet"),
        (MINIMAL + "search: {minutes: 5}", "planned and not built yet"),
        (MINIMAL + "device: {size: 1.5}", "size"),
        (MINIMAL + "device: {size: 1.5 mb}", "expected a number and one of"),
        (MINIMAL + "device: {student: bog}", "expected transformer, bag, lstm"),
        (MINIMAL + "certificate: {levels: [0%]}", "above 0%"),
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


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="tianti init"):
        load_spec(tmp_path / "ladder.yaml")
