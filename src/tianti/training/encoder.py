"""Hugging Face encoders: find, load, and wrap one as ids -> sentence embedding.

Not here: fitting anything on it (`teacher`). Invariants: a folder is loaded without network; the mask is computed from
the ids, so that padding does not change an embedding.
"""

import json
from pathlib import Path

from tianti.errors import DataError, SpecError, needs_extra

with needs_extra("train"):
    import torch
    from tokenizers import Tokenizer
    from torch import Tensor, nn
    from transformers import AutoModel, PreTrainedModel

_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]


def find_base(base: str, folder: Path) -> Path:
    """The local folder of `hf://ORG/NAME`, `ms://ORG/NAME` or a folder relative to `folder`.

    Raises:
        DataError: the hub cannot be reached and has nothing cached.
        SpecError: the folder is not a Hugging Face model.
    """
    scheme, _, name = base.rpartition("://")
    if scheme == "hf":
        return _from_hugging_face(name)
    if scheme == "ms":
        with needs_extra("modelscope"):
            from modelscope import snapshot_download as download
        return Path(download(name))
    found = folder / base
    if not (found / "config.json").is_file() or not (found / "tokenizer.json").is_file():
        raise SpecError(f"cloud.base: expected a folder with config.json and tokenizer.json, hf://…, or scratch; got {found}")
    return found


def _from_hugging_face(name: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_FILES))  # HF_ENDPOINT and HF_HOME are respected there
    except HFValidationError as error:
        raise SpecError(f"cloud.base: {error}") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        cure = "set HF_ENDPOINT to a mirror, or name a folder"
        raise DataError(f"cannot fetch {name} from {constants.ENDPOINT}: {error}; {cure}") from error


class Encoder(nn.Module):
    """input_ids int64 [batch, tokens] -> L2-normalised sentence embedding float32 [batch, width]."""

    def __init__(self, model: PreTrainedModel, pad_id: int, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pad_id = pad_id
        self.pooling = pooling

    @property
    def width(self) -> int:
        """Of an embedding."""
        return int(self.model.config.hidden_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Encode a batch."""
        kept = input_ids != self.pad_id
        # an additive 4-D mask traces to plain ONNX; the library's own mask code does not
        mask = ((1.0 - kept[:, None, None, :].float()) * -1e4).to(self.model.dtype)
        states = self.model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        pooled = states[:, 0] if self.pooling == "cls" else mean_over(states, kept)
        return nn.functional.normalize(pooled.float(), dim=1)


def mean_over(states: Tensor, kept: Tensor) -> Tensor:
    """The mean of states [batch, tokens, width] over the tokens that `kept` bool [batch, tokens] marks."""
    weight = kept[:, :, None].to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)


def load_encoder(folder: Path, pad_id: int, layers: int | None = None) -> Encoder:
    """Load an encoder, or its first `layers` layers only."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    model.pooler = None
    if layers is not None:
        model.encoder.layer = model.encoder.layer[:layers]
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
