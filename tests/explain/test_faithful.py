"""Words that decide are told from words that do not, whatever named them."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tiny_release import make_release
from tianti.explain.faithful import Faithfulness, Judge, mean_of, share_out
from tianti.explain.occlusion import Scorer, occlude, scorer_of
from tianti.explain.words import Word, cut
from tianti.runtimes import open_package
from tianti.spec import ScoreHead, Tier

TEXT = "would you kindly turn the lamp on now"  # of which the device knows `lamp`
LIGHTS = 0


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    release = make_release(tmp_path_factory.mktemp("release"))
    return scorer_of(open_package(release.package(Tier.DEVICE)), ScoreHead())


def test_the_word_that_decides_is_told_from_the_others(score: Scorer) -> None:
    judge = Judge(score, TEXT, LIGHTS)
    place = [TEXT[word.start : word.end] for word in judge.words].index("lamp")
    weights = np.zeros(len(judge.words))
    weights[place] = 1.0
    named, others, chance = judge.judge(weights), judge.judge(-weights), judge.judge_random(0)
    assert named.comprehensiveness > chance.comprehensiveness > others.comprehensiveness
    assert named.sufficiency < chance.sufficiency < others.sufficiency
    assert others.comprehensiveness <= 0.0  # the text is surer without a word that says nothing


def test_occlusion_names_it(score: Scorer) -> None:
    judge = Judge(score, TEXT, LIGHTS)
    words = occlude(score, TEXT, LIGHTS)
    assert judge.judge([word.weight for word in words]).comprehensiveness > judge.judge_random(0).comprehensiveness


def test_texts_are_scored_one_at_a_time_and_once(score: Scorer) -> None:
    asked: list[str] = []

    def listening(texts: Sequence[str]) -> NDArray[np.float64]:
        asked.extend(texts)
        assert len(texts) == 1
        return score(texts)

    judge = Judge(listening, TEXT, LIGHTS)
    first, second = judge.judge_random(3), judge.judge_random(3)
    assert first == second and len(asked) == len(set(asked))


def test_a_text_of_one_word_is_judged(score: Scorer) -> None:
    found = Judge(score, "lamp", LIGHTS).judge([1.0])
    assert found.comprehensiveness > 0.5 and found.sufficiency == 0.0


def test_weights_are_shared_out_by_characters() -> None:
    words = cut("unlock the door")
    assert [(word.start, word.end) for word in words] == [(0, 6), (7, 10), (11, 15)]
    finer = [Word(0, 2, 1.0), Word(2, 6, 2.0), Word(7, 10, -1.0), Word(0, 0, 9.0)]
    assert share_out(finer, words).tolist() == [3.0, -1.0, 0.0]
    assert share_out([Word(7, 15, 7.0)], words) == pytest.approx(np.array([0.0, 3.0, 4.0]))
    assert share_out([Word(6, 7, 5.0)], words).tolist() == [0.0, 0.0, 0.0]  # a blank


def test_the_mean_is_of_both() -> None:
    assert mean_of([Faithfulness(0.0, 1.0), Faithfulness(1.0, 0.0)]) == Faithfulness(0.5, 0.5)
