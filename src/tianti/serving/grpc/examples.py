"""tensorflow.Example to texts or token ids: what Classify and Regress take.

    text       one bytes value
    input_ids  int64 values, of any number, special ones included

Features of the context are every example's; others than these are left alone.
Not here: tensors (`protocols.named`).
Invariant: what cannot be read in exactly one way is a UsageError.
"""

from tianti.errors import UsageError
from tianti.protocols.infer import InferRequest, check_request
from tianti.serving.grpc.call import Message


def read_examples(given: Message) -> InferRequest:
    """The request that examples ask.

    Raises:
        UsageError: an example has no text and no ids, or not all have the same of the two, or a limit is passed.
    """
    listed = getattr(given, given.WhichOneof("kind") or "example_list")
    shared = dict(listed.context.features.feature) if given.HasField("example_list_with_context") else {}
    rows = [{**shared, **example.features.feature} for example in listed.examples]
    if all("text" in row for row in rows):
        return check_request(InferRequest(texts=tuple(_text(row["text"]) for row in rows)))
    if all("input_ids" in row for row in rows):
        return check_request(InferRequest(ids=tuple(tuple(row["input_ids"].int64_list.value) for row in rows)))
    raise UsageError("examples: expected the feature text, or input_ids, in every example; got one without")


def _text(feature: Message) -> str:
    values = feature.bytes_list.value
    if len(values) != 1:
        raise UsageError(f"feature text: expected one bytes value, got {len(values)}")
    try:
        return str(values[0], "utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"feature text: expected UTF-8, got other bytes: {error.reason}") from error
