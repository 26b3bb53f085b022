/* bare.c: what a test needs to begin on an emulated Cortex-M board: a stack, the floating-point
 * unit, and the C library's own start, which prints by semihosting. */
#ifndef STACK_TOP
#define STACK_TOP 0x20400000
#endif

extern void _start(void);
void bare_begin(void);

void bare_begin(void)
{
    *(volatile unsigned *)0xE000ED88 |= 0xfu << 20; /* CPACR: full access to the FPU */
    __asm__ volatile("dsb; isb");
    _start();
}

__attribute__((section(".vectors"), used)) void *const bare_vectors[16] = {
    (void *)STACK_TOP, (void *)bare_begin,
};
