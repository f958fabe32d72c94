/* SPDX-License-Identifier: Apache-2.0 */
/* C for any machine. */
#include "instruction_set.h"

#include "products_portable.h"

#include <string.h>

const es_products es_products_portable = {
    ES_QUAD, 4,    0,    true, {products_f32, products_f16, products_hybrid, products_i8, products_i16},
    NULL,    NULL, 1};

#include "elementwise_lanes.h"

const es_instructions es_portable = {"portable", &es_products_portable, &elementwise};

const es_named_kernel es_portable_kernels[] = {
    ES_NAMED(add_f32),        ES_NAMED(add_i8),         ES_NAMED(add_i16),      ES_NAMED(add_i32),
    ES_NAMED(sub_f32),        ES_NAMED(sub_i32),        ES_NAMED(mul_f32),      ES_NAMED(mul_i8),
    ES_NAMED(mul_i16),        ES_NAMED(mul_i32),        ES_NAMED(div_f32),      ES_NAMED(max_f32),
    ES_NAMED(max_i8),         ES_NAMED(max_i16),        ES_NAMED(max_i32),      ES_NAMED(min_f32),
    ES_NAMED(min_i8),         ES_NAMED(min_i16),        ES_NAMED(min_i32),      ES_NAMED(tanh_f32),
    ES_NAMED(logistic_f32),   ES_NAMED(exp_f32),        ES_NAMED(root_f32),     ES_NAMED(reciprocal_root_f32),
    ES_NAMED(limits_f32),     ES_NAMED(table_i8),       ES_NAMED(quantize_i8),  ES_NAMED(quantize_i16),
    ES_NAMED(dequantize_i8),  ES_NAMED(dequantize_i16), ES_NAMED(sum_f32),      ES_NAMED(sum_i8),
    {NULL, NULL}};

const char *es_portable_product(es_product_kernel kernel) {
  static const char *const names[] = {"products_f32", "products_f16", "products_hybrid", "products_i8",
                                      "products_i16"};
  for (int i = 0; i < ES_SUM_KINDS; i++)
    if (kernel == es_products_portable.kernels[i]) return names[i];
  return NULL;
}
