/* SPDX-License-Identifier: Apache-2.0 */
/* Bounds-checked reading of a flatbuffer. What lies outside of the file reads as 0 and marks the
 * reader as bad, so callers check once, after a table. */
#ifndef ES_READER_H
#define ES_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  const uint8_t *data;
  size_t bytes;
  bool bad;
} es_reader;

/* A table's position and that of its vtable; 0 if there is none. */
typedef struct {
  size_t at, vtable;
} es_table;

/* A vector's first element and its length. */
typedef struct {
  size_t at, count;
} es_vector;

static inline bool es_within(es_reader *r, size_t at, size_t bytes) {
  if (at <= r->bytes && bytes <= r->bytes - at) return true;
  r->bad = true;
  return false;
}

#define ES_READ(name, type)                                  \
  static inline type es_read_##name(es_reader *r, size_t at) { \
    type value = 0;                                          \
    if (es_within(r, at, sizeof value)) memcpy(&value, r->data + at, sizeof value); \
    return value;                                            \
  }
ES_READ(u8, uint8_t)
ES_READ(u16, uint16_t)
ES_READ(u32, uint32_t)
ES_READ(i32, int32_t)
ES_READ(u64, uint64_t)
ES_READ(i64, int64_t)
ES_READ(f32, float)

static inline es_table es_table_at(es_reader *r, size_t at) {
  es_table t = {at, 0};
  int64_t vtable = (int64_t)at - es_read_i32(r, at);
  if (vtable < 0 || !es_within(r, (size_t)vtable, 4)) {
    r->bad = true;
    return (es_table){0, 0};
  }
  t.vtable = (size_t)vtable;
  return t;
}

/* Where a field is; 0 if it is left out. */
static inline size_t es_field(es_reader *r, es_table t, unsigned number) {
  if (!t.at) return 0;
  unsigned entry = 4 + 2 * number;
  if (entry + 2 > es_read_u16(r, t.vtable)) return 0;
  uint16_t offset = es_read_u16(r, t.vtable + entry);
  return offset ? t.at + offset : 0;
}

static inline es_table es_field_table(es_reader *r, es_table t, unsigned number) {
  size_t at = es_field(r, t, number);
  return at ? es_table_at(r, at + es_read_u32(r, at)) : (es_table){0, 0};
}

static inline es_vector es_field_vector(es_reader *r, es_table t, unsigned number,
                                        size_t element_bytes) {
  size_t at = es_field(r, t, number);
  if (!at) return (es_vector){0, 0};
  at += es_read_u32(r, at);
  es_vector v = {at + 4, es_read_u32(r, at)};
  if (r->bad || v.at > r->bytes || v.count > (r->bytes - v.at) / element_bytes) {
    r->bad = true;
    return (es_vector){0, 0};
  }
  return v;
}

/* The table that an element of a vector of tables is. */
static inline es_table es_element(es_reader *r, es_vector v, size_t index) {
  size_t at = v.at + 4 * index;
  return es_table_at(r, at + es_read_u32(r, at));
}

static inline int32_t es_field_i32(es_reader *r, es_table t, unsigned n, int32_t otherwise) {
  size_t at = es_field(r, t, n);
  return at ? es_read_i32(r, at) : otherwise;
}
static inline uint32_t es_field_u32(es_reader *r, es_table t, unsigned n, uint32_t otherwise) {
  size_t at = es_field(r, t, n);
  return at ? es_read_u32(r, at) : otherwise;
}
static inline int es_field_i8(es_reader *r, es_table t, unsigned n, int otherwise) {
  size_t at = es_field(r, t, n);
  return at ? (int8_t)es_read_u8(r, at) : otherwise;
}
static inline float es_field_f32(es_reader *r, es_table t, unsigned n, float otherwise) {
  size_t at = es_field(r, t, n);
  return at ? es_read_f32(r, at) : otherwise;
}
#endif
