/* SPDX-License-Identifier: Apache-2.0 */
/* A loaded model's plan as text, for 'edgestep export-c --runtime none', which writes C of it. */
#ifndef ES_DESCRIBE_H
#define ES_DESCRIBE_H

#include "../include/edgestep.h"

/* Alignment of values in the plan of firmware: that of its largest type. */
#define ES_PLAN_ALIGNMENT 8

/* Load for the portable kernels, with a plan of a block in which values alone lie. No stream steps
 * such a model. */
ES_API es_status es_load_portable(const void *flatbuffer, size_t bytes, const char *contract,
                                  size_t contract_bytes, es_model **model,
                                  char why[ES_MESSAGE_BYTES]);

/* Write what a step computes as JSON, of which `size` bytes fit into `text`. Constants are given by
 * their addresses, which are good until the model is freed. Returns the whole text's length. */
ES_API size_t es_describe(const es_model *model, char *text, size_t size);
#endif
