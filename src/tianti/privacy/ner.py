"""Names and addresses: any Hugging Face token-classification folder with an ONNX model, as an own detector.

    names = NerDetector(Path(__file__).with_name("ner"), {"PER": "person", "LOC": "address"})    # in names.py
    own: [{use: "names:names", types: [person, address]}]                                        # in ladder.yaml

Not here: any model. Invariant: what a model says of a part of a word is taken of the whole word, where words have
blanks between them; where windows disagree, what either of them finds counts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tianti.errors import PrivacyError
from tianti.privacy.contract import Found
from tianti.store import sha256_file

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_WINDOW = 512
_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
_BLANKLESS = "\u2e80"  # from here on scripts have no blanks between words: CJK radicals, kana, ideographs, hangul


class NerDetector:
    """Finds what a model's labels name; `types` gives the type of each, the other labels are left aside.

    The folder has `config.json` with `id2label` (BIO, BIOES, BILOU or plain labels), `tokenizer.json` and
    `onnx/model.onnx`. Longer texts are read in windows that overlap. Calls may come from several threads.
    """

    def __init__(self, folder: Path, types: Mapping[str, str]) -> None:
        """Raises:
        PrivacyError: the folder is not such a model, or has no label of `types`.
        """
        self._folder, self._types = folder, dict(types)
        config = _read_config(folder)
        self._labels = [config.id2label[str(number)] for number in range(len(config.id2label))]
        if missing := self._types.keys() - {label[2:] if _is_prefixed(label) else label for label in self._labels}:
            raise PrivacyError(f"{folder}: no label {sorted(missing)}; its labels are {sorted(self._labels)}")
        self._session, self._tokenizer = _open(folder, min(_WINDOW, config.max_position_embeddings))
        self._inputs = [one.name for one in self._session.get_inputs()]
        if unknown := sorted(set(self._inputs) - _INPUTS):
            raise PrivacyError(f"{folder}: the model has inputs {unknown}; expected some of {sorted(_INPUTS)}")

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the files that it consists of."""
        files = [self._folder / "config.json", self._folder / "tokenizer.json"]
        files += sorted((self._folder / "onnx").glob("model.onnx*"))  # with the weights beside it, where they are large
        return hashlib.sha256("".join(map(sha256_file, files)).encode()).hexdigest()

    def __call__(self, text: str) -> Iterable[Found]:
        """What the model finds in a text, each type ascending and apart."""
        first = self._tokenizer.encode(text)
        spans = sorted({span for window in (first, *first.overflowing) for span in self._read(text, window)})
        for kind, of_kind in groupby(spans, key=lambda span: span[0]):
            yield from _joined(kind, ((start, end) for _, start, end in of_kind))

    def _read(self, text: str, window: "Encoding") -> Iterator[tuple[str, int, int]]:
        arrays = {
            "input_ids": window.ids,
            "attention_mask": window.attention_mask,
            "token_type_ids": window.type_ids,
            "position_ids": range(len(window.ids)),
        }
        given = {name: np.array([arrays[name]], dtype=np.int64) for name in self._inputs}
        logits = self._session.run(None, given)[0][0]
        labels = [self._labels[best] for best in logits.argmax(axis=-1)]
        tokens = [
            (label, offsets)
            for label, offsets, special in zip(labels, window.offsets, window.special_tokens_mask, strict=True)
            if not special
        ]
        for name, start, end in _entities(tokens):
            if name in self._types:
                yield (self._types[name], *_whole_words(text, start, end))


def _entities(tokens: Iterable[tuple[str, tuple[int, int]]]) -> Iterator[tuple[str, int, int]]:
    """Label, start and end of runs of tokens; `B-`, `S-` and `U-` begin one, another label ends it."""
    name, start, end = "", 0, 0
    for label, (token_start, token_end) in (*tokens, ("O", (0, 0))):
        entity = label[2:] if _is_prefixed(label) else label
        if entity != name or label[:2] in ("B-", "S-", "U-"):
            if name not in ("", "O"):
                yield name, start, end
            name, start = entity, token_start
        end = token_end


def _whole_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The same characters without blanks around them, and with the rest of words that were cut."""
    while start < end and text[start].isspace():
        start += 1
    while 0 < start < end and _in_word(text[start - 1]) and _in_word(text[start]):
        start -= 1
    while start < end < len(text) and _in_word(text[end - 1]) and _in_word(text[end]):
        end += 1
    return start, end


def _in_word(character: str) -> bool:
    return character < _BLANKLESS and character.isalnum()


def _joined(kind: str, spans: Iterable[tuple[int, int]]) -> Iterator[Found]:
    """Ascending spans, those that overlap as one."""
    held: tuple[int, int] | None = None
    for start, end in spans:
        if held is not None and start < held[1]:
            held = held[0], max(held[1], end)
            continue
        if held is not None:
            yield Found(*held, kind)
        held = (start, end) if start < end else None
    if held is not None:
        yield Found(*held, kind)


def _is_prefixed(label: str) -> bool:
    return label[1:2] == "-" and label[0] in "BIESLU"


class _Config(msgspec.Struct):
    id2label: dict[str, str]
    max_position_embeddings: int = _WINDOW


def _read_config(folder: Path) -> _Config:
    try:
        return msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError) as error:
        raise PrivacyError(f"{folder}: expected a token-classification model's config.json: {error}") from error


def _open(folder: Path, window: int) -> "tuple[Any, Tokenizer]":
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        session = onnxruntime.InferenceSession(
            folder / "onnx" / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # each library has errors of its own
        cure = "export the model with tokenizer.json and onnx/model.onnx"
        raise PrivacyError(f"{folder}: cannot be opened ({error}); {cure}") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(window, stride=window // 4)
    return session, tokenizer
