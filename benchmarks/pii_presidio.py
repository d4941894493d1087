"""Presidio's pattern recognisers over texts: run by `benchmarks.pii` in an environment that has presidio-analyzer.

Without a spaCy model, which would have to be downloaded: a blank pipeline, so that patterns and check digits run.
Its phone recogniser is given the same regions as ours. What it scores below 0.35 is left out, or its weak patterns
(a bare number may be anything) would be counted as mistakes.

Reads a JSON list of texts from standard input; writes the lists of [start, end, entity] and the CPU seconds.
"""

import json
import logging
import sys
import time

import spacy
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

ENTITIES = ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER", "US_SSN"]
REGIONS = ("CN", "US")
LEAST = 0.35


class BlankEngine(SpacyNlpEngine):
    """Tokens alone."""

    def __init__(self) -> None:
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}

    def load(self) -> None:
        """Nothing is loaded."""

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        doc = self.nlp["en"](text)
        words = [token.text for token in doc]
        return NlpArtifacts([], doc, [token.idx for token in doc], words, self, language, [])


def main() -> None:
    logging.disable(logging.WARNING)
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("PhoneRecognizer")
    registry.add_recognizer(PhoneRecognizer(supported_regions=REGIONS))
    engine = AnalyzerEngine(registry=registry, nlp_engine=BlankEngine(), supported_languages=["en"])
    texts = json.load(sys.stdin)
    for text in texts[:20]:
        engine.analyze(text, "en", entities=ENTITIES)
    start = time.process_time()
    found = [engine.analyze(text, "en", entities=ENTITIES, score_threshold=LEAST) for text in texts]
    seconds = time.process_time() - start
    spans = [[(one.start, one.end, one.entity_type) for one in said] for said in found]
    json.dump({"spans": spans, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
