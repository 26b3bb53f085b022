/* board.h: all that story.c asks of the machine. board.c has it for Cortex-M without a system,
 * desktop.c for anything with a C library.                                     */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

void     board_write(const char *text); /* NUL-terminated, to the console         */
uint32_t board_instructions(void);      /* a count that goes on; wraps            */

/* The most bytes of stack that were ever in use, and all there are; 0: not known */
size_t board_stack_used(void);
size_t board_stack_bytes(void);

#endif
