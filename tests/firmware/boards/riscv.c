/* A 32-bit RISC-V without an operating system, whose debugger prints. */
#include "board.h"

int main(void);
extern uint32_t board_stack_top[], data_load[], data_begin[], data_end[], bss_begin[], bss_end[];

__attribute__((noinline, aligned(16))) static int semihost(int operation, const void *argument) {
  register int a0 __asm__("a0") = operation;
  register const void *a1 __asm__("a1") = argument;
  __asm__ volatile(
      ".option push\n.option norvc\n.balign 16\n"
      "slli x0, x0, 0x1f\nebreak\nsrai x0, x0, 7\n.option pop"
      : "+r"(a0)
      : "r"(a1)
      : "memory");
  return a0;
}
void board_put(const char *text) { semihost(0x04, text); }

/* Instructions that were retired. */
uint64_t board_ticks(void) {
  uint32_t low, high, again;
  do {
    __asm__ volatile("csrr %0, minstreth" : "=r"(high));
    __asm__ volatile("csrr %0, minstret" : "=r"(low));
    __asm__ volatile("csrr %0, minstreth" : "=r"(again));
  } while (high != again);
  return (uint64_t)high << 32 | low;
}

__attribute__((used)) static void begin(void) {
  for (uint32_t *to = data_begin, *from = data_load; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_begin; to < bss_end;) *to++ = 0;
  main();
  semihost(0x18, (const void *)0x20026);
}
__attribute__((naked, section(".vectors"))) void reset(void) {
  __asm__ volatile(
      "li t0, 0x6000\n csrs mstatus, t0\n" /* floating-point unit, if there is one */
      "la sp, board_stack_top\n j begin");
}
