"""What the stage `explain` says of models whose words are known, and which rows it shows."""

from pathlib import Path

import pytest

from tests.tiny_release import make_release
from tianti.data import Row
from tianti.explain.occlusion import scorer_of
from tianti.explain.words import Word
from tianti.package import Release
from tianti.pipeline.stages.explain import choose_rows, first
from tianti.pipeline.weighing import Model, class_words, compare, judge_words
from tianti.privacy import bind_policy, open_redactor
from tianti.runtimes import open_package
from tianti.spec import ScoreHead, Tier
from tianti.spec.privacy import PrivacySpec

TEXTS = ("please turn the lamp on", "a song for me", "will there be rain today")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("release"))


def open_model(release: Release, tier: Tier) -> Model:
    return Model(tier, scorer_of(open_package(release.package(tier)), ScoreHead()))


def test_words_that_drive_each_class(release: Release) -> None:
    found = class_words(open_model(release, Tier.DEVICE), TEXTS, release.record.labels)
    assert [(of.label, of.rows, of.words[0][0]) for of in found] == [
        ("lights", 1, "lamp"),
        ("music", 1, "song"),
        ("weather", 1, "rain"),
    ]


def test_words_decide_more_than_chance_and_than_a_reference_that_is_wrong(release: Release) -> None:
    def wrong(text: str, label: int) -> tuple[list[Word], float]:
        return [Word(0, 2, 1.0)], 0.25  # the first word, which says nothing

    found = judge_words(open_model(release, Tier.DEVICE), TEXTS, wrong)
    assert found.rows == 3 and found.delta == 0.25 and found.gradients is not None
    assert found.words.comprehensiveness > found.chance.comprehensiveness > found.gradients.comprehensiveness
    assert found.words.sufficiency < found.chance.sufficiency < found.gradients.sufficiency


def test_tiers_that_go_by_other_words(release: Release) -> None:
    device, cloud = open_model(release, Tier.DEVICE), open_model(release, Tier.CLOUD)
    texts = {"lamp sonata sonata": "music", "please lamp": "lights"}
    count, found = compare(device, cloud, texts, release.record.labels)
    assert count == 1 and [opinion.label for opinion in found[0].opinions] == ["lights", "music"]
    assert found[0].truth == "music"
    for opinion in found[0].opinions:
        assert "".join(piece for piece, _ in opinion.pieces) == "lamp sonata sonata"
    ours, theirs = (dict(opinion.pieces) for opinion in found[0].opinions)
    assert ours["lamp"] > 0 > theirs["lamp"]


def test_rows_come_from_all_labels_in_turn_and_none_has_personal_data(tmp_path: Path) -> None:
    rows = [Row(f"number {at} of a", "a") for at in range(5)] + [Row("one b", "b"), Row("word", "b")]
    personal = Row("call me at 13812345678", "b")
    redactor = open_redactor(bind_policy(PrivacySpec(), tmp_path), tmp_path)
    chosen, left_out = choose_rows([*rows, personal], redactor)
    assert [row.label for row in chosen] == ["a", "b", "a", "a", "a", "a"] and left_out == 1
    chosen, left_out = choose_rows(rows, redactor)
    assert left_out == 0  # the control


def test_a_longer_text_than_there_is_room_for_makes_room_for_shorter_ones(tmp_path: Path) -> None:
    redactor = open_redactor(bind_policy(PrivacySpec(), tmp_path), tmp_path)
    chosen, _ = choose_rows([Row("long text " * 2_000, "a"), Row("a short one", "a")], redactor)
    assert [row.text for row in chosen] == ["a short one"]


def test_the_first_texts_within_so_many_characters() -> None:
    assert first(["aaaa", "bbb", "cc"], 7) == ["aaaa", "bbb"]
    assert first(["aaaa", "bbb"], 1) == ["aaaa"]
