"""What a ladder.yaml must not say: values that cannot be, and keys that do not go together.

Not here: reading it (`parse`). Invariant: every quantity is parsed once here, so that a bad one is found before any
work is done.
"""

import difflib
import re
from typing import get_args

from tianti.errors import SpecError
from tianti.spec import units
from tianti.spec.endpoint import split_url
from tianti.spec.ladder import SCRATCH, CloudSpec, FitSpec, LadderSpec, PruneSpec, StudentKind, StudentSpec
from tianti.spec.privacy import SECRETS, TYPES, PrivacySpec
from tianti.spec.records import Tier

_TRANSFORMER_HEADS = 4
_BF16_TOKENS = 16


def check_values(spec: LadderSpec) -> None:
    """Check a whole spec.

    Raises:
        SpecError: the first that is wrong.
    """
    _check_cloud(spec.cloud)
    for tier, student in spec.students.items():
        _check_student(spec, tier, student)
    if spec.data.label is None and spec.cloud.endpoint is None:
        raise SpecError("data.label: null needs a cloud.endpoint that labels the texts; name the column of the labels")
    if spec.data.label is None and spec.certificate.risk != "disagree":
        raise SpecError(
            f"certificate.risk: without labels expected disagree, got {spec.certificate.risk}; leave it out"
        )
    if spec.edge is None and spec.prices.edge:
        raise SpecError(f"prices.edge: there is no edge to pay for, got {spec.prices.edge}; remove the key")
    if spec.edge is None and (spec.search is not None or spec.train is not None):
        raise SpecError("edge: null with search or train is planned and not built yet; remove one of them")
    alphas = spec.certificate.alphas
    if not alphas or alphas[0] <= 0 or alphas[-1] >= 1:
        raise SpecError(
            f"certificate.levels: expected levels above 0% and below 100%, got {list(spec.certificate.levels)}"
        )
    if not 0 < spec.certificate.confidence_share < 1:
        raise SpecError(f"certificate.confidence: expected between 0% and 100%, got {spec.certificate.confidence!r}")
    for key in ("min_accuracy", "min_slice_accuracy"):
        value = getattr(spec.evaluate, key)
        if value is not None:
            units.share(value, f"evaluate.{key}")
    if spec.search is not None and spec.train is not None:
        raise SpecError("train.from keeps the parent's models, search tries others; remove one of them")
    if spec.evaluate.min_slice_accuracy is not None and not spec.evaluate.slices:
        raise SpecError("evaluate.min_slice_accuracy needs evaluate.slices: the columns to slice by")
    _check_privacy(spec.privacy)


def _check_privacy(privacy: PrivacySpec) -> None:
    own = {kind for detector in privacy.own for kind in detector.types}
    for detector in privacy.own:
        if not re.fullmatch(r"[\w.]*\w:\w+", detector.use):
            raise SpecError(f"privacy.own: expected module:function as `use`, got {detector.use!r}")
        if not detector.types:
            raise SpecError(
                f"privacy.own: expected the types that {detector.use} finds, got none; name them as `types`"
            )
    known = sorted(TYPES | own)
    for kind, handling in privacy.types.items():
        if kind not in known:
            near = difflib.get_close_matches(kind, known, n=1)
            cure = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}, and what privacy.own finds"
            raise SpecError(f"privacy.types: nothing finds {kind!r}; {cure}")
        if kind in SECRETS and handling == "allow":
            raise SpecError(f"privacy.types.{kind}: a secret never leaves, got allow; say redact or local_only")


def _check_cloud(cloud: CloudSpec) -> None:
    called = ("protocol", "model", "version", "tokenizer", "labels", "key_env", "calls")
    if cloud.endpoint is None and (given := [key for key in called if getattr(cloud, key) is not None]):
        raise SpecError(f"cloud.{given[0]} is of a server that is called: give its URL as cloud.endpoint, or remove it")
    if cloud.endpoint is not None:
        _check_endpoint(cloud)
    if cloud.package is not None and cloud.endpoint is not None:
        raise SpecError("cloud.package holds a model, cloud.endpoint calls one; remove one of them")
    if cloud.package is not None and cloud != CloudSpec(package=cloud.package):
        raise SpecError("cloud.package: a model that was imported is not trained; remove base, train and fit")
    if cloud.base == SCRATCH and cloud.train == "fine_tune":
        raise SpecError("cloud.train: fine_tune needs a cloud.base to start from, got scratch; remove one of them")
    if cloud.base != SCRATCH and cloud.train == "head" and cloud.fit != FitSpec():
        raise SpecError(
            "cloud.fit: a head on a frozen base is fitted in closed form; remove it or set train: fine_tune"
        )


def _check_endpoint(cloud: CloudSpec) -> None:
    """A URL and the name of a variable, neither of which may hold a secret: both are written to the release."""
    parts = split_url(cloud.endpoint or "")
    if parts is None:
        raise SpecError("cloud.endpoint: expected a URL such as https://models.example:8080")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SpecError("cloud.endpoint: expected no user, query or fragment in the URL; a key goes into cloud.key_env")
    if cloud.key_env is not None and not re.fullmatch(r"[A-Za-z_]\w*", cloud.key_env):
        raise SpecError("cloud.key_env: expected the name of an environment variable, and not the key itself")


def _check_student(spec: LadderSpec, tier: Tier, student: StudentSpec) -> None:
    kind, width = spec.student_kind(tier), student.width
    for key in ("size", "download", "memory"):
        if (budget := getattr(student, key)) is not None:
            units.size_bytes(budget, f"{tier}.{key}")
    if student.latency is not None:
        units.time_ms(student.latency, f"{tier}.latency")
    cut_down = re.fullmatch(r"encoder:[1-9]\d*", kind) is not None
    if not cut_down and kind not in get_args(StudentKind) and not re.fullmatch(r"(?!encoder:)[\w.]*\w:\w+", kind):
        choices = ", ".join(get_args(StudentKind))
        raise SpecError(f"{tier}.student: expected {choices}, encoder:N or module:function, got {kind!r}")
    if cut_down and spec.cloud.base == SCRATCH:
        raise SpecError(f"{tier}.student: {kind} needs a cloud.base to cut down, got scratch; choose transformer")
    if width is not None and cut_down:
        raise SpecError(f"{tier}.width: {kind} has the width of its base; remove the key")
    if student.layers is not None and kind != "transformer":
        raise SpecError(f"{tier}.layers: {kind} does not take it; remove the key")
    if student.prune is not None:
        _check_prune(tier, kind, student.prune)
    if student.matmul == "bf16":
        _check_bf16(tier, student, kind, spec.data.max_length)
    if student.engine not in (None, "onnx"):
        _check_engine(tier, student)
    step = _TRANSFORMER_HEADS if kind == "transformer" else 2 if student.quantize in (None, "int4") else 1
    if width is not None and width % step:
        raise SpecError(f"{tier}.width: expected a multiple of {step} for {kind}, got {width}")


def _check_prune(tier: Tier, kind: str, prune: PruneSpec) -> None:
    if max(prune.neurons_share, prune.weights_share) >= 1:
        raise SpecError(f"{tier}.prune: expected shares below 100%, got {prune}")
    if (prune.neurons_share or prune.heads) and kind != "transformer":
        raise SpecError(f"{tier}.prune: neurons and heads are a transformer's, got {kind}; prune weights")
    if prune.heads >= _TRANSFORMER_HEADS:
        raise SpecError(f"{tier}.prune.heads: expected fewer than {_TRANSFORMER_HEADS}, got {prune.heads}")
    if prune.weights_share and kind == "lstm":
        raise SpecError(f"{tier}.prune.weights: an lstm's are not pruned; choose a transformer, or remove the key")


def _check_bf16(tier: Tier, student: StudentSpec, kind: str, max_length: int) -> None:
    """An LSTM's step is rounded by how many texts take it: some get other logits in company."""
    if kind == "lstm":
        raise SpecError(f"{tier}.matmul: an lstm has no bf16; choose a transformer, or remove the key")
    if student.engine != "openvino":
        raise SpecError(f"{tier}.matmul: only engine openvino has bf16, got {student.engine or 'onnx'}; name it")
    if max_length % _BF16_TOKENS:
        got = f"got {max_length}; change it, or {tier}.matmul"
        raise SpecError(f"data.max_length: bf16 takes texts padded to a multiple of {_BF16_TOKENS} tokens, {got}")


def _check_engine(tier: Tier, student: StudentSpec) -> None:
    """What ONNX Runtime alone can do. `fastest` may end with it, so it may say more than LiteRT or OpenVINO can."""
    if student.matmul == "int4":
        raise SpecError(f"{tier}.matmul: only engine onnx has int4, got {student.engine}; remove one of the keys")
    if student.engine == "openvino" and student.matmul == "int8":
        raise SpecError(f"{tier}.matmul: engine openvino has bf16 or none (float32), got int8; choose one of them")
    if student.engine == "litert" and student.quantize == "int4":
        raise SpecError(f"{tier}.quantize: engine litert has int8 or none, got int4; choose one of them")
    if student.engine == "litert" and (student.quantize == "none") != ((student.matmul or student.quantize) == "none"):
        raise SpecError(f"{tier}.matmul: engine litert quantises table and matmuls alike; say it with quantize alone")
