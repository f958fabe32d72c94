/* SPDX-License-Identifier: Apache-2.0 */
/* ADD and MUL of int8 in whole vectors of bytes, the same bits as element by element. An instruction
 * set whose bytes lie in quarters of four vectors includes this after vectors.h, when it has defined
 *
 *     bytes, load_bytes, store_bytes   4 * LANES int8
 *     same_bytes(value)                one value in all
 *     turned(bytes)                    each one's sign bit changed: from signed to from 0 on
 *     quarter(bytes, v)                LANES turned bytes as reals, with 2^23 added; v is a constant
 *     narrowed(a, b, c, d)             the quarters as integers put together again
 *     saturated(reals[4], zeros)       the same of reals below 2^31, rounded, with a zero point, limited
 *     same_words(value)                one zero point of 16 bits in all, for that
 *     in_order(bytes)                  narrowed bytes of whole vectors, one vector after another
 *     bytes_looked_up(table, bytes)    each one's value in a table, if that is fast
 *
 * and before elementwise_lanes.h, whose add_i8 and mul_i8 it calls for what fills no vector. */
#define BYTES (4 * LANES)
/* Rows that are shorter than a vector are put side by side, so many bytes at once. */
#define EXPANDED 1024

/* What quarter() adds, and a zero point. */
INLINE reals unturned(int32_t zero) { return reals_of(8388608.0f + 128.0f + (float)zero); }

/* Whether the output's limits are those of int8, and all steps fit into 32 bits. */
INLINE bool saturates(const es_op *op) {
  const int32_t zero = op->zero[2];
  return zero >= -128 && zero <= 127 && op->low == (float)(-128 - zero) &&
         op->high == (float)(127 - zero) && op->scale[0] < 1e4f && op->scale[1] < 1e4f &&
         op->scale[1] > -1e4f && op->zero[0] >= -128 && op->zero[0] <= 127 &&
         op->zero[1] >= -128 && op->zero[1] <= 127;
}

/* Limited steps, rounded as es_stored does it. */
INLINE bytes stored_bytes(const reals z[4], int32_t zero) {
  const integers moved = integers_of(zero - 0x4B400000); /* as rounded() has it */
  integers whole[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; v++) whole[v] = to_integers(z[v] + reals_of(12582912.0f)) + moved;
  return narrowed(whole[0], whole[1], whole[2], whole[3]);
}

INLINE bytes operand(const int8_t *from, bool moves) {
  return turned(moves ? load_bytes(from) : same_bytes(*from));
}

#define QUARTER(compute, v)                                                    \
  {                                                                            \
    const reals fa = quarter(a_bytes, v) - za, fb = quarter(b_bytes, v) - zb;  \
    z[v] = (compute);                                                          \
  }
/* A row of whole vectors. */
#define BYTE_ROW(name, compute)                                                               \
  INLINE void name##_bytes(const es_op *op, const int8_t *a, const int8_t *b, int8_t *y,      \
                           size_t count, bool move_a, bool move_b, bool full) {               \
    const reals ka = reals_of(op->scale[0]), kb = reals_of(op->scale[1]);                     \
    const reals za = unturned(op->zero[0]), zb = unturned(op->zero[1]);                       \
    const float low = op->low, high = op->high;                                               \
    const int32_t zero = op->zero[2];                                                         \
    const bytes zeros = same_words(zero);                                                     \
    (void)kb;                                                                                 \
    for (size_t i = 0; i < count; i += BYTES) {                                               \
      const bytes a_bytes = operand(move_a ? a + i : a, move_a);                              \
      const bytes b_bytes = operand(move_b ? b + i : b, move_b);                              \
      reals z[4];                                                                             \
      QUARTER(compute, 0)                                                                     \
      QUARTER(compute, 1)                                                                     \
      QUARTER(compute, 2)                                                                     \
      QUARTER(compute, 3)                                                                     \
      if (!full)                                                                              \
        for (int v = 0; v < 4; v++) z[v] = limited(z[v], low, high);                          \
      store_bytes(y + i, full ? saturated(z, zeros) : stored_bytes(z, zero));                 \
    }                                                                                         \
  }                                                                                           \
  INLINE void name##_whole(const es_op *op, const int8_t *a, const int8_t *b, int8_t *y,      \
                           size_t count, bool move_a, bool move_b) {                          \
    if (saturates(op)) name##_bytes(op, a, b, y, count, move_a, move_b, true);                \
    else name##_bytes(op, a, b, y, count, move_a, move_b, false);                             \
  }
BYTE_ROW(add_i8, fa * ka + fb * kb)
BYTE_ROW(mul_i8, fa * fb * ka)

/* Put an operand's next rows side by side; the bytes behind them are written, too. */
INLINE const int8_t *expanded(const es_tensor *t, const int8_t *from, const int32_t *index,
                              size_t rows, size_t length, bool moves, size_t all, int8_t *to) {
  if (t->count == all) return from + index[0]; /* it already lies so */
  int8_t *next = to;
  if (!moves)
    for (size_t row = 0; row < rows; row++, next += length)
      store_bytes(next, same_bytes(from[index[row]]));
  else if (length == 16)
    for (size_t row = 0; row < rows; row++, next += 16) memcpy(next, from + index[row], 16);
  else
    for (size_t row = 0; row < rows; row++, next += length) memcpy(next, from + index[row], length);
  return to;
}

#define BYTE_BINARY(name)                                                                       \
  ES_KERNEL void name(const es_op *op, char *block) {                                            \
    const int8_t *a = es_at(op->in[0], block), *b = es_at(op->in[1], block);                    \
    int8_t *y = es_at(op->out[0], block);                                                       \
    if (op->n[1] == ES_ALIKE) {                                                                 \
      const size_t whole = op->n[0] / BYTES * BYTES;                                            \
      name##_whole(op, a, b, y, whole, true, true);                                             \
      name##_row(op, a + whole, b + whole, y + whole, op->n[0] - whole, true, true);            \
      return;                                                                                   \
    }                                                                                           \
    const size_t rows = op->n[2], length = op->n[3];                                            \
    const bool move_a = op->n[1] == ES_BOTH_MOVE || op->n[1] == ES_FIRST_MOVES;                 \
    const bool move_b = op->n[1] == ES_BOTH_MOVE || op->n[1] == ES_SECOND_MOVES;                \
    const int32_t *index_a = op->index[0], *index_b = op->index[1];                             \
    if (length < BYTES) {                                                                       \
      int8_t wide_a[EXPANDED + BYTES], wide_b[EXPANDED + BYTES];                                \
      const size_t most = EXPANDED / length;                                                    \
      for (size_t row = 0, here; row < rows; row += here, y += here * length) {                 \
        here = rows - row < most ? rows - row : most;                                           \
        const int8_t *at_a = expanded(op->in[0], a, index_a + row, here, length, move_a,        \
                                      op->n[0], wide_a);                                        \
        const int8_t *at_b = expanded(op->in[1], b, index_b + row, here, length, move_b,        \
                                      op->n[0], wide_b);                                        \
        const size_t whole = here * length / BYTES * BYTES;                                     \
        name##_whole(op, at_a, at_b, y, whole, true, true);                                     \
        name##_row(op, at_a + whole, at_b + whole, y + whole, here * length - whole, true, true); \
      }                                                                                         \
      return;                                                                                   \
    }                                                                                           \
    for (size_t row = 0; row < rows; row++, y += length) {                                      \
      const int8_t *at_a = a + index_a[row], *at_b = b + index_b[row];                          \
      const size_t whole = length / BYTES * BYTES, rest = length - whole;                       \
      if (op->n[1] == ES_BOTH_MOVE) name##_whole(op, at_a, at_b, y, whole, true, true);         \
      else if (op->n[1] == ES_FIRST_MOVES) name##_whole(op, at_a, at_b, y, whole, true, false); \
      else if (op->n[1] == ES_SECOND_MOVES) name##_whole(op, at_a, at_b, y, whole, false, true); \
      else name##_whole(op, at_a, at_b, y, whole, false, false);                                \
      if (rest)                                                                                 \
        name##_row(op, move_a ? at_a + whole : at_a, move_b ? at_b + whole : at_b, y + whole,   \
                   rest, move_a, move_b);                                                       \
    }                                                                                           \
  }
