"use strict";
// libedgestep in WebAssembly: a model, one stream, its test on golden sequences, and what a step costs.

const STATUS_NO_ANSWER = 5, STATUS_NOT_FINITE = 6, MESSAGE_BYTES = 256;
const REFUSED = "the frame has a value that is not finite, or a token outside of the vocabulary";

// A decision counts only if the float model's largest output leads by this share of the spread.
const TIE = 0.05;

function bytesOfBase64(text) {
  const characters = atob(text.trim()), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

async function unpacked(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

class Engine {
  // An instance of its own: its memory is dropped with it.
  static async make(library, flatbuffer, contract) {
    const { instance } = await WebAssembly.instantiate(library, {});
    return new Engine(instance.exports, flatbuffer, contract);
  }

  constructor(library, flatbuffer, contract) {
    this.library = library;
    const text = new TextEncoder().encode(contract);
    const model = this.take(4), why = this.take(MESSAGE_BYTES);
    const failed = library.es_load_parts(this.put(flatbuffer), flatbuffer.length, this.put(text),
      text.length, model, why);
    if (failed) throw new Error(`libedgestep refuses the model: ${this.text(why)}`);
    this.model = new Uint32Array(library.memory.buffer, model, 1)[0];
    this.stream = library.es_open(this.model, this.take(library.es_stream_bytes(this.model)));
    this.inputs = library.es_input_values(this.model);
    this.outputs = library.es_output_values(this.model);
    this.inputBytes = library.es_input_bytes(this.model);
    this.outputBytes = library.es_output_bytes(this.model);
    this.x = this.take(4 * this.inputs);
    this.y = this.take(4 * this.outputs);
    this.stored = this.take(this.inputBytes);
    this.given = this.take(this.outputBytes);
    this.view();
  }

  take(bytes) {
    const place = this.library.malloc(bytes);
    if (!place) throw new Error("the model needs more memory than this page may have");
    return place;
  }

  put(bytes) {
    const place = this.take(bytes.length);
    new Uint8Array(this.library.memory.buffer, place, bytes.length).set(bytes);
    return place;
  }

  // Memory that grows gets another buffer; after loading it does not grow any more.
  view() {
    const memory = this.library.memory.buffer;
    this.xs = new Float32Array(memory, this.x, this.inputs);
    this.ys = new Float32Array(memory, this.y, this.outputs);
  }

  text(place) {
    const bytes = new Uint8Array(this.library.memory.buffer, place, MESSAGE_BYTES);
    return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
  }

  get instructions() {
    return this.text(this.library.es_instruction_set());
  }

  get memoryBytes() {
    return this.library.memory.buffer.byteLength;
  }

  reset() {
    this.library.es_reset(this.stream);
  }

  // Step a frame of real values; null at a frame for which a model with a window gives nothing.
  step(frame) {
    this.xs.set(frame);
    const status = this.library.es_step(this.stream, this.x, this.y);
    if (status === STATUS_NO_ANSWER) return null;
    if (status === STATUS_NOT_FINITE) throw new Error("an output is not finite; reset the stream");
    if (status) throw new Error(REFUSED);
    return this.ys.slice();
  }

  // Step bytes as stored; empty at a frame without an answer.
  stepBytes(frame) {
    new Uint8Array(this.library.memory.buffer, this.stored, this.inputBytes).set(frame);
    const count = this.library.es_step_bytes(this.stream, this.stored, this.given);
    return new Uint8Array(this.library.memory.buffer, this.given, count).slice();
  }
}

// --- Golden sequences ------------------------------------------------------------------------

function spreadOf(rows, from, to) {
  let low = Infinity, high = -Infinity;
  for (const row of rows)
    for (let i = from; i < to; i++) {
      low = Math.min(low, row[i]);
      high = Math.max(high, row[i]);
    }
  return high - low;
}

function argmax(row, count) {
  let best = 0;
  for (let i = 1; i < count; i++) if (row[i] > row[best]) best = i;
  return best;
}

function leadOf(row, count) {
  if (count < 2) return Infinity;
  const ordered = Array.from(row.subarray(0, count)).sort((a, b) => b - a);
  return ordered[0] - ordered[1];
}

// Compare with the float model, as 'edgestep verify' does: errors of the first output in its own
// unit, those of others as shares of their spread.
function compare(found, expected, widths, tolerance) {
  const first = spreadOf(expected, 0, widths[0]);
  let rms = 0, most = 0, from = 0;
  for (const width of widths) {
    const scale = from === 0 ? 1 : first / (spreadOf(expected, from, from + width) || first || 1);
    let squares = 0, largest = 0;
    for (let n = 0; n < found.length; n++)
      for (let i = from; i < from + width; i++) {
        const error = Math.abs(found[n][i] - expected[n][i]);
        squares += error * error;
        largest = error > largest ? error : largest;
      }
    rms = Math.max(rms, scale * Math.sqrt(squares / (found.length * width)));
    most = Math.max(most, scale * largest);
    from += width;
  }
  let decided = 0, alike = 0;
  for (let n = 0; n < found.length; n++) {
    if (!(leadOf(expected[n], widths[0]) > TIE * first)) continue;
    decided++;
    if (argmax(found[n], widths[0]) === argmax(expected[n], widths[0])) alike++;
  }
  const agreement = decided ? alike / decided : 1;
  const passed = rms <= tolerance.rms && most <= tolerance.max_abs &&
    agreement >= tolerance.argmax_agreement;
  return { passed, steps: found.length, rms, largest: most, agreement };
}

function selfTest(engine, golden, tolerance) {
  const found = [], expected = [];
  let at = 0;
  for (const length of golden.lengths) {
    engine.reset();
    for (let n = 0; n < length; n++, at++) {
      const x = golden.inputs.subarray(at * engine.inputs, (at + 1) * engine.inputs);
      const y = golden.outputs.subarray(at * engine.outputs, (at + 1) * engine.outputs);
      const given = engine.step(x);
      // Before its window is full a model may answer for less, which the goldens leave out.
      if (Number.isNaN(y[0])) continue;
      if (given === null)
        return { passed: false, steps: at, rms: NaN, largest: NaN, agreement: NaN };
      found.push(given);
      expected.push(y);
    }
  }
  engine.reset();
  return compare(found, expected, golden.widths, tolerance);
}

// --- What a step costs -----------------------------------------------------------------------

// A browser's clock is coarse on purpose, so a reading is the mean of a batch that is long beside it.
const CLOCK_STEPS = 20, FEWEST_MS = 1, BATCHES = 200, MOST_MS = 1500;

function clockTick() {
  let least = Infinity;
  for (let n = 0; n < 20; n++) {
    const begin = performance.now();
    let now = begin;
    while (now === begin) now = performance.now();
    least = Math.min(least, now - begin);
  }
  return least;
}

function quantile(ordered, share) {
  return ordered[Math.min(ordered.length - 1, Math.floor(share * ordered.length))];
}

function measure(engine, frame) {
  const tick = clockTick(), wanted = Math.max(FEWEST_MS, CLOCK_STEPS * tick);
  const { library, stream, x, y } = engine;
  engine.reset();
  engine.xs.set(frame);
  const batch = (count) => {
    const begin = performance.now();
    for (let n = 0; n < count; n++) library.es_step(stream, x, y);
    return performance.now() - begin;
  };
  let count = 1;
  while (batch(count) < wanted && count < 1 << 20) count *= 2;
  const means = [], end = performance.now() + MOST_MS;
  while (means.length < BATCHES && (means.length < 20 || performance.now() < end))
    means.push((1000 * batch(count)) / count);
  engine.reset();
  means.sort((a, b) => a - b);
  return {
    p50: quantile(means, 0.5), p99: quantile(means, 0.99), steps: count, batches: means.length, tick,
  };
}
