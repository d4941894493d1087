"""Explanations on real ladders: whose words, why this tier, what left; in both languages."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.tiny_release import ALPHA, make_release
from tianti.certificate import NEVER
from tianti.device import load
from tianti.errors import RunError, UsageError
from tianti.explain import LANGUAGES, page, sentences
from tianti.package import Release
from tianti.privacy import RULES
from tianti.runtimes import Output
from tianti.serving.local import local_node
from tianti.spec import Prediction, Reason, Tier
from tianti.spec.privacy import PrivacyPolicy

POLICY = PrivacyPolicy(rules=RULES, default="redact", types={"email": "local_only"}, regions=("CN",))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("explained"), privacy=POLICY)


@pytest.fixture(scope="module")
def cloud(release: Release) -> Iterator[str]:
    with local_node(Tier.CLOUD, release.folder) as url:
        yield url


def test_an_answer_from_here(release: Release) -> None:
    with load(release.folder) as ladder:
        found = ladder.explain("turn the lamp on")
    assert found.top(1)[0][0] == "lamp"
    assert found.own is not None
    assert (found.own.label, found.own.explained, found.own.package) == ("lights", "lights", found.prediction.package)
    assert (found.standard.point, found.standard.rows) == (ALPHA, 1000)
    assert found.standard.thresholds[Tier.DEVICE] == 0.5
    assert found.spared.per_1000 == pytest.approx(0.2)
    assert found.spared.ms is None  # nobody has been asked, so nobody knows
    assert found.leaves is None
    said = " ".join(sentences(found))
    assert "asks 0.500 of it" in said
    assert "could not leave" in said
    assert "at most 1%" in said


def test_nothing_more_is_sent_than_for_the_answer(release: Release, cloud: str, tmp_path: Path) -> None:
    egress = tmp_path / "egress.jsonl"
    text = "luminaire 13812345678"
    with load(release.folder, upstream=cloud, audits=0.0, egress=egress) as ladder:
        answer = ladder.predict(text)
        given = ladder.explain(text, answer)
        asked = ladder.explain(text)
    assert len(egress.read_text().splitlines()) == 2  # one for the answer, one for the explanation that had none
    for found in (given, asked):
        assert found.prediction.tier is Tier.CLOUD
        assert found.leaves is not None
        assert (found.leaves.left, found.leaves.found, found.leaves.replaced) == (True, {"phone": 1}, 1)
    assert given.own is not None
    assert (given.own.tier, given.own.label, given.own.explained) == (Tier.DEVICE, "other", "lights")
    assert given.spared.per_1000 == pytest.approx(0.0)
    said = " ".join(sentences(given))
    assert "The device scored 0.000, less than the 0.500" in said
    assert "which itself says other" in said
    assert "phone × 1; placeholders in what leaves: 1" in said


def test_an_answer_that_was_held_here(release: Release, cloud: str) -> None:
    with load(release.folder, upstream=cloud, audits=0.0) as ladder:
        found = ladder.explain("luminaire wang@example.com")
    assert found.prediction.decision.reason is Reason.PRIVATE
    assert found.leaves is not None
    assert (found.leaves.left, found.leaves.held) == (False, ("email",))
    said = " ".join(sentences(found))
    assert "keeps it here: email" in said
    assert "does not cover" in said


def test_a_way_that_failed_may_have_got_the_text(release: Release) -> None:
    with load(release.folder, upstream="http://127.0.0.1:9", audits=0.0) as ladder:
        found = ladder.explain("luminaire 13812345678")
    assert found.prediction.decision.degraded and found.leaves is not None
    assert found.leaves.left is None
    assert "may have been sent" in " ".join(sentences(found))


def test_nobody_was_asked_where_all_are_known_to_be_down(release: Release, tmp_path: Path) -> None:
    egress = tmp_path / "egress.jsonl"
    with load(release.folder, upstream="http://127.0.0.1:9", audits=0.0, egress=egress) as ladder:
        sent = 0
        while ladder.predict("luminaire").decision.reason is not Reason.BREAKER_OPEN:
            sent += 1
        found = ladder.explain("luminaire")
    assert found.prediction.decision.reason is Reason.BREAKER_OPEN
    assert len(egress.read_text().splitlines()) == sent > 0
    assert found.leaves is not None and found.leaves.left is False
    assert "did not leave" in " ".join(sentences(found))
    assert found.spared.per_1000 == pytest.approx(0.2)


def test_an_update_that_comes_before_the_answer(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_release(tmp_path)
    with load(release.folder) as ladder, load(other.folder) as another:
        old, predict = ladder.predict("lamp"), ladder.predict

        def late(text: str) -> Prediction:
            ladder.swap(another._auditor)
            return predict(text)

        monkeypatch.setattr(ladder, "predict", late)
        assert ladder.explain("lamp").release == other.id
        with pytest.raises(UsageError, match="another tier or release"):
            ladder.explain("lamp", old)


def test_only_answers_of_this_ladder_to_texts_are_explained(release: Release, tmp_path: Path) -> None:
    other = make_release(tmp_path)
    with load(release.folder) as ladder, load(other.folder) as another, load(release.folder, tier=Tier.EDGE) as edge:
        answer = ladder.predict("lamp")
        for foreign in (another.predict("lamp"), edge.predict("lamp")):
            with pytest.raises(UsageError, match="another tier or release"):
                ladder.explain("lamp", foreign)
        for text in (None, 3, "\ud800"):
            with pytest.raises(UsageError, match="expected the text"):
                ladder.explain(text, answer)  # type: ignore[arg-type]
        assert ladder.explain("lamp", answer).top()
    with pytest.raises(UsageError, match="closed"):
        ladder.explain("lamp", answer)


def said_by_edge(release: Release, cloud: str, score: float, edge_from: float | None = None, **decided: object) -> str:
    """The sentences where the edge has answered with this score, or passed on."""
    with load(release.folder, upstream=cloud, audits=0.0) as ladder:
        found = ladder.explain("luminaire")
    decision = found.prediction.decision
    seen = (decision.seen[0], msgspec.structs.replace(decision.seen[1], tier=Tier.EDGE, score=score))
    decision = msgspec.structs.replace(decision, seen=seen, **decided)
    standard = found.standard
    if edge_from is not None:
        standard = msgspec.structs.replace(standard, thresholds={**standard.thresholds, Tier.EDGE: edge_from})
    prediction = msgspec.structs.replace(found.prediction, decision=decision)
    return " ".join(sentences(msgspec.structs.replace(found, prediction=prediction, standard=standard)))


def test_a_score_is_compared_only_with_what_it_was_held_to(release: Release, cloud: str) -> None:
    answered: dict[str, object] = {"reason": Reason.SCORE}
    assert "edge scored 0.900, and the certified" in said_by_edge(release, cloud, 0.9, **answered)
    other = said_by_edge(release, cloud, 0.9, **answered, certified=False)
    assert "The edge scored 0.900. " in other, "another release may ask another score"
    assert "The edge scored 0.400. " in said_by_edge(release, cloud, 0.4, **answered), "0.5 is asked here"
    assert "edge scored 0.400, less than the 0.500" in said_by_edge(release, cloud, 0.4)
    assert "edge scored 0.900, and keeps nothing at the certified" in said_by_edge(release, cloud, 0.9, NEVER)


def test_a_label_that_the_model_here_does_not_have(release: Release, cloud: str) -> None:
    with load(release.folder, upstream=cloud, audits=0.0) as ladder:
        answer = ladder.predict("luminaire")
        found = ladder.explain("luminaire", msgspec.structs.replace(answer, label="blinds"))
    assert found.own is not None and found.own.explained != "blinds"
    assert "lacks the label blinds: its nearest is explained" in " ".join(sentences(found))


def test_a_model_that_failed_has_no_words(tmp_path: Path) -> None:
    broken = make_release(tmp_path, broken=Tier.DEVICE)
    with local_node(Tier.CLOUD, broken.folder) as cloud, load(broken.folder, upstream=cloud, audits=0.0) as ladder:
        found = ladder.explain("lamp")
    assert (found.own, found.words, found.prediction.label) == (None, (), "lights")
    assert "could not read" in " ".join(sentences(found))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_model_that_fails_while_words_are_weighed_has_answered(
    release: Release, lang: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread, parts, text = {
        "en": ("could not read", "about parts of the text", "about the text"),
        "zh": ("未能读取", "各部分", "这段文本"),
    }[lang]

    def fail(*_: object, **__: object) -> None:
        raise RunError("now")

    with load(release.folder) as ladder:
        answer, runtime = ladder.predict("turn the lamp on"), ladder._node.runtime
        for method in ("run_rows", "run_ids"):
            monkeypatch.setattr(runtime, method, fail)
        monkeypatch.setattr(runtime, "run", lambda _: Output(np.float32([9, 0, 0]), 4, 0, False))
        found = ladder.explain("turn the lamp on", answer)
        assert found.own is not None and found.own.label == "lights" and found.words == ()
        assert parts in sentences(found, lang)[-1]
        monkeypatch.setattr(runtime, "run", fail)
        found = ladder.explain("turn the lamp on", answer)
        assert (found.own, found.words) == (None, ())
        assert text in sentences(found, lang)[-1]
        assert unread not in " ".join(sentences(found, lang)), "it answered"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_sentence(release: Release, lang: str, reason: Reason) -> None:
    with load(release.folder) as ladder:
        found = ladder.explain("lantern ! unknown", None)
    decision = msgspec.structs.replace(found.prediction.decision, reason=reason)
    found = msgspec.structs.replace(found, prediction=msgspec.structs.replace(found.prediction, decision=decision))
    said = sentences(found, lang)
    assert len(said) >= 3
    assert not any("{" in sentence for sentence in said)


def test_a_text_longer_than_the_model_reads(release: Release) -> None:
    text = "the " * 8 + "lamp"
    with load(release.folder) as ladder:
        found = ladder.explain(text)
    assert all(text[word.start : word.end] == "the" for word in found.words)
    assert "reads the first" in " ".join(sentences(found))


def test_json_and_page(release: Release) -> None:
    text = '<script>alert("lamp")</script> lamp'
    with load(release.folder) as ladder:
        found = ladder.explain(text)
    shown = json.loads(json.dumps(found.show()))
    assert shown["schema"] == "tianti.explanation/1"
    assert [text[word["start"] : word["end"]] for word in shown["words"]] == [word["word"] for word in shown["words"]]
    assert shown["prediction"]["decision"]["reason"] == found.prediction.decision.reason
    html = page(found)
    assert "<script" not in html
    assert "&lt;" in html
    assert "http" not in html


def test_the_code_of_the_page_on_explanations_runs(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = tmp_path / ".tianti" / "releases"
    shutil.copytree(release.folder, releases / release.id)
    (releases / "latest").write_text(release.id, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / "docs" / "en" / "explain.md").read_text(encoding="utf-8")
    code = text.partition("```python")[2].partition("```")[0]
    exec(compile(code, "explain.md", "exec"), {})
