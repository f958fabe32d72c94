/* SPDX-License-Identifier: Apache-2.0 */
/* What libedgestep takes from a C library, for WebAssembly, where there is none.
 *
 * A page makes an instance for each model and drops it as a whole, so memory is only ever taken: free
 * does nothing. How far it grows is bounded by the linker's --max-memory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "include/stdio.h"
#include "include/stdlib.h"
#include "include/string.h"

#define PAGE 65536
#define ALIGNMENT 64

extern unsigned char __heap_base; /* the linker's: the end of the stack and of the constants */
static uintptr_t used;

__attribute__((visibility("default"))) void *malloc(size_t bytes) {
  if (!used) used = ((uintptr_t)&__heap_base + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
  if (bytes > SIZE_MAX - used - ALIGNMENT) return NULL;
  const uintptr_t block = used, end = (block + bytes + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
  const uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
  if (end > have &&
      __builtin_wasm_memory_grow(0, (end - have + PAGE - 1) / PAGE) == (size_t)-1)
    return NULL;
  used = end;
  return (void *)block;
}

void free(void *block) { (void)block; }

/* Memory that was never given is zero. */
void *calloc(size_t count, size_t bytes) {
  return bytes && count > SIZE_MAX / bytes ? NULL : malloc(count * bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  return alignment > ALIGNMENT ? NULL : malloc(bytes);
}

typedef uint64_t __attribute__((aligned(1), may_alias)) word;

/* A compiler makes a call of memcpy from a loop that copies, so these must say what they are. */
#define PLAIN(name) __attribute__((no_builtin(name)))

PLAIN("memcpy") void *memcpy(void *restrict to, const void *restrict from, size_t bytes) {
  unsigned char *y = to;
  const unsigned char *x = from;
  for (; bytes >= 8; bytes -= 8, y += 8, x += 8) *(word *)y = *(const word *)x;
  for (; bytes; bytes--) *y++ = *x++;
  return to;
}

PLAIN("memmove") PLAIN("memcpy") void *memmove(void *to, const void *from, size_t bytes) {
  unsigned char *y = to;
  const unsigned char *x = from;
  if (y <= x || y >= x + bytes) return memcpy(to, from, bytes);
  while (bytes--) y[bytes] = x[bytes];
  return to;
}

PLAIN("memset") void *memset(void *to, int value, size_t bytes) {
  unsigned char *y = to;
  const uint64_t eight = (unsigned char)value * UINT64_C(0x0101010101010101);
  for (; bytes >= 8; bytes -= 8, y += 8) *(word *)y = eight;
  for (; bytes; bytes--) *y++ = (unsigned char)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const unsigned char *x = a, *y = b;
  for (; bytes; bytes--, x++, y++)
    if (*x != *y) return *x < *y ? -1 : 1;
  return 0;
}

PLAIN("strlen") size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}

int strcmp(const char *a, const char *b) {
  for (; *a && *a == *b; a++, b++) continue;
  return (unsigned char)*a - (unsigned char)*b;
}

typedef struct {
  char *to;
  size_t size, length;
} writer;

static void put(writer *w, char c) {
  if (w->length + 1 < w->size) w->to[w->length] = c;
  w->length++;
}

static void put_number(writer *w, unsigned long value) {
  char digits[24];
  int count = 0;
  do digits[count++] = (char)('0' + value % 10);
  while (value /= 10);
  while (count) put(w, digits[--count]);
}

/* %s, %d and %zu are all that the loader's messages have. */
int vsnprintf(char *to, size_t size, const char *format, va_list values) {
  writer w = {to, size, 0};
  for (; *format; format++) {
    if (*format != '%') {
      put(&w, *format);
    } else if (*++format == 's') {
      for (const char *text = va_arg(values, const char *); *text; text++) put(&w, *text);
    } else if (*format == 'd') {
      const int value = va_arg(values, int);
      if (value < 0) put(&w, '-');
      put_number(&w, value < 0 ? 0ul - (unsigned long)value : (unsigned long)value);
    } else if (*format == 'z' && format[1] == 'u') {
      format++;
      put_number(&w, va_arg(values, size_t));
    } else {
      put(&w, '?');
    }
  }
  if (size) to[w.length < size ? w.length : size - 1] = 0;
  return (int)w.length;
}

int snprintf(char *to, size_t size, const char *format, ...) {
  va_list values;
  va_start(values, format);
  const int length = vsnprintf(to, size, format, values);
  va_end(values);
  return length;
}
