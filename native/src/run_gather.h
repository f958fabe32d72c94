/* SPDX-License-Identifier: Apache-2.0 */
/* GATHER. */
#ifndef ES_RUN_GATHER_H
#define ES_RUN_GATHER_H

#include "operator.h"

#include <string.h>

/* n: rows before the axis, places along it, bytes behind it, positions. A position outside of the
 * table takes its first row. */
ES_KERNEL void gather(const es_op *op, char *block) {
  const char *table = es_at(op->in[0], block);
  const void *positions = es_at(op->in[1], block);
  char *y = es_at(op->out[0], block);
  const bool wide = op->in[1]->type == ES_I64;
  for (size_t row = 0; row < op->n[0]; row++)
    for (size_t i = 0; i < op->n[3]; i++, y += op->n[2]) {
      int64_t at = wide ? ((const int64_t *)positions)[i] : ((const int32_t *)positions)[i];
      if (at < 0 || (size_t)at >= op->n[1]) at = 0;
      memcpy(y, table + (row * op->n[1] + (size_t)at) * op->n[2], op->n[2]);
    }
}
#endif
