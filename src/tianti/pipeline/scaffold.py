"""Write a folder to start from: a commented ladder.yaml and the sample data.

Not here: the sample data itself (`data.sample`). Invariant: nothing of the user's is overwritten.
"""

from pathlib import Path

from tianti.data.sample import write_sample
from tianti.errors import UsageError
from tianti.store import write_atomic

LADDER = """\
# A ladder: text goes to the lowest rung that is certified good enough. Every key: docs/en/ladder.md, docs/zh/ladder.md
name: assistant

data:                                   # csv, jsonl or parquet, gzipped or not; paths are relative to this file
  train: data/train.jsonl.gz
  validation: 10%                       # of train: stops training and chooses
  calibration: data/calibration.jsonl.gz  # proves the certificate; never trained on
  test: data/test.jsonl.gz              # read once, at the end
  text: text                            # names of the columns
  label: label
  out_of_scope: out_of_scope            # the label of what the models need not know

cloud: {base: scratch}                  # or a Hugging Face encoder: hf://ORG/NAME, or its folder
edge: {student: transformer, width: 128, layers: 1}
device: {student: bag, width: 10, size: 0.5 MB}  # a budget that is missed stops the release

certificate: {risk: harm, levels: [0.5%, 1%, 2%], confidence: 95%}
evaluate: {min_accuracy: 70%, slices: [lang, domain]}
prices: {edge: 0.02, cloud: 0.20}       # per 1,000 requests, any currency
"""


def write_scaffold(folder: Path) -> Path:
    """Write ladder.yaml and data/ into a folder; returns the path of ladder.yaml.

    Raises:
        UsageError: there is one of them already.
    """
    path, data = folder / "ladder.yaml", folder / "data"
    if path.exists():
        raise UsageError(f"{path} is there already; choose another folder, or run it: tianti run {path}")
    if data.exists():
        raise UsageError(f"{data} is there already, and the sample would be written to it; choose another folder")
    write_sample(data)
    write_atomic(path, LADDER.encode())
    return path
