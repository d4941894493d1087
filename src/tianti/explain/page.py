"""An explanation as one HTML file that opens offline.

Not here: sentences (`sentences`). Invariants: no external resource and no script; whatever comes from the text, the
labels or the release is escaped.
"""

from html import escape

from tianti.explain.explanation import Explanation
from tianti.explain.sentences import sentences

_PAGE = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{label}</title>
<style>
:root {{ color-scheme: light dark; --ink: #222; --dim: #6b6b6b; --paper: #fdfdfc; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e6e6; --dim: #9a9a9a; --paper: #1b1c1e; }} }}
body {{ margin: 0 auto; max-width: 46rem; padding: 2rem 1.2rem 4rem; color: var(--ink); background: var(--paper);
  font: 16px/1.6 system-ui, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", sans-serif; }}
h1 {{ font-size: 1.5rem; margin: 0; }} .dim {{ color: var(--dim); font-size: .9rem; overflow-wrap: anywhere; }}
.text {{ font-size: 1.15rem; line-height: 2; white-space: pre-wrap; overflow-wrap: anywhere; }}
mark {{ color: inherit; border-radius: 3px; padding: .1em 0; }}
td {{ padding: .1rem .8rem .1rem 0; font-variant-numeric: tabular-nums; }}
.bar {{ height: .6rem; border-radius: 2px; }}
</style>
</head>
<body>
<h1>{label}</h1>
<p class="dim">{line}</p>
<p class="text" dir="auto">{text}</p>
<table>{rows}</table>
{why}
</body>
</html>
"""
_FOR, _AGAINST = "42, 125, 225", "235, 125, 20"  # blue and orange, which people who do not tell red from green tell
_ROWS = 10


def page(explanation: Explanation, lang: str = "en") -> str:
    """The whole page."""
    answer = explanation.prediction
    top = explanation.top(_ROWS)
    line = f"{answer.tier} · {answer.decision.reason} · {answer.score:.3f} · {answer.decision.ms:.2f} ms"
    return _PAGE.format(
        lang=lang,
        label=escape(answer.label),
        line=escape(f"{line} · {explanation.release[:12]}"),
        text=_coloured(explanation),
        rows="".join(_row(word, weight, abs(weight / top[0][1])) for word, weight in top),
        why="\n".join(f"<p>{escape(sentence)}</p>" for sentence in sentences(explanation, lang)),
    )


def _coloured(explanation: Explanation) -> str:
    parts, at = [], 0
    most = max((abs(word.weight) for word in explanation.words), default=0.0) or 1.0
    for start, end, weight in explanation.words:
        word = escape(explanation.text[start:end])
        style = f"background: rgba({_FOR if weight > 0 else _AGAINST}, {0.7 * abs(weight) / most:.2f})"
        parts += [escape(explanation.text[at:start]), f'<mark style="{style}" title="{weight:+.3f}">{word}</mark>']
        at = end
    return "".join([*parts, escape(explanation.text[at:])])


def _row(word: str, weight: float, share: float) -> str:
    style = f"width: {10 * share:.2f}rem; background: rgb({_FOR if weight > 0 else _AGAINST})"
    return f'<tr><td>{escape(word)}</td><td>{weight:+.3f}</td><td><div class="bar" style="{style}"></div></td></tr>'
