/* desktop.c: the same for a machine with a C library: what a board writes is compared with what this
 * writes.                                                                      */
#include "board.h"

#include <stdio.h>

void board_write(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

uint32_t board_instructions(void) { return 0; }
size_t board_stack_used(void) { return 0; }
size_t board_stack_bytes(void) { return 0; }
