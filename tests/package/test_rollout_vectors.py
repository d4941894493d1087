"""The vectors for other languages hold, here and in JavaScript; a bucket made otherwise does not give them."""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest

from tianti.package import bucket

SHIPPED = files("tianti.package") / "rollout-vectors.json"
VECTORS = json.loads(SHIPPED.read_text(encoding="utf-8"))
NODE = shutil.which("node")
IN_JAVASCRIPT = """
const {createHash} = require('node:crypto');
const vectors = JSON.parse(require('node:fs').readFileSync(0, 'utf8'));
const found = vectors.map(({salt, device_id}) => {
  const bucket = createHash('sha256').update(`DOMAIN\\0${salt}\\0${device_id}`, 'utf8').digest().readBigUInt64ENDIAN(0);
  return {salt, device_id, bucket: String(bucket), position: Number((bucket * 1000000n) >> 64n)};
});
console.log(JSON.stringify(found));
"""


def test_the_vectors_hold() -> None:
    assert len(VECTORS) == 20
    for vector in VECTORS:
        found = bucket(vector["salt"], vector["device_id"])
        assert (str(found), found * 1_000_000 >> 64) == (vector["bucket"], vector["position"])


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("domain", "order", "right"),
    [("tianti-rollout-v1", "BE", True), ("tianti-rollout-v1", "LE", False), ("tianti-rollout-v2", "BE", False)],
)
def test_javascript_decides_the_same(domain: str, order: str, right: bool) -> None:
    program = IN_JAVASCRIPT.replace("DOMAIN", domain).replace("ENDIAN", order)
    vectors = SHIPPED.read_text(encoding="utf-8")
    printed = subprocess.run([str(NODE), "-e", program], input=vectors, capture_output=True, text=True, check=True)
    assert (json.loads(printed.stdout) == VECTORS) == right
