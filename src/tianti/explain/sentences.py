"""An explanation in sentences, in English and Chinese.

Not here: colours and layout (`page`, `cli.explain`). Invariant: no sentence says more than the explanation knows.
"""

from tianti.certificate import NEVER
from tianti.explain.explanation import Explanation
from tianti.explain.words import cut
from tianti.spec import Reason, Tier, percent

LANGUAGES = ("en", "zh")
_EN = {
    "device": "the device",
    "edge": "the edge",
    "cloud": "the cloud",
    "enough": "{tier} scored {score:.3f}, and the certified {point} point asks {threshold:.3f} of it: it answered.",
    "less": "{tier} scored {score:.3f}, less than the {threshold:.3f} that the certified {point} point asks of it.",
    "nothing": "{tier} scored {score:.3f}, and keeps nothing at the certified {point} point.",
    "scored": "{tier} scored {score:.3f}.",
    "uncertified": "No point is certified, so {tier} (score {score:.3f}) keeps nothing that somebody above can answer.",
    "unread": "{tier} could not read the text.",
    "top": "{tier} is the top of the ladder and answers whatever reaches it.",
    "no_upstream": "No higher tier was given: this is the best answer there is.",
    "deadline": "A higher tier was needed, but its answer would have come too late: this one is degraded.",
    "upstream_down": "A higher tier was needed, but none could be reached: this answer is degraded.",
    "breaker_open": "A higher tier was needed, but it is known to be down: this answer is degraded.",
    "busy": "A higher tier was needed, but it has no room just now: this answer is degraded.",
    "budget": "A higher tier was needed, but the day's money is spent: this answer is degraded.",
    "private": "A higher tier was needed, but the text may not leave: this is the best answer here.",
    "certified": "Certificate {id}, for requests like its {rows:,} rows: {risk} ({confidence} confidence).",
    "harm": "certified answers below the cloud cost at most {alpha} of its accuracy",
    "disagree": "certified answers below the cloud differ from its own for at most {alpha} of all requests",
    "net": "certified answers below the cloud cost at most {alpha} of its accuracy, gains set against losses",
    "not_certified": "The certificate does not cover this answer.",
    "saved": "Without the cloud, 1,000 such answers cost {money:g} less, at the release's prices.",
    "dearer": "The way up made 1,000 such answers {money:g} dearer than the cloud alone, at the release's prices.",
    "faster": "Answers from above took about {ms:.0f} ms more lately.",
    "cannot_leave": "Nobody above was given, so the text could not leave.",
    "stayed": "The text did not leave for this answer.",
    "went": "The text was sent up.",
    "may_have_gone": "The text may have been sent up.",
    "no_policy": "The release has no privacy policy: texts leave as they are.",
    "clean": "Nothing was found in it that the privacy policy asks for.",
    "found": "Found in it: {found}; placeholders in what leaves: {replaced}.",
    "held": "What keeps it here: {held}.",
    "no_words": "There is no word in it to weigh.",
    "unweighed": "The model here failed when it was asked about parts of the text, so no words are weighed.",
    "own_unread": "The model here failed when it was asked about the text, so no words are weighed.",
    "whose": "The words are weighed with the model of {tier}, which itself says {own} ({score:.3f}).",
    "nearest": "The model of {tier} lacks the label {label}: its nearest is explained, {explained} ({chance:.3f}).",
    "cut": "That model reads the first {characters:,} of {all:,} characters; what follows had no part in it.",
    ", ": ", ",
    " ": " ",
}
_ZH = {
    "device": "端",
    "edge": "边",
    "cloud": "云",
    "enough": "{tier}的得分为 {score:.3f}，达到认证工作点 {point} 要求的 {threshold:.3f}，由它作答。",
    "less": "{tier}的得分为 {score:.3f}，低于认证工作点 {point} 要求的 {threshold:.3f}。",
    "nothing": "{tier}的得分为 {score:.3f}，在认证工作点 {point} 它什么都不自留。",
    "scored": "{tier}的得分为 {score:.3f}。",
    "uncertified": "没有经认证的工作点，凡上层能答的，{tier}（得分 {score:.3f}）都不自留。",
    "unread": "{tier}未能读取这段文本。",
    "top": "{tier}是天梯的最高一级，到达它的请求都由它作答。",
    "no_upstream": "没有给出上层，这是所能得到的最好答案。",
    "deadline": "本应询问上层，但答案会来得太迟：此答案为降级。",
    "upstream_down": "本应询问上层，但都无法到达：此答案为降级。",
    "breaker_open": "本应询问上层，但已知其停机：此答案为降级。",
    "busy": "本应询问上层，但它此刻没有空位：此答案为降级。",
    "budget": "本应询问上层，但当天的费用已用完：此答案为降级。",
    "private": "本应询问上层，但文本不得离开：这是本地最好的答案。",
    "certified": "证书 {id}，对与其 {rows:,} 行数据同类的请求：{risk}（置信度 {confidence}）。",
    "harm": "云以下经认证的作答最多损失云端准确率的 {alpha}",
    "disagree": "云以下经认证的答案与云不同的，至多占全部请求的 {alpha}",
    "net": "云以下经认证的作答得失相抵，最多损失云端准确率的 {alpha}",
    "not_certified": "证书不涵盖此答案。",
    "saved": "不经过云，每千个这样的答案少花 {money:g}（按发布的单价）。",
    "dearer": "这样逐级上行，每千个答案比直接问云多花 {money:g}（按发布的单价）。",
    "faster": "近来上层的答案大约要多等 {ms:.0f} 毫秒。",
    "cannot_leave": "没有给出上层，文本无从离开。",
    "stayed": "为得到此答案，文本没有离开本机。",
    "went": "文本已送往上层。",
    "may_have_gone": "文本可能已送往上层。",
    "no_policy": "此发布没有隐私策略：文本会原样离开。",
    "clean": "其中没有发现隐私策略所涉的内容。",
    "found": "其中发现：{found}；离开时换成占位符的有 {replaced} 处。",
    "held": "使它留在本机的：{held}。",
    "no_words": "其中没有可以衡量的词。",
    "unweighed": "本机的模型在这段文本的各部分上失败了，因此没有衡量各词。",
    "own_unread": "解释时，本机的模型在这段文本上失败了，因此没有衡量各词。",
    "whose": "各词由{tier}的模型衡量，它自己的答案是 {own}（{score:.3f}）。",
    "nearest": "{tier}的模型没有 {label} 这个标签：各词按其最接近的标签 {explained}（{chance:.3f}）衡量。",
    "cut": "该模型只读前 {characters:,} 个字符（共 {all:,} 个），其后的内容没有参与。",
    ", ": "、",
    " ": "",
}
_WORDS = {"en": _EN, "zh": _ZH}


def sentences(explanation: Explanation, lang: str = "en") -> list[str]:
    """Why this tier, what certifies it, what it spared, what left, and whose words are weighed."""
    words = _WORDS[lang]
    found = [
        *_way(explanation, words),
        _certified(explanation, words),
        *_spared(explanation, words),
        words[" "].join(_leaves(explanation, words)),
        *_whose(explanation, words),
    ]
    return [sentence[0].upper() + sentence[1:] for sentence in found]


def _way(explanation: Explanation, words: dict[str, str]) -> list[str]:
    answer, standard = explanation.prediction, explanation.standard
    decision = answer.decision
    seen = [(said.tier, said.score) for said in decision.seen] or [(answer.tier, answer.score)]
    kept = decision.reason is Reason.SCORE
    unread = explanation.own is None and bool(decision.seen)  # where it failed again; it failed before with score 0
    said = []
    for number, (tier, score) in enumerate(seen, start=1):
        if tier is Tier.CLOUD:
            continue
        last, threshold = kept and number == len(seen), standard.thresholds.get(tier, NEVER)
        covered = number == 1 or decision.certified or not last  # else it may be of a release with other thresholds
        compared = _compared(score, threshold, last, standard.point is not None and covered)
        form = "unread" if unread and number == 1 and score == 0.0 else compared
        point = percent(standard.point or 0.0)
        said.append(words[form].format(tier=words[tier], score=score, threshold=threshold, point=point))
    return said if kept else [*said, words[decision.reason].format(tier=words[answer.tier])]


def _compared(score: float, threshold: float, last: bool, certified: bool) -> str:
    """How a score is put beside what was asked of it; alone where the answer followed from something else."""
    if not certified:
        return "scored" if last else "uncertified"
    if last != (score >= threshold):
        return "scored"
    return "enough" if last else "nothing" if threshold >= NEVER else "less"


def _certified(explanation: Explanation, words: dict[str, str]) -> str:
    standard = explanation.standard
    if not explanation.prediction.decision.certified or standard.point is None:
        return words["not_certified"]
    return words["certified"].format(
        id=(standard.certificate or "")[:12],
        rows=standard.rows,
        risk=words[standard.risk].format(alpha=percent(standard.point)),
        confidence=percent(standard.confidence),
    )


def _spared(explanation: Explanation, words: dict[str, str]) -> list[str]:
    money, ms = explanation.spared.per_1000, explanation.spared.ms
    said = [words["saved" if money > 0 else "dearer"].format(money=round(abs(money), 6))] if money else []
    return [*said, words["faster"].format(ms=ms)] if ms is not None and ms > 0 else said


def _leaves(explanation: Explanation, words: dict[str, str]) -> list[str]:
    leaves = explanation.leaves
    if leaves is None:
        return [words["cannot_leave"]]
    said = [words[{True: "went", False: "stayed", None: "may_have_gone"}[leaves.left]]]
    if not leaves.searched:
        return [*said, words["no_policy"]]
    if leaves.held:
        return [*said, words["held"].format(held=words[", "].join(leaves.held))]
    found = words[", "].join(f"{kind} × {count}" for kind, count in leaves.found.items())
    return [*said, words["found"].format(found=found, replaced=leaves.replaced) if found else words["clean"]]


def _whose(explanation: Explanation, words: dict[str, str]) -> list[str]:
    own, said = explanation.own, []
    if own is None:
        return [words["own_unread"]]
    tier = words[own.tier]
    if own.tier is not explanation.prediction.tier:
        said.append(words["whose"].format(tier=tier, own=own.label, score=own.score))
    if own.explained != explanation.prediction.label:
        said.append(
            words["nearest"].format(
                tier=tier, label=explanation.prediction.label, explained=own.explained, chance=own.probability
            )
        )
    if own.characters < len(explanation.text):
        said.append(words["cut"].format(characters=own.characters, all=len(explanation.text)))
    if explanation.words:
        return said
    return [*said, words["unweighed" if cut(explanation.text[: own.characters]) else "no_words"]]
