/* SPDX-License-Identifier: Apache-2.0 */
#include "inflate.h"

#include <string.h>

#define LONGEST_CODE 15

typedef struct {
  const uint8_t *in;
  size_t in_bytes, at;
  uint32_t bits;
  int bit_count;
  uint8_t *out;
  size_t size, used;
  bool bad;
} inflater;

/* How many codes there are of each length, and their symbols in the order of the codes. */
typedef struct {
  uint16_t counts[LONGEST_CODE + 1], symbols[288];
} codes;

static uint32_t bits(inflater *f, int count) {
  while (f->bit_count < count) {
    if (f->at == f->in_bytes) {
      f->bad = true;
      return 0;
    }
    f->bits |= (uint32_t)f->in[f->at++] << f->bit_count;
    f->bit_count += 8;
  }
  uint32_t value = f->bits & ((1u << count) - 1);
  f->bits >>= count;
  f->bit_count -= count;
  return value;
}

/* False if there are more codes than bits can tell apart. */
static bool make_codes(codes *c, const uint8_t *lengths, int symbols) {
  uint16_t first[LONGEST_CODE + 2] = {0};
  memset(c, 0, sizeof *c);
  for (int i = 0; i < symbols; i++) c->counts[lengths[i]]++;
  c->counts[0] = 0;
  for (int i = 1; i <= LONGEST_CODE; i++) first[i + 1] = (uint16_t)(first[i] + c->counts[i]);
  for (int i = 0; i < symbols; i++)
    if (lengths[i]) c->symbols[first[lengths[i]]++] = (uint16_t)i;
  int left = 1;
  for (int i = 1; i <= LONGEST_CODE && left >= 0; i++) left = 2 * left - c->counts[i];
  return left >= 0;
}

/* Codes of one length are consecutive numbers: count through the lengths bit by bit. */
static int symbol(inflater *f, const codes *c) {
  int code = 0, first = 0, index = 0;
  for (int length = 1; length <= LONGEST_CODE; length++) {
    code |= (int)bits(f, 1);
    int count = c->counts[length];
    if (f->bad) return 0;
    if (code - count < first) return c->symbols[index + (code - first)];
    index += count;
    first = (first + count) << 1;
    code <<= 1;
  }
  f->bad = true;
  return 0;
}

static void put(inflater *f, uint8_t byte) {
  if (f->used < f->size) f->out[f->used++] = byte;
  else f->bad = true;
}

static void copied(inflater *f, const codes *lengths, const codes *distances) {
  static const uint16_t bases[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                   31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  static const uint8_t extra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                  2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
  while (!f->bad) {
    int s = symbol(f, lengths);
    if (s == 256) return;
    if (s < 256) {
      put(f, (uint8_t)s);
      continue;
    }
    s -= 257;
    if (s >= 29) f->bad = true;
    if (f->bad) return;
    size_t length = bases[s] + bits(f, extra[s]);
    int d = symbol(f, distances);
    if (d >= 30) f->bad = true;
    if (f->bad) return;
    int more = d < 4 ? 0 : d / 2 - 1;
    size_t distance = (d < 4 ? (size_t)d : (size_t)(2 + d % 2) << more) + 1 + bits(f, more);
    if (distance > f->used) f->bad = true;
    for (; length && !f->bad; length--) put(f, f->out[f->used - distance]);
  }
}

static void dynamic(inflater *f, codes *lengths, codes *distances) {
  static const uint8_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  uint8_t sizes[288 + 32] = {0};
  int literals = (int)bits(f, 5) + 257, pairs = (int)bits(f, 5) + 1, count = (int)bits(f, 4) + 4;
  if (literals > 286 || pairs > 30) f->bad = true;
  for (int i = 0; i < count; i++) sizes[order[i]] = (uint8_t)bits(f, 3);
  if (!make_codes(lengths, sizes, 19)) f->bad = true;
  memset(sizes, 0, sizeof sizes);
  for (int i = 0; i < literals + pairs && !f->bad;) {
    int s = symbol(f, lengths), repeat = 1;
    uint8_t size = (uint8_t)s;
    if (s == 16) {
      if (!i) f->bad = true;
      size = i ? sizes[i - 1] : 0;
      repeat = 3 + (int)bits(f, 2);
    } else if (s == 17) {
      size = 0;
      repeat = 3 + (int)bits(f, 3);
    } else if (s == 18) {
      size = 0;
      repeat = 11 + (int)bits(f, 7);
    }
    if (i + repeat > literals + pairs) f->bad = true;
    for (; repeat && !f->bad; repeat--) sizes[i++] = size;
  }
  if (f->bad) return;
  if (!make_codes(lengths, sizes, literals) || !make_codes(distances, sizes + literals, pairs))
    f->bad = true;
}

static void fixed(codes *lengths, codes *distances) {
  uint8_t sizes[288];
  memset(sizes, 8, 144);
  memset(sizes + 144, 9, 112);
  memset(sizes + 256, 7, 24);
  memset(sizes + 280, 8, 8);
  make_codes(lengths, sizes, 288);
  memset(sizes, 5, 30);
  make_codes(distances, sizes, 30);
}

static void stored(inflater *f) {
  f->bits = 0;
  f->bit_count = 0;
  if (f->in_bytes - f->at < 4) {
    f->bad = true;
    return;
  }
  size_t length = f->in[f->at] | (size_t)f->in[f->at + 1] << 8;
  f->at += 4;
  if (f->in_bytes - f->at < length || f->size - f->used < length) {
    f->bad = true;
    return;
  }
  memcpy(f->out + f->used, f->in + f->at, length);
  f->used += length;
  f->at += length;
}

bool es_inflate(const uint8_t *packed, size_t packed_bytes, uint8_t *unpacked, size_t size) {
  inflater f = {packed, packed_bytes, 0, 0, 0, unpacked, size, 0, false};
  codes lengths, distances;
  for (bool last = false; !last && !f.bad;) {
    last = bits(&f, 1);
    uint32_t kind = bits(&f, 2);
    if (kind == 0) {
      stored(&f);
      continue;
    }
    if (kind == 1) fixed(&lengths, &distances);
    else if (kind == 2) dynamic(&f, &lengths, &distances);
    else f.bad = true;
    if (!f.bad) copied(&f, &lengths, &distances);
  }
  return !f.bad && f.used == size;
}
