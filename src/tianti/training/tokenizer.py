"""Text to ids: train a WordPiece tokenizer where there is no base to take one from; encode rows.

Not here: shrinking a vocabulary (`vocabulary`). Invariants: all that changes the model's input is in tokenizer.json;
that goes to every device, so it has no number and no key that rows have.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from tianti.errors import StageError, needs_extra

with needs_extra("train"):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

_VOCABULARY = 8000
_MIN_FREQUENCY = 2
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
_WORD = re.compile("[0-9A-Za-z]+")
_MOST_DIGITS, _MOST_CHARACTERS = 4, 24  # of a word that a vocabulary may learn: a year, not somebody's number or key
_PAD_AND_UNKNOWN = (("[PAD]", "[UNK]"), ("<pad>", "<unk>"))


@dataclass(frozen=True)
class Special:
    """Ids of the special tokens; `before` and `after` frame a text."""

    pad: int
    unknown: int
    before: tuple[int, ...]
    after: tuple[int, ...]

    def frame(self, body: Sequence[int], max_length: int) -> list[int]:
        """A text's ids, cut so that they fit with the frame."""
        return [*self.before, *body[: max_length - len(self.before) - len(self.after)], *self.after]


def find_special(tokenizer: Tokenizer) -> Special:
    """The special tokens of a tokenizer: padding and unknown by BERT's names or RoBERTa's, the frame as it sets it.

    Raises:
        StageError: it has no padding or no unknown token.
    """
    tokenizer.no_padding()
    tokenizer.no_truncation()
    frame = tokenizer.encode("").ids
    for pad, unknown in _PAD_AND_UNKNOWN:
        ids = tokenizer.token_to_id(pad), tokenizer.token_to_id(unknown)
        if ids[0] is not None and ids[1] is not None:
            return Special(ids[0], ids[1], tuple(frame[: len(frame) // 2]), tuple(frame[len(frame) // 2 :]))
    raise StageError("the tokenizer has neither [PAD] and [UNK] nor <pad> and <unk>; add them, or choose another base")


def train_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """A WordPiece tokenizer for Chinese and English: full-width folded, lower case, one token a Chinese character."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.BertNormalizer(lowercase=True)])
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=_VOCABULARY, min_frequency=_MIN_FREQUENCY, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(map(_without_numbers, texts), trainer)
    frame = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", frame)
    return tokenizer


def _without_numbers(text: str) -> str:
    """In pieces that tell nothing, so that all digits are known."""
    return _WORD.sub(
        lambda word: re.sub("(..)", r"\1 ", word[0]) if _is_somebodys(word[0]) else word[0],
        unicodedata.normalize("NFKC", text),
    )


def _is_somebodys(word: str) -> bool:
    return len(word) > _MOST_CHARACTERS or sum(map(str.isdigit, word)) > _MOST_DIGITS


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Ids of each text, special ones included, cut at `max_length`."""
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
