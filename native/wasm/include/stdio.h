/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ES_WASM_STDIO_H
#define ES_WASM_STDIO_H
#include <stdarg.h>
#include <stddef.h>
int snprintf(char *to, size_t size, const char *format, ...);
int vsnprintf(char *to, size_t size, const char *format, va_list values);
#endif
