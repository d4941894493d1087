"""The sample data that comes with Tianti: a bilingual assistant's intents, to try a whole ladder on without downloads.

Not here: reading data sets (`tianti.data`). Invariant: everything is written for Tianti and generated from a seed.
"""

from tianti.data.sample.generate import questions, write_sample

__all__ = ["questions", "write_sample"]
