/* riscv.h: what board.c needs of a RISC-V of 32 bits.                              */

static inline int semihosting(int call, const void *argument)
{
    register int         a0 __asm__("a0") = call;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n" /* these three, side by side, mean it */
                     ".balign 16\nslli x0, x0, 31\nebreak\nsrai x0, x0, 7\n"
                     ".option pop" : "+r"(a0) : "r"(a1) : "memory");
    return a0;
}

static inline unsigned char *stack_pointer(void)
{
    unsigned char *here;
    __asm__ volatile("mv %0, sp" : "=r"(here));
    return here;
}

uint32_t board_instructions(void)
{
    uint32_t n;
    __asm__ volatile("csrr %0, minstret" : "=r"(n));
    return n;
}

static inline void processor_begin(void) {}

/* The first instruction; from then on whatever goes wrong ends in board_fault.    */
__attribute__((section(".vectors"), naked, used)) void vectors(void)
{
    __asm__ volatile("la sp, stack_end\nla t0, %0\ncsrw mtvec, t0\nj %1"
                     : : "i"(board_fault), "i"(board_reset));
}
