"use strict";
// What the page shows. A file's text is only ever set as text.

const KEPT_STEPS = 300, MOST_CURVES = 12, SLICE_MS = 12, TABLE_MS = 100;
const HUES = [210, 25, 130, 330, 55, 270, 180, 0, 90, 300, 235, 155];
const byId = (id) => document.getElementById(id);

function say(id, text) {
  byId(id).textContent = text;
}

function digits(value) {
  return Number.isFinite(value) ? value.toPrecision(3) : "not a number";
}

function colorOf(output) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return `hsl(${HUES[output % HUES.length]} 75% ${dark ? 68 : 38}%)`;
}

// --- Outputs ---------------------------------------------------------------------------------

class Display {
  // `choices`: of so many first outputs the largest is the decision; 0 if the outputs are values.
  constructor(labels, choices) {
    this.labels = labels;
    this.choices = choices;
    this.canvas = byId("chart");
    this.swatches = [];
    this.cells = labels.map((label, output) => this.addRow(label, output));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.clear();
  }

  addRow(label, output) {
    const row = document.createElement("tr"), name = document.createElement("th");
    const value = document.createElement("td");
    name.scope = "row";
    if (output < MOST_CURVES) {
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      this.swatches.push(swatch);
      name.append(swatch);
    }
    name.append(label);
    row.append(name, value);
    byId("values").append(row);
    return value;
  }

  clear() {
    this.rows = [];
    this.steps = 0;
    this.shown = -Infinity;
    this.draw();
  }

  add(row) {
    this.steps++;
    this.rows.push(row);
    if (this.rows.length > 2 * KEPT_STEPS) this.rows.splice(0, KEPT_STEPS);
  }

  update(now = false) {
    if (!now && performance.now() - this.shown < TABLE_MS) return;
    this.shown = performance.now();
    this.draw();
    const last = this.rows[this.rows.length - 1];
    say("count", `${this.steps.toLocaleString("en")} answers`);
    if (!last) return;
    this.cells.forEach((cell, output) => { cell.textContent = digits(last[output]); });
    if (this.choices > 1) say("decision", this.labels[argmax(last, this.choices)]);
  }

  draw() {
    const { width, height } = this.canvas, context = this.canvas.getContext("2d");
    const rows = this.rows.slice(-KEPT_STEPS), curves = Math.min(this.labels.length, MOST_CURVES);
    context.clearRect(0, 0, width, height);
    this.swatches.forEach((swatch, output) => { swatch.style.background = colorOf(output); });
    if (!rows.length) return;
    let low = Infinity, high = -Infinity;
    for (const row of rows)
      for (let i = 0; i < curves; i++) {
        low = Math.min(low, row[i]);
        high = Math.max(high, row[i]);
      }
    const room = 0.05 * (high - low || 1), style = getComputedStyle(document.body);
    const y = (value) => height - (height * (value - low + room)) / (high - low + 2 * room);
    context.fillStyle = style.color;
    context.font = "13px sans-serif";
    context.fillText(digits(high), 4, 14);
    context.fillText(digits(low), 4, height - 5);
    context.lineWidth = 1.5;
    for (let i = 0; i < curves; i++) {
      context.strokeStyle = colorOf(i);
      context.beginPath();
      rows.forEach((row, n) => context.lineTo((width * n) / (KEPT_STEPS - 1), y(row[i])));
      context.stroke();
    }
  }
}

// --- Running ---------------------------------------------------------------------------------

class Runner {
  constructor(engine, contract, display) {
    Object.assign(this, { engine, contract, display, running: 0, stopListening: null });
  }

  take(frame) {
    if (frame === null) this.engine.reset();
    else {
      const given = this.engine.step(frame);
      if (given) this.display.add(given);
    }
  }

  begin() {
    this.stop();
    say("message", "");
    this.engine.reset();
    this.display.clear();
    byId("stop").disabled = false;
    return ++this.running;
  }

  stop() {
    this.running++;
    if (this.stopListening) this.stopListening();
    this.stopListening = null;
    byId("mic").setAttribute("aria-pressed", "false");
    byId("stop").disabled = true;
    this.display.update(true);
  }

  fail(error) {
    this.stop();
    say("message", error.message);
  }

  // Step a source in slices, so that the page stays alive; in the model's own time if asked.
  run(frames) {
    const mine = this.begin(), begun = performance.now();
    const period = 1000 * this.contract.frame_period_s;
    let steps = 0;
    return new Promise((resolve) => {
      const slice = () => {
        if (mine !== this.running) return resolve();
        const end = performance.now() + SLICE_MS;
        try {
          while (performance.now() < end) {
            if (byId("paced").checked && begun + steps * period > performance.now()) break;
            const { value, done } = frames.next();
            if (done) {
              this.stop();
              return resolve();
            }
            this.take(value);
            steps++;
          }
        } catch (error) {
          this.fail(error);
          return resolve();
        }
        this.display.update();
        setTimeout(slice, 0);
      };
      slice();
    });
  }

  async microphone() {
    const mine = this.begin();
    try {
      const frontEnd = soundFrontEnd(this.contract);
      const stop = await listen(frontEnd, (samples) => {
        if (mine !== this.running) return;
        try {
          for (const frame of soundFrames(frontEnd, samples, this.contract)) this.take(frame);
          this.display.update();
        } catch (error) {
          this.fail(error);
        }
      });
      if (mine !== this.running) return stop();
      this.stopListening = stop;
      byId("mic").setAttribute("aria-pressed", "true");
    } catch (error) {
      this.fail(error.name === "NotAllowedError" ? new Error("the microphone was not allowed") : error);
    }
  }
}

function* goldenFrames(golden, inputs) {
  let at = 0;
  for (const length of golden.lengths) {
    yield null;
    for (let n = 0; n < length; n++, at++)
      yield golden.inputs.subarray(at * inputs, (at + 1) * inputs);
  }
}

function chosen(runner, id, read) {
  byId(id).addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (!file) return;
    try {
      if (file.size > LONGEST_FILE) throw new Error(`the file has more than ${LONGEST_FILE} bytes`);
      await runner.run(await read(file));
    } catch (error) {
      runner.fail(error);
    }
  });
}

function floatsOf(text) {
  return new Float32Array(bytesOfBase64(text).buffer);
}

async function dataOf(id) {
  return unpacked(bytesOfBase64(byId(`data-${id}`).textContent));
}

function showTest(result, engine, tolerance) {
  const verdict = result.passed ? "passed" : "failed";
  byId("test-text").className = verdict;
  say("test-text", `${verdict}: ${result.steps} golden steps, rms error ${digits(result.rms)} ` +
    `(allowed ${digits(tolerance.rms)}), largest ${digits(result.largest)} ` +
    `(allowed ${digits(tolerance.max_abs)}), decisions agree at ` +
    `${(100 * result.agreement).toFixed(1)} %; ${engine.instructions}, ` +
    `${(engine.memoryBytes / 1024).toLocaleString("en")} KiB of memory`);
}

function bindSound(runner, contract) {
  let missing = "";
  try {
    const frontEnd = soundFrontEnd(contract);
    say("note", frontEnd.anyRate ? "Sound goes to the model as raw samples from −1 to 1."
      : `A WAV file must have one channel of 16 bits at ${frontEnd.rate} Hz.`);
  } catch (error) {
    missing = error.message;
    say("note", `No sound here: ${missing}.`);
  }
  byId("wav").disabled = byId("mic").disabled = Boolean(missing);
  chosen(runner, "wav", async (file) => wavFrames(await file.arrayBuffer(), contract));
  byId("mic").addEventListener("click", () => runner.microphone());
}

async function start() {
  const [library, flatbuffer, text] = await Promise.all(["library", "model", "facts"].map(dataOf));
  const facts = JSON.parse(new TextDecoder().decode(text));
  const contract = JSON.parse(facts.contract), { lengths, widths } = facts.golden;
  const golden = {
    inputs: floatsOf(facts.golden.inputs), outputs: floatsOf(facts.golden.outputs), lengths, widths,
  };
  say("facts", facts.summary);
  const engine = await Engine.make(library, flatbuffer, facts.contract);
  const choices = contract.output_meaning === "values" ? 0 : widths[0];
  const runner = new Runner(engine, contract, new Display(facts.labels, choices));
  const result = selfTest(engine, golden, contract.tolerance);
  showTest(result, engine, contract.tolerance);
  const frames = () => goldenFrames(golden, engine.inputs);
  byId("golden").addEventListener("click", () => runner.run(frames()));
  byId("stop").addEventListener("click", () => runner.stop());
  chosen(runner, "csv", async (file) => csvFrames(await file.text(), contract));
  bindSound(runner, contract);
  byId("measure").addEventListener("click", () => {
    runner.stop();
    const cost = measure(engine, golden.inputs.subarray(0, engine.inputs));
    say("measured", `p50 ${digits(cost.p50)} µs, p99 ${digits(cost.p99)} µs a step: of the means of ` +
      `${cost.batches} batches of ${cost.steps} steps, as this browser's clock ticks every ` +
      `${digits(1000 * cost.tick)} µs. A single slow step is not seen.`);
  });
  return { engine, runner, result, contract, golden };
}

window.edgestep = start();
window.edgestep.catch((error) => {
  byId("test-text").className = "failed";
  say("test-text", `failed: ${error.message}`);
});
