/* SPDX-License-Identifier: Apache-2.0 */
/* Which frames of a stream a window answers, and by which lane. */
#ifndef ES_WINDOW_H
#define ES_WINDOW_H

#include <stdint.h>

/* Frames of a window, frames between answers, rows; 0 rows if there are no lanes. */
typedef struct {
  int64_t steps, hop, lanes;
} es_window;

/* A frame of an endless stream as a small number with the same turns. */
static inline int64_t es_reduced_frame(es_window w, int64_t frame) {
  const int64_t cycle = w.hop * (w.lanes ? w.lanes : 1);
  return frame < w.steps + cycle ? frame : w.steps + (frame - w.steps) % cycle;
}
/* The row of the outputs that a frame gives; -1 if none. */
static inline int64_t es_answering_row(es_window w, int64_t frame) {
  const int64_t since = frame - w.steps + 1;
  if (since % w.hop) return -1;
  if (since >= 0) return w.lanes ? since / w.hop % w.lanes : 0;
  return w.lanes ? 0 : -1;
}
/* The lane that begins anew before a frame; -1 if none. */
static inline int64_t es_beginning_lane(es_window w, int64_t frame) {
  return w.lanes && frame % w.hop == 0 ? frame / w.hop % w.lanes : -1;
}
#endif
