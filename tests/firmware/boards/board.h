/* What a board gives a program. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Print a text. */
void board_put(const char *text);
/* A counter that grows with executed instructions. */
uint64_t board_ticks(void);
/* The lowest word of the stack. */
extern uint32_t board_stack_end[];
#endif
