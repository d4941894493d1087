"""FastAPI on uvicorn: `def` runs in a pool of threads, `async def` in the event loop. It has no batching."""

import sys

import uvicorn
from classifier import Classifier
from fastapi import FastAPI
from pydantic import BaseModel

package, port, mode = sys.argv[1:]
model = Classifier(package)
app = FastAPI()


class Asked(BaseModel):
    text: str


class Answer(BaseModel):
    label: str
    score: float


def predict(asked: Asked) -> Answer:
    return Answer(**model.classify([asked.text])[0])


async def predict_in_the_loop(asked: Asked) -> Answer:
    return predict(asked)


app.post("/predict")(predict if mode == "def" else predict_in_the_loop)
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)
