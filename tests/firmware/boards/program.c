/* Steps recorded frames of an exported model on a board, and prints what it gives:
 *
 *     bytes HEX      what step_bytes gave, a line a frame
 *     values STATUS HEX    what step gave, a line a frame of real values
 *     state HEX      the state at the end
 *     self_test N
 *     ticks N        of the board's counter, for all frames by bytes
 *     stack N        bytes that a step of real values took of the stack
 *
 * With BARE defined it only steps, so that a linker's file tells what a model takes. */
#include "board.h"

#ifndef NOTHING
#include "frames.h"
#endif

#include <stdint.h>
#include <string.h>

#ifdef NOTHING
int main(void) { return 0; }
#else
static STREAM stream;
static float x[INPUT_VALUES], y[OUTPUT_VALUES];

#ifdef BARE
int main(void) {
  RESET(&stream);
  return STEP(&stream, x, y);
}
#else
static unsigned char given[OUTPUT_BYTES], state[STATE_BYTES + 1];

static void put_number(uint32_t value) {
  char text[11], *at = text + 10;
  *at = 0;
  do *--at = (char)('0' + value % 10);
  while (value /= 10);
  board_put(at);
}
static void put_hex(const void *bytes, size_t count) {
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < count; i++) {
    const unsigned char byte = ((const unsigned char *)bytes)[i];
    const char text[3] = {digits[byte >> 4], digits[byte & 15], 0};
    board_put(text);
  }
  board_put("\n");
}

/* Memory below main's own, down to the stack's end, is marked before a step and looked at after. */
#define MARK 0xA5A5A5A5u
#define OWN 8 /* words that mark itself may use */
__attribute__((noinline)) static uint32_t *here(void) {
  return (uint32_t *)__builtin_frame_address(0);
}
__attribute__((noinline)) static void mark(uint32_t *end) {
  for (uint32_t *at = board_stack_end; at < end; at++) *(volatile uint32_t *)at = MARK;
}
__attribute__((noinline)) static uint32_t taken(uint32_t *from) {
  uint32_t *at = board_stack_end;
  while (at < from && *(volatile uint32_t *)at == MARK) at++;
  return (uint32_t)((char *)from - (char *)at);
}

int main(void) {
  RESET(&stream);
  for (int i = 0; i < FRAMES; i++) {
    const size_t count = STEP_BYTES(&stream, frames[i], given);
    board_put("bytes ");
    put_hex(given, count);
  }
  GET_STATE(&stream, state);
  board_put("state ");
  put_hex(state, STATE_BYTES);
  RESET(&stream);
  for (int i = 0; i < REAL_FRAMES; i++) {
    memcpy(x, real_frames[i], sizeof x);
    const int status = STEP(&stream, x, y);
    board_put("values ");
    put_number((uint32_t)status);
    board_put(" ");
    put_hex(y, sizeof y);
  }
  board_put("self_test ");
  put_number((uint32_t)SELF_TEST(&stream));
  RESET(&stream);
  const uint64_t before = board_ticks();
  for (int i = 0; i < FRAMES; i++) STEP_BYTES(&stream, frames[i], given);
  const uint64_t ticks = board_ticks() - before;
  board_put("\nticks ");
  put_number((uint32_t)ticks);
  uint32_t *from = here();
  mark(from - OWN);
  STEP(&stream, x, y);
  const uint32_t stack = taken(from);
  board_put("\nstack ");
  put_number(stack);
  board_put("\n");
  return 0;
}
#endif
#endif
