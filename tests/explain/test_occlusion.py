import bisect
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers.processors import TemplateProcessing

from tests.tiny_release import make_release
from tianti.certificate import read
from tianti.explain.occlusion import ROWS, Scorer, occlude, reach, scorer_of
from tianti.explain.words import cut
from tianti.package import Release
from tianti.runtimes import OnnxRuntime, open_package
from tianti.spec import ScoreHead, Tier


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("occlusion"))


class Engine:
    """An engine that counts: of each call how many texts it has, and how many tokens, padding included."""

    def __init__(self, release: Release, step: int, batches: bool, frame: str = "[UNK] $A [UNK]") -> None:
        self.runtime = runtime = open_package(release.package(Tier.DEVICE))
        assert isinstance(runtime, OnnxRuntime)
        runtime.max_length, runtime.length_step, runtime.batches = 256, step, batches
        runtime._tokenizer.enable_truncation(256)
        runtime._tokenizer.post_processor = TemplateProcessing(frame, f"{frame} $B", [("[UNK]", 1)])
        runtime._infer = self._infer  # type: ignore[method-assign]
        self.calls: list[tuple[int, ...]] = []
        self.score = scorer_of(runtime, ScoreHead())

    def _infer(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        self.calls.append(ids.shape)
        return np.zeros((len(ids), 3), np.float32)


def scorer(release: Release, tier: Tier = Tier.DEVICE) -> Scorer:
    return scorer_of(open_package(release.package(tier)), release.record.heads[tier])


def test_the_word_that_the_model_knows_decides(release: Release) -> None:
    text = "please turn the lamp off, now"
    words = occlude(scorer(release), text, label=0)
    assert [word[:2] for word in words] == [word[:2] for word in cut(text)]
    best = max(words, key=lambda word: word.weight)
    assert text[best.start : best.end] == "lamp"


def test_words_that_stand_for_each_other_are_seen(release: Release) -> None:
    score = scorer(release)
    whole, without_one = score(["lamp lamp", "lamp"])[:, 0]
    assert whole == pytest.approx(without_one)  # leaving one out tells nothing
    assert all(word.weight > 0.2 for word in occlude(score, "lamp lamp", label=0))


def test_a_word_against_the_label_is_below_0(release: Release) -> None:
    lamp, song = occlude(scorer(release), "lamp song", label=0)
    assert lamp.weight > 0 > song.weight


@pytest.mark.parametrize("words", [1, 2, 5, 12, 64, 400])
def test_it_costs_what_it_may_and_no_more(words: int) -> None:
    scored: list[str] = []

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        scored.extend(texts)
        return np.full((len(texts), 2), 0.5)

    found = occlude(score, "word " * words, label=0)
    assert len(found) == words
    cost = sum(3 + len(text.split()) for text in scored) / (3 + words)
    assert cost <= ROWS + 1
    assert sum(len(text.split()) == words - 1 for text in scored) >= 1  # the best one is left out at least


@pytest.mark.parametrize(
    ("step", "batches", "lengths", "most"),
    [(1, True, range(1, 257), 7.0), (16, True, range(1, 257), 5.0), (1, False, (8, 16, 32, 64, 128, 256), 10.0)],
    ids=["onnx", "openvino-bf16", "litert"],
)
def test_what_it_costs_each_engine(
    release: Release, step: int, batches: bool, lengths: Sequence[int], most: float
) -> None:
    """In tokens that the engine is given, padding among them, beside those of one answer."""
    engine = Engine(release, step, batches)

    def cost(run: Callable[[str], object], text: str) -> int:
        engine.calls.clear()
        run(text)
        return sum(rows * lengths[bisect.bisect_left(lengths, tokens)] for rows, tokens in engine.calls)

    for words in range(1, 65):
        text = "word " * words
        one, explained = cost(engine.runtime.run, text), cost(lambda text: occlude(engine.score, text, 0), text)
        assert explained <= most * one, words


@pytest.mark.parametrize("batches", [True, False])
def test_a_scorer_says_what_the_model_says_of_each_text_alone(release: Release, batches: bool) -> None:
    tier = Tier.EDGE
    runtime, head = open_package(release.package(tier)), release.record.heads[tier]
    texts = ["lamp", "a song and a tune", "", "rain " * 5, " ", "lantern", "lamp", "\n"]
    expected = [read(head, *runtime.run(text)[:3]).probabilities for text in texts]
    runtime.batches = batches  # type: ignore[misc]
    assert np.allclose(scorer_of(runtime, head)(texts), expected, atol=1e-6)


def test_an_engine_that_takes_one_text_at_a_time_gets_no_more(release: Release) -> None:
    engine = Engine(release, step=1, batches=False, frame="$A")
    engine.score(["", " ", "lamp", "\n", "song"])
    assert engine.calls == [(1, 1)] * 5


def test_a_text_alone_is_padded_as_in_service_and_in_company_no_further_than_it_must(release: Release) -> None:
    engine = Engine(release, step=16, batches=True)
    engine.score(["lamp"])
    engine.score(["lamp", "song", "the song"])
    assert engine.calls == [(1, 16), (3, 4)]


def test_a_model_that_cannot_answer_says_nothing_for_any_word(tmp_path_factory: pytest.TempPathFactory) -> None:
    broken = make_release(tmp_path_factory.mktemp("broken"), broken=Tier.DEVICE)
    assert [word.weight for word in occlude(scorer(broken), "lamp song", label=0)] == [0.0, 0.0]


def test_how_much_of_a_text_a_model_reads(release: Release) -> None:
    runtime = open_package(release.package(Tier.DEVICE))
    assert reach(runtime, "one two") == 7
    text = "word " * 20
    assert cut(text[: reach(runtime, text)])[-1].end == len("word " * runtime.max_length) - 1
