/* A Cortex-M without an operating system, whose debugger prints. */
#include "board.h"

int main(void);
extern uint32_t board_stack_top[], data_load[], data_begin[], data_end[], bss_begin[], bss_end[];

static int semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}
void board_put(const char *text) { semihost(0x04, text); }

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xE000E018)
static volatile uint32_t turns;
void systick(void) { turns++; }
/* It counts down from 2^24 - 1 by the processor's clock. */
uint64_t board_ticks(void) {
  uint32_t before, value;
  do {
    before = turns;
    value = SYSTICK_VALUE;
  } while (before != turns);
  return ((uint64_t)before << 24) + (0xFFFFFF - value);
}

void reset(void) {
  *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* the floating-point unit */
  __asm__ volatile("dsb; isb");
  for (uint32_t *to = data_begin, *from = data_load; to < data_end;) *to++ = *from++;
  for (uint32_t *to = bss_begin; to < bss_end;) *to++ = 0;
  SYSTICK_RELOAD = 0xFFFFFF;
  SYSTICK_VALUE = 0;
  SYSTICK_CONTROL = 7;
  main();
  semihost(0x18, (const void *)0x20026);
}
static void fault(void) {
  board_put("fault\n");
  semihost(0x18, (const void *)0x20024);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    board_stack_top, reset, fault, fault, fault, fault, fault, fault, 0, 0, 0, fault, fault, 0, fault, systick};
