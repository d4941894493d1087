"""Teachers and students: train the cloud's model, shrink its vocabulary, distil it.

Not here: files for a runtime (`compression`), stages (`pipeline`). Needs the extra `train`.
"""

from tianti.training.augment import make_texts
from tianti.training.contract import BuildStudent
from tianti.training.distill import Lessons, build_body, distill
from tianti.training.encoder import Pool, find_base, load_encoder, load_tokenizer
from tianti.training.teacher import (
    EncoderClassifier,
    Rows,
    Teacher,
    fine_tune,
    keep_imported,
    load_teacher,
    save_teacher,
    teach_head,
    teach_scratch,
)
from tianti.training.tokenizer import encode_texts, find_special
from tianti.training.vocabulary import Vocabulary, shrink_vocabulary
from tianti.training.warm import warm_start

__all__ = [
    "BuildStudent",
    "EncoderClassifier",
    "Lessons",
    "Pool",
    "Rows",
    "Teacher",
    "Vocabulary",
    "build_body",
    "distill",
    "encode_texts",
    "find_base",
    "find_special",
    "fine_tune",
    "keep_imported",
    "load_encoder",
    "load_teacher",
    "load_tokenizer",
    "make_texts",
    "save_teacher",
    "shrink_vocabulary",
    "teach_head",
    "teach_scratch",
    "warm_start",
]
