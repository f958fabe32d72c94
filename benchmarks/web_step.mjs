// Time steps of stored bytes in WebAssembly, for web_step.py: node web_step.mjs ENGINE REQUESTS
import fs from "node:fs";
import vm from "node:vm";

const [, , engine, requests] = process.argv;
const Engine = vm.runInThisContext(`${fs.readFileSync(engine, "utf8")};Engine`);
const { flatbuffer, contract, libraries, rounds, round_ms: roundMs, warm_ms: warm } =
  JSON.parse(fs.readFileSync(requests, "utf8"));
const bytes = fs.readFileSync(flatbuffer);

const ways = await Promise.all(Object.entries(libraries).map(async ([name, path]) => {
  const made = await Engine.make(fs.readFileSync(path), bytes, contract);
  const batch = (count) => {
    const begin = performance.now();
    for (let n = 0; n < count; n++)
      made.library.es_step_bytes(made.stream, made.stored, made.given);
    return (1e6 * (performance.now() - begin)) / count;
  };
  // The engine's second compiler takes over meanwhile.
  for (const begin = performance.now(); performance.now() - begin < warm;) batch(500);
  return { name, batch, count: Math.max(1, Math.ceil((roundMs * 1e6) / batch(200))), found: [] };
}));
for (let round = 0; round < rounds; round++)
  for (const way of ways) way.found.push(way.batch(way.count));
console.log(JSON.stringify(Object.fromEntries(ways.map(({ name, found }) => [name, found]))));
