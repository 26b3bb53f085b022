/* cortex_m.h: what board.c needs of a Cortex-M.                                    */

static inline int semihosting(int call, const void *argument)
{
    register int         r0 __asm__("r0") = call;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static inline unsigned char *stack_pointer(void)
{
    unsigned char *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    return here;
}

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

static inline void processor_begin(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* CPACR: full access */
    __asm__ volatile("dsb; isb");
#endif
    SYSTICK_RELOAD = 0xffffff;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* on, with interrupts, by the processor's clock */
}

typedef union vector {
    void (*handler)(void);
    unsigned char *stack;
} vector;

__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    {.stack = stack_end}, {board_reset}, {board_fault}, {board_fault},
    {board_fault},        {board_fault}, {board_fault}, [15] = {systick_handler},
};
