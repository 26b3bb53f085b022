/* board.c: a Cortex-M from reset to main and back. Vectors, memory, the floating-point unit, the
 * stack painted so that its use can be seen, and a console by semihosting, which is a debugger's or
 * an emulator's. On a board of yours board_write would send to a serial port.      */
#include "board.h"

int main(void);

/* from board.ld */
extern unsigned char data_from[], data_begin[], data_end[], bss_begin[], bss_end[];
extern unsigned char stack_begin[], stack_end[];

/* ---- the console ----------------------------------------------------------- */

#define SYS_WRITE0    0x04
#define SYS_EXIT      0x18
#define EXIT_NORMALLY 0x20026
#define EXIT_BROKEN   0x20023

static int semihosting(int call, const void *argument)
{
    register int         r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_write(const char *text) { semihosting(SYS_WRITE0, text); }

/* ---- time ------------------------------------------------------------------ */

/* SysTick counts 24 bits down, at the processor's clock: CLOCK_MHZ. What it counts is nanoseconds,
 * and in an emulator that takes one for each instruction, instructions.           */
#define SYSTICK_CONTROL (*(volatile uint32_t *)0xe000e010)
#define SYSTICK_RELOAD  (*(volatile uint32_t *)0xe000e014)
#define SYSTICK_VALUE   (*(volatile uint32_t *)0xe000e018)

static volatile uint32_t wraps;

static void systick_handler(void) { wraps++; }

uint32_t board_instructions(void)
{
    uint32_t high, low;
    do {
        high = wraps;
        low = SYSTICK_VALUE;
    } while (high != wraps);
    return (uint32_t)(((uint64_t)high << 24 | (0xffffff - low)) * 1000 / CLOCK_MHZ);
}

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
    unsigned char       *p, *here; /* in the stack: below it nothing is used yet */
    for (p = data_begin; p < data_end; p++) *p = *from++;
    for (p = bss_begin; p < bss_end; p++) *p = 0;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (p = stack_begin; p < here; p++) *(volatile unsigned char *)p = PAINT; /* no memset */
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: full access */
    __asm__ volatile("dsb; isb");
#endif
    SYSTICK_RELOAD = 0xffffff;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* on, with interrupts, by the processor's clock */
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

typedef union vector {
    void (*handler)(void);
    unsigned char *stack;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = stack_end}, {board_reset}, {board_fault}, {board_fault},
    {board_fault},        {board_fault}, {board_fault}, [15] = {systick_handler},
};
