"use strict";
// Log-mel energies as device_runner/front_ends/log_mel.py has them from TFLite Micro's audio front end:
// 40 channels of 30 ms, every 10 ms. Its numbers are whole, and so are these.

const MEL_RATE = 16000, MEL_WINDOW = 480, MEL_HOP = 160, MEL_FFT = 512, MEL_CHANNELS = 40;
const MEL_LOWEST = 125, MEL_HIGHEST = 7500, MEL_UNIT = 0.0390625;
const WEIGHT_BITS = 12, SMOOTHING_BITS = 10, SHARE_BITS = 14, SNR_BITS = 12, GAIN_BITS = 21;
// What an energy's root lacks: half of the FFT's scale, and half of the weights' bits.
const CORRECTION_BITS = 3;
const GAIN_OFFSET = 80, GAIN_STRENGTH = 0.95;
const share = (value) => Math.floor(value * (1 << SHARE_BITS));
const SMOOTHING = [share(0.025), share(0.06)], LEAST_LEFT = share(0.05);

const bitLength = (x) => 32 - Math.clz32(x);
// A product of 16 bits by 15, rounded.
const rounded15 = (x) => (x + 16384) >> 15;
const halved = (x) => rounded15(x * 16383), quartered = (x) => rounded15(x * 8191);
const q15 = (x) => Math.floor(0.5 + 32767 * x);

// --- A Fourier transform of real numbers in 16 bits --------------------------------------------

class ShortFourier {
  constructor(size) {
    const half = size / 2;
    this.half = half;
    const turn = (i) => (-2 * Math.PI * i) / half, last = (i) => -Math.PI * ((i + 1) / half + 0.5);
    this.cos = Array.from({ length: half }, (_, i) => q15(Math.cos(turn(i))));
    this.sin = Array.from({ length: half }, (_, i) => q15(Math.sin(turn(i))));
    this.lastCos = Array.from({ length: half / 2 }, (_, i) => q15(Math.cos(last(i))));
    this.lastSin = Array.from({ length: half / 2 }, (_, i) => q15(Math.sin(last(i))));
    this.re = new Int16Array(half);
    this.im = new Int16Array(half);
  }

  // Transform numbers from x, which are pairs of a complex one, into [at, at + 4 m).
  part(x, from, stride, at, m) {
    if (m === 1)
      for (let i = 0; i < 4; i++) {
        this.re[at + i] = x[2 * (from + i * stride)];
        this.im[at + i] = x[2 * (from + i * stride) + 1];
      }
    else for (let i = 0; i < 4; i++) this.part(x, from + i * stride, stride * 4, at + i * m, m / 4);
    for (let k = 0; k < m; k++) this.four(at + k, m, stride * k);
  }

  // One butterfly of four; each value is a quarter first, so that no sum leaves 16 bits.
  four(at, m, turn) {
    const { re, im, cos, sin } = this, r = [0, 0, 0, 0], s = [0, 0, 0, 0];
    for (let i = 0; i < 4; i++) {
      const a = quartered(re[at + i * m]), b = quartered(im[at + i * m]), t = i * turn;
      r[i] = i ? rounded15(a * cos[t] - b * sin[t]) : a;
      s[i] = i ? rounded15(a * sin[t] + b * cos[t]) : b;
    }
    const sumR = r[0] + r[2], sumS = s[0] + s[2], lessR = r[0] - r[2], lessS = s[0] - s[2];
    const oddR = r[1] + r[3], oddS = s[1] + s[3], apartR = r[1] - r[3], apartS = s[1] - s[3];
    re[at] = sumR + oddR, im[at] = sumS + oddS;
    re[at + 2 * m] = sumR - oddR, im[at + 2 * m] = sumS - oddS;
    re[at + m] = lessR + apartS, im[at + m] = lessS - apartR;
    re[at + 3 * m] = lessR - apartS, im[at + 3 * m] = lessS + apartR;
  }

  // Squares of the magnitudes of frequencies 1 to half - 1, by their numbers.
  energies(x) {
    const { half, re, im } = this, found = new Float64Array(half);
    this.part(x, 0, 1, 0, half / 4);
    for (let k = 1; k <= half / 2; k++) {
      const ar = halved(re[k]), ai = halved(im[k]);
      const br = halved(re[half - k]), bi = halved((-im[half - k] << 16) >> 16);
      const sumR = ar + br, sumI = ai + bi, lessR = ar - br, lessI = ai - bi;
      const c = this.lastCos[k - 1], s = this.lastSin[k - 1];
      const tr = rounded15(lessR * c - lessI * s), ti = rounded15(lessR * s + lessI * c);
      const one = [(sumR + tr) >> 1, (sumI + ti) >> 1], other = [(sumR - tr) >> 1, (ti - sumI) >> 1];
      found[k] = one[0] * one[0] + one[1] * one[1];
      found[half - k] = other[0] * other[0] + other[1] * other[1];
    }
    return found;
  }
}

// --- Channels --------------------------------------------------------------------------------

const mel = (hertz) => Math.fround(1127 * Math.fround(Math.log1p(Math.fround(hertz / 700))));

// Each channel's triangle rises where the one before falls: for each stretch between two middles, its
// first frequency and the weights of the falling one.
function melStretches() {
  const step = MEL_RATE / MEL_FFT, low = mel(MEL_LOWEST);
  const space = Math.fround(Math.fround(mel(MEL_HIGHEST) - low) / (MEL_CHANNELS + 1));
  const found = [];
  let frequency = Math.floor(1.5 + MEL_LOWEST / step), before = low;
  for (let n = 1; n <= MEL_CHANNELS + 1; n++) {
    const middle = Math.fround(low + Math.fround(space * n)), first = frequency, weights = [], rest = [];
    for (; mel(frequency * step) <= middle; frequency++) {
      const weight = Math.fround(
        Math.fround(middle - mel(frequency * step)) / Math.fround(middle - before));
      weights.push(Math.floor(weight * (1 << WEIGHT_BITS) + 0.5));
      rest.push(Math.floor((1 - weight) * (1 << WEIGHT_BITS) + 0.5));
    }
    found.push({ first, weights, rest });
    before = middle;
  }
  return found;
}

function rootOf(value) {
  let root = Math.floor(Math.sqrt(value));
  while (root * root > value) root--;
  while ((root + 1) * (root + 1) <= value) root++;
  return value - root * root > root ? root + 1 : root;
}

// --- Gain and logarithm ----------------------------------------------------------------------

function gainAt(x) {
  const real = Math.fround(Math.fround(x / (1 << (SMOOTHING_BITS - CORRECTION_BITS))) + GAIN_OFFSET);
  const gain = Math.fround((1 << GAIN_BITS) * Math.fround(Math.pow(real, -Math.fround(GAIN_STRENGTH))));
  return gain > 32767 ? 32767 : Math.floor(Math.fround(gain + 0.5));
}

// Parabolas through three values of each octave.
function gainOctaves() {
  const found = [];
  for (let bits = 2; bits <= 32; bits++) {
    const x = 2 ** (bits - 1), y = gainAt(x), middle = gainAt(x + x / 2) - y;
    const end = gainAt(bits === 32 ? 2 * x - 1 : 2 * x) - y, slope = 4 * middle - end;
    found[bits] = [y, slope, end - slope];
  }
  return found;
}

const LOG_TABLE = Array.from({ length: 129 },
  (_, i) => Math.round(65536 * (Math.log2(1 + i / 128) - i / 128)));

// 64 times the natural logarithm.
function logOf(x) {
  const whole = bitLength(x) - 1, left = x - 2 ** whole;
  const part = whole < 16 ? left * 2 ** (16 - whole) : Math.floor(left / 2 ** (whole - 16));
  const at = part >> 9, low = LOG_TABLE[at], high = LOG_TABLE[at + 1];
  const log2 = whole * 65536 + part + low + (((high - low) * (part - at * 512)) >> 16);
  const natural = Math.floor((45426 * log2 + 32768) / 65536);
  return Math.floor((natural * 64 + 32768) / 65536);
}

const LOG_MEL = {
  library: "pymicro-features", sample_rate: MEL_RATE, channels: MEL_CHANNELS, window_samples: MEL_WINDOW,
  hop_samples: MEL_HOP, lowest_hz: MEL_LOWEST, highest_hz: MEL_HIGHEST,
};

function readLogMel(described) {
  const same = Object.entries(LOG_MEL).every(([name, value]) => described[name] === value);
  if (!same || !Number.isInteger(described.every) || described.every < 1)
    throw new Error("the model's front end is not the log-mel front end of this page; give CSV lines");
  return new LogMel(described.every);
}

class LogMel {
  constructor(every) {
    this.rate = MEL_RATE;
    this.every = every;
    this.count = 0;
    this.waiting = [];
    this.fourier = new ShortFourier(MEL_FFT);
    this.stretches = melStretches();
    this.octaves = gainOctaves();
    this.noise = new Float64Array(MEL_CHANNELS);
    const turn = Math.fround((2 * Math.PI) / MEL_WINDOW);
    const cosine = (i) => Math.fround(Math.cos(Math.fround(turn * (i + 0.5))));
    this.window = Int16Array.from({ length: MEL_WINDOW },
      (_, i) => Math.floor(Math.fround(0.5 - 0.5 * cosine(i)) * 4096 + 0.5));
  }

  *frames(samples) {
    for (const sample of samples) {
      this.waiting.push(sample);
      if (this.waiting.length < MEL_WINDOW) continue;
      const frame = this.frame(this.waiting);
      this.waiting.splice(0, MEL_HOP);
      if (this.count++ % this.every === 0) yield frame;
    }
  }

  frame(samples) {
    const x = new Int16Array(MEL_FFT);
    let most = 0;
    for (let i = 0; i < MEL_WINDOW; i++) {
      x[i] = (samples[i] * this.window[i]) >> 12;
      if (x[i] !== -32768) most = Math.max(most, Math.abs(x[i])); // its size is no number of 16 bits
    }
    const shift = 15 - bitLength(most); // all of the 16 bits are used
    for (let i = 0; i < MEL_WINDOW; i++) x[i] <<= shift;
    const signal = this.channels(this.fourier.energies(x), shift);
    return Float64Array.from(signal, (value, channel) => this.louder(value, channel) * MEL_UNIT);
  }

  channels(energies, shift) {
    const found = [];
    let falling = 0;
    for (const { first, weights, rest } of this.stretches) {
      let sum = falling;
      falling = 0;
      for (let i = 0; i < weights.length; i++) {
        sum += weights[i] * energies[first + i];
        falling += rest[i] * energies[first + i];
      }
      found.push(Math.floor(rootOf(sum) / 2 ** shift));
    }
    return found.slice(1);
  }

  // Take the noise away, even out the loudness, take the logarithm.
  louder(value, channel) {
    const whole = 1 << SHARE_BITS, smoothing = SMOOTHING[channel % 2];
    const scaled = (value * (1 << SMOOTHING_BITS)) >>> 0;
    const noise = Math.floor((scaled * smoothing + this.noise[channel] * (whole - smoothing)) / whole);
    this.noise[channel] = noise;
    const least = Math.floor((value * LEAST_LEFT) / whole);
    const clean = Math.floor((scaled - Math.min(noise, scaled)) / (1 << SMOOTHING_BITS));
    const ratio = Math.floor((Math.max(clean, least) * this.gain(noise)) /
      2 ** (GAIN_BITS - CORRECTION_BITS - SNR_BITS));
    const shrunk = ratio < 2 << SNR_BITS ? Math.floor((ratio * ratio) / 2 ** (2 + 2 * SNR_BITS - 6))
      : Math.floor(ratio / 2 ** (SNR_BITS - 6)) - 64;
    const corrected = (shrunk * (1 << CORRECTION_BITS)) >>> 0;
    return corrected > 1 ? Math.min(logOf(corrected), 0xFFFF) : 0;
  }

  gain(x) {
    if (x < 2) return gainAt(x);
    const bits = bitLength(x), [y, slope, bend] = this.octaves[bits];
    if (x === 2) return y;
    const place = (bits < 11 ? x << (11 - bits) : x >>> (bits - 11)) & 0x3FF;
    const steep = ((bend * place) >> 5) + (slope << 5);
    return (((Math.imul(steep, place) + (1 << 14)) >> 15) + y << 16) >> 16;
  }
}
