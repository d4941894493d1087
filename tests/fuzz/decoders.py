"""Every reader of a stranger's bytes, by name."""

from collections.abc import Mapping

from tests.fuzz import answers, files, messages, requests
from tests.fuzz.decoder import Decoder

DECODERS: Mapping[str, Decoder] = {
    **requests.DECODERS,
    **messages.DECODERS,
    **answers.DECODERS,
    **files.DECODERS,
}
