"""Hugging Face encoders: find, load, and wrap one as ids -> sentence embedding.

Not here: fitting anything on it (`teacher`). Invariants: a folder is loaded without network; the mask is computed from
the ids, so that padding does not change an embedding.
"""

import json
from pathlib import Path

from tianti.errors import DataError, SpecError, StageError, needs_extra

with needs_extra("train"):
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor, nn
    from transformers import AutoModel, PreTrainedModel
    from transformers.utils import logging as transformers_logging

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def find_base(base: str, folder: Path) -> Path:
    """The local folder of `hf://ORG/NAME`, `ms://ORG/NAME` (each with `@REVISION` or not) or a folder below `folder`.

    Raises:
        DataError: the hub cannot be reached and has nothing cached.
        SpecError: the folder is not a Hugging Face model.
    """
    scheme, _, name = base.rpartition("://")
    name, _, revision = name.partition("@")
    if scheme == "hf":
        found = _from_hugging_face(name, revision or None)
    elif scheme == "ms":
        found = _from_modelscope(name, revision or None)
    else:
        found = folder / base
    if not (found / "config.json").is_file() or not (found / "tokenizer.json").is_file():
        raise SpecError(
            f"cloud.base: expected a folder with config.json and tokenizer.json, hf://…, or scratch; got {found}"
        )
    return found


def _from_modelscope(name: str, revision: str | None) -> Path:
    with needs_extra("modelscope"):
        from modelscope import snapshot_download as download
    try:
        return Path(download(name, revision=revision))
    except Exception as error:  # the library raises bare exceptions of several others
        raise DataError(f"cannot fetch {name} from ModelScope: {error}; check the name, or name a folder") from error


def _from_hugging_face(name: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(
            snapshot_download(name, revision=revision, allow_patterns=_FILES)
        )  # HF_ENDPOINT is respected there
        if not any(found.glob("*.safetensors")):  # the older format of weights, twice as large with the newer
            snapshot_download(name, revision=revision, allow_patterns=["pytorch_model.bin"])
        return found
    except HFValidationError as error:
        raise SpecError(f"cloud.base: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        cure = "set HF_ENDPOINT to a mirror, or name a folder"
        raise DataError(f"cannot fetch {name} from {constants.ENDPOINT}: {error}; {cure}") from error


class Encoder(nn.Module):
    """input_ids int64 [batch, tokens] -> features float32 [batch, width] of a text.

    Features are the pooled states of the embeddings, of two thirds up and of the last layer, each centred and
    L2-normalised. The embeddings keep the words, which the last layer of a sentence encoder has blurred: with the three
    a linear head is a point more accurate and tells strangers better.
    """

    centre: Tensor

    def __init__(self, model: PreTrainedModel, pad_id: int, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id
        self.pooling = pooling
        depth = len(layer_stack(model))
        self.depths = sorted({0, 2 * depth // 3, depth})
        self.register_buffer("centre", torch.zeros(len(self.depths), model.config.hidden_size))

    @property
    def width(self) -> int:
        """Of the features."""
        return self.centre.numel()

    def word_table(self) -> Tensor:
        """The rows of the vocabulary, float32 [vocabulary, hidden]."""
        table = self.model.get_input_embeddings().weight
        assert isinstance(table, Tensor)
        return table.detach()

    def pool(self, input_ids: Tensor) -> Tensor:
        """The raw vectors float32 [batch, depths, hidden] of ids."""
        kept = input_ids != self.pad_id
        # an additive 4-D mask traces to plain ONNX; the library's own mask code does not
        mask = ((1.0 - kept[:, None, None, :].float()) * -1e4).to(self.model.dtype)
        states = [self.model.get_submodule("embeddings")(input_ids)]
        for layer in layer_stack(self.model):
            passed = layer(states[-1], attention_mask=mask)
            states.append(passed[0] if isinstance(passed, tuple) else passed)
        pooled = [mean_over(states[depth].float(), kept) for depth in self.depths]
        if self.pooling == "cls":
            pooled[-1] = states[-1][:, 0].float()
        return torch.stack(pooled, dim=1)

    def join(self, vectors: Tensor) -> Tensor:
        """The features of raw vectors."""
        return nn.functional.normalize(vectors - self.centre, dim=2).flatten(1)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Encode a batch."""
        return self.join(self.pool(input_ids))


class Pool(nn.Module):
    """An encoder's raw vectors, flat: float32 [batch, depths * hidden]. They depend on the base alone."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor) -> Tensor:
        """Encode a batch."""
        return self.encoder.pool(input_ids).flatten(1)


def layer_stack(model: nn.Module) -> nn.ModuleList:
    """The list of an encoder's layers.

    Raises:
        StageError: this kind of encoder is not known.
    """
    for path in ("encoder.layer", "transformer.layer", "layers"):
        try:
            return model.get_submodule(path)  # type: ignore[return-value]
        except AttributeError:
            continue
    raise StageError(f"{type(model).__name__}: expected layers as in BERT, RoBERTa or DistilBERT; choose another base")


def mean_over(states: Tensor, kept: Tensor) -> Tensor:
    """The mean of states [batch, tokens, width] over the tokens that `kept` bool [batch, tokens] marks."""
    weight = kept[:, :, None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)


def load_encoder(folder: Path, pad_id: int) -> Encoder:
    """Load an encoder.

    Raises:
        SpecError: the folder holds none that can be loaded.
    """
    transformers_logging.disable_progress_bar()  # ours are shown
    # eager: the fused attention of torch is many times slower backward on the CPU, and its masks do not export
    try:
        model = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,  # None asks on stdin
            attn_implementation="eager",
            dtype=torch.float32,
        )
    except (OSError, ValueError) as error:
        raise SpecError(f"cloud.base: {folder} is no encoder that transformers can load: {error}") from error
    if hasattr(model, "pooler"):
        model.pooler = None
    return Encoder(model, pad_id, _pooling(folder))


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a base."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def _pooling(folder: Path) -> str:
    """What sentence-transformers says, mean where it says nothing."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    return "cls" if json.loads(path.read_text(encoding="utf-8")).get("pooling_mode_cls_token") else "mean"
