// Logits of an ONNX file in onnxruntime-web (WebAssembly, one thread): node run.mjs MODEL IDS.json -> JSON on stdout.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const [model, ids] = process.argv.slice(2);
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const found = [];
for (const row of JSON.parse(readFileSync(ids, "utf-8"))) {
  const input = new ort.Tensor("int64", BigInt64Array.from(row.map(BigInt)), [1, row.length]);
  found.push(Array.from((await session.run({ input_ids: input })).logits.data));
}
console.log(JSON.stringify(found));
