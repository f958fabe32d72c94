/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ES_WASM_STDLIB_H
#define ES_WASM_STDLIB_H
#include <stddef.h>
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);
void free(void *block);
#endif
