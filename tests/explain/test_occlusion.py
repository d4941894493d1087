from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tiny_release import make_release
from tianti.certificate import read
from tianti.explain.occlusion import ROWS, Scorer, occlude, reach, scorer_of
from tianti.explain.words import cut
from tianti.package import Release
from tianti.runtimes import open_package
from tianti.spec import Tier


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("occlusion"))


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


def test_a_scorer_says_what_the_model_says_of_each_text_alone(release: Release) -> None:
    tier = Tier.EDGE
    runtime, head = open_package(release.package(tier)), release.record.heads[tier]
    texts = ["lamp", "a song and a tune", "", "rain " * 5, "lantern", "lamp"]
    expected = [read(head, *runtime.run(text)[:3]).probabilities for text in texts]
    for batches in (True, False):
        runtime.batches = batches  # type: ignore[misc]
        assert np.allclose(scorer_of(runtime, head)(texts), expected, atol=1e-6)


def test_a_model_that_cannot_answer_says_nothing_for_any_word(tmp_path_factory: pytest.TempPathFactory) -> None:
    broken = make_release(tmp_path_factory.mktemp("broken"), broken=Tier.DEVICE)
    assert [word.weight for word in occlude(scorer(broken), "lamp song", label=0)] == [0.0, 0.0]


def test_how_much_of_a_text_a_model_reads(release: Release) -> None:
    runtime = open_package(release.package(Tier.DEVICE))
    assert reach(runtime, "one two") == 7
    text = "word " * 20
    assert cut(text[: reach(runtime, text)])[-1].end == len("word " * runtime.max_length) - 1
