/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ES_WASM_MATH_H
#define ES_WASM_MATH_H
#define INFINITY __builtin_inff()
#endif
