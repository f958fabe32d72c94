/* SPDX-License-Identifier: Apache-2.0 */
/* DEFLATE (RFC 1951), for the contract in a model's ZIP. */
#ifndef ES_INFLATE_H
#define ES_INFLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Unpack exactly `size` bytes; false if the data is damaged or gives another number of them. */
bool es_inflate(const uint8_t *packed, size_t packed_bytes, uint8_t *unpacked, size_t size);
#endif
