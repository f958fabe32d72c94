"use strict";
// Where frames come from: CSV lines, a WAV file, the microphone; and the front ends between.

const NUMBER = /^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$/;
const LONGEST_FILE = 256 * 1024 * 1024;

function inputWidths(contract) {
  return contract.inputs.map((spec) => spec.shape.slice(1).reduce((a, b) => a * b, 1) || 1);
}

// --- CSV -------------------------------------------------------------------------------------

function numbersOf(cells) {
  return cells.map((cell) => {
    if (!NUMBER.test(cell)) throw new Error(`'${cell.trim().slice(0, 50)}' is not a number`);
    return Number(cell);
  });
}

function* csvRows(text) {
  let begin = 0, number = 0;
  while (begin < text.length) {
    let end = text.indexOf("\n", begin);
    if (end < 0) end = text.length;
    yield [++number, text.slice(begin, end).replace(/\r$/, "")];
    begin = end + 1;
  }
}

// Give a frame for each line; null where a new sequence begins. As 'edgestep stream' reads it.
function* csvFrames(text, contract) {
  const widths = inputWidths(contract), total = widths.reduce((a, b) => a + b, 0);
  const gather = contract.front_end && contract.front_end.kind === "samples" &&
    contract.front_end.channels ? contract.front_end : null;
  let samples = [];
  for (const [number, line] of csvRows(text)) {
    if (!line.trim()) {
      samples = [];
      yield null;
      continue;
    }
    try {
      let values = numbersOf(line.split(","));
      if (gather && (samples.length || values.length === gather.channels)) {
        if (values.length !== gather.channels)
          throw new Error(`it has ${values.length} values, a sample has ${gather.channels}`);
        samples.push(values);
        if (samples.length < gather.samples_per_frame) continue;
        values = samples.flat();
        if (gather.kept_channels) values = gather.kept_channels.map((i) => values[i]);
        samples = [];
      }
      if (values.length !== total)
        throw new Error(`it has ${values.length} values, the model takes ${total}`);
      yield Float32Array.from(values);
    } catch (error) {
      throw new Error(`line ${number}: ${error.message}`);
    }
  }
}

// --- WAV -------------------------------------------------------------------------------------

function tagAt(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((i) => view.getUint8(at + i)));
}

// Read 16-bit samples of one channel; a chunk that says more than there is ends with the file.
function readWav(buffer) {
  const view = new DataView(buffer), bytes = buffer.byteLength;
  if (bytes < 12 || tagAt(view, 0) !== "RIFF" || tagAt(view, 8) !== "WAVE")
    throw new Error("this is not a WAV file");
  let format = null;
  for (let at = 12; at + 8 <= bytes; ) {
    const tag = tagAt(view, at), size = view.getUint32(at + 4, true), body = at + 8;
    if (tag === "fmt ") {
      if (size < 16 || body + 16 > bytes) throw new Error("the WAV file's format is cut off");
      format = {
        code: view.getUint16(body, true), channels: view.getUint16(body + 2, true),
        rate: view.getUint32(body + 4, true), bits: view.getUint16(body + 14, true),
      };
    } else if (tag === "data") {
      if (!format) throw new Error("the WAV file has sound before its format");
      if (format.code !== 1 || format.channels !== 1 || format.bits !== 16)
        throw new Error(`the WAV file has ${format.channels} channel(s) of ${format.bits} bits; ` +
          "one of plain 16-bit samples is needed");
      const count = Math.floor(Math.min(size, bytes - body) / 2);
      const samples = new Int16Array(count);
      for (let i = 0; i < count; i++) samples[i] = view.getInt16(body + 2 * i, true);
      return { rate: format.rate, samples };
    }
    at = body + size + (size % 2);
  }
  throw new Error("the WAV file has no sound");
}

// --- Front ends ------------------------------------------------------------------------------

function hamming(count) {
  return Float64Array.from({ length: count },
    (_, n) => 0.54 - 0.46 * Math.cos((2 * Math.PI * n) / (count - 1)));
}

// As device_runner/front_ends/lpc_cepstrum.py: 12 coefficients of 256 samples, every 64.
class LpcCepstrum {
  constructor() {
    this.rate = 10000;
    this.window = hamming(256);
    this.waiting = [];
  }

  *frames(samples) {
    for (const sample of samples) this.waiting.push(sample / 32768);
    while (this.waiting.length >= 256) {
      yield this.cepstrum(this.waiting);
      this.waiting.splice(0, 64);
    }
  }

  cepstrum(frame) {
    const order = 12, count = 256, windowed = this.window.map((w, n) => w * frame[n]);
    const correlation = new Float64Array(order + 1);
    for (let lag = 0; lag <= order; lag++)
      for (let n = 0; n + lag < count; n++) correlation[lag] += windowed[n] * windowed[n + lag];
    correlation[0] += 1e-9 * count;
    const predictor = levinsonDurbin(correlation, order), found = new Float64Array(order);
    for (let n = 1; n <= order; n++) {
      found[n - 1] = predictor[n - 1];
      for (let k = 1; k < n; k++) found[n - 1] += (k / n) * found[k - 1] * predictor[n - k - 1];
    }
    return found;
  }
}

function levinsonDurbin(correlation, order) {
  let predictor = [], error = correlation[0];
  for (let n = 1; n <= order; n++) {
    let rest = correlation[n];
    for (let k = 0; k < n - 1; k++) rest -= predictor[k] * correlation[n - 1 - k];
    const reflection = rest / error, before = predictor;
    predictor = before.map((value, k) => value - reflection * before[n - 2 - k]);
    predictor.push(reflection);
    error *= 1 - reflection * reflection;
  }
  return predictor;
}

// A model without a front end gets the samples themselves, from -1 to 1, at any rate.
class RawSamples {
  constructor(count, rate) {
    this.count = count;
    this.rate = rate;
    this.anyRate = true;
    this.waiting = [];
  }

  *frames(samples) {
    for (const sample of samples) {
      this.waiting.push(sample / 32768);
      if (this.waiting.length < this.count) continue;
      yield Float64Array.from(this.waiting);
      this.waiting = [];
    }
  }
}

function soundFrontEnd(contract) {
  const described = contract.front_end, kind = described && described.kind;
  if (kind === "lpc-cepstrum") return new LpcCepstrum();
  if (kind === "log-mel") return readLogMel(described);
  if (kind) throw new Error(`the model's frames are ${kind}, not sound; give CSV lines`);
  if (contract.inputs.length > 1 || contract.inputs[0].vocabulary !== null)
    throw new Error("the model takes several inputs or tokens, not sound; give CSV lines");
  const count = inputWidths(contract)[0];
  return new RawSamples(count, Math.round(count / contract.frame_period_s));
}

function* keptFrames(frames, kept) {
  for (const frame of frames)
    yield Float32Array.from(kept ? kept.map((channel) => frame[channel]) : frame);
}

function soundFrames(frontEnd, samples, contract) {
  const kept = contract.front_end ? contract.front_end.kept_channels : null;
  return keptFrames(frontEnd.frames(samples), kept);
}

function* wavFrames(buffer, contract) {
  const frontEnd = soundFrontEnd(contract), sound = readWav(buffer);
  if (!frontEnd.anyRate && sound.rate !== frontEnd.rate)
    throw new Error(`the WAV file has ${sound.rate} Hz; the model's task wants ${frontEnd.rate} Hz`);
  yield null;
  yield* soundFrames(frontEnd, sound.samples, contract);
}

// --- Microphone ------------------------------------------------------------------------------

const CAPTURE_SAMPLES = 1024;

// Listen until the returned function is called; the browser resamples to the model's rate. A worklet
// would want a script of its own, which a page from a file may not load.
async function listen(frontEnd, take) {
  if (!navigator.mediaDevices)
    throw new Error("this browser gives a page from here no microphone; open the file itself");
  const sound = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext({ sampleRate: frontEnd.rate });
  const node = context.createScriptProcessor(CAPTURE_SAMPLES, 1, 1);
  node.onaudioprocess = ({ inputBuffer }) => take(Int16Array.from(inputBuffer.getChannelData(0),
    (value) => Math.max(-32768, Math.min(32767, Math.round(value * 32768)))));
  context.createMediaStreamSource(sound).connect(node);
  node.connect(context.destination); // it is silent, and is only called where it leads somewhere
  return () => {
    node.onaudioprocess = null;
    for (const track of sound.getTracks()) track.stop();
    context.close();
  };
}
