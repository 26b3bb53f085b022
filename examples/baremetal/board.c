/* board.c: a processor from reset to main and back. Memory, the stack painted so that its use can be
 * seen, and a console by semihosting, which is a debugger's or an emulator's. On a board of yours
 * board_write would send to a serial port. What a kind of processor has of its own (vectors, a count
 * of instructions) is in cortex_m.h and riscv.h.                                  */
#include "board.h"

int main(void);

/* from board.ld */
extern unsigned char data_from[], data_begin[], data_end[], bss_begin[], bss_end[];
extern unsigned char stack_begin[], stack_end[];

static void board_reset(void);
static void board_fault(void);

#ifdef __riscv
#include "riscv.h"
#else
#include "cortex_m.h"
#endif

/* ---- the console ----------------------------------------------------------- */

#define SYS_WRITE0    0x04
#define SYS_EXIT      0x18
#define EXIT_NORMALLY 0x20026
#define EXIT_BROKEN   0x20023

void board_write(const char *text) { semihosting(SYS_WRITE0, text); }

/* ---- the stack ------------------------------------------------------------- */

#define PAINT 0xa5

size_t board_stack_bytes(void) { return (size_t)(stack_end - stack_begin); }

size_t board_stack_used(void)
{
    const unsigned char *p = stack_begin;
    while (p < stack_end && *p == PAINT) p++;
    return (size_t)(stack_end - p);
}

/* ---- from reset on --------------------------------------------------------- */

static void board_reset(void)
{
    const unsigned char *from = data_from;
    unsigned char       *p, *here = stack_pointer(); /* below it nothing is used yet */
    for (p = data_begin; p < data_end; p++) *p = *from++;
    for (p = bss_begin; p < bss_end; p++) *p = 0;
    for (p = stack_begin; p < here; p++) *(volatile unsigned char *)p = PAINT; /* no memset */
    processor_begin();
    semihosting(SYS_EXIT, (const void *)(uintptr_t)(main() == 0 ? EXIT_NORMALLY : EXIT_BROKEN));
    for (;;) {
    }
}

static void board_fault(void)
{
    board_write("fault: the stack or the code has run where there is no memory\n");
    semihosting(SYS_EXIT, (const void *)(uintptr_t)EXIT_BROKEN);
    for (;;) {
    }
}
