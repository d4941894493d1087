"""One hard example through Sedna's joint inference, for `benchmarks.faults`; run by a Python that has Sedna.

    python sedna_client.py PORT

Prints a line of JSON: seconds, and what Sedna gave back. Nothing of Tianti is imported here, and Sedna's code is not
part of Tianti: install it from its repository, `pip install ./lib` (the package named sedna on PyPI is another).
"""

import json
import os
import sys
import time


class LittleModel:
    """The local model: as undecided as the device of the tiny release is about `luminaire`."""

    def load(self, *_: object, **__: object) -> None:
        pass

    def predict(self, *_: object, **__: object) -> list[float]:
        return [0.34, 0.33, 0.33]


def main() -> None:
    port = sys.argv[1]
    os.environ.update(
        BIG_MODEL_IP="127.0.0.1", BIG_MODEL_PORT=port, MODEL_LOAD_MODE="none", JOB_NAME="tiny", LC_PERIOD="86400"
    )
    os.environ["BACKEND_TYPE"] = "NONE"
    import numpy as np
    from sedna.core.joint_inference import JointInference

    mining = {"method": "CrossEntropy", "param": {"threshold_cross_entropy": 0.9}}
    inference = JointInference(estimator=LittleModel(), hard_example_mining=mining)
    print("ready", flush=True)
    start = time.perf_counter()
    try:
        hard, result, _, from_cloud = inference.inference(np.array(["luminaire"]))
        said = {"hard": hard, "result": result, "from_cloud": from_cloud}
    except Exception as error:
        said = {"error": repr(error)}
    print(json.dumps({"seconds": time.perf_counter() - start, **said}), flush=True)
    os._exit(0)  # its reporter's thread sleeps on


if __name__ == "__main__":
    main()
