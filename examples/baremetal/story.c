/* story.c: a story without an operating system. The weights stay where the linker put them, in
 * flash; the model and the state lie in one static array; there is no malloc, no file, no printf.
 * Each token is evaluated a layer at a time, as a program would that has other things to do.
 *
 * MODEL is the model file, ARENA the bytes for model and state, TOKENS the length of the story.
 * Makefile: baremetal.                                                          */
#define RWKV_NO_STDIO
#define RWKV_NO_MALLOC
#define RWKV_NO_THREADS
#define RWKV_IMPLEMENTATION
#include "../../rwkv.h"
#include "board.h"

/* At a multiple of 64, read-only: so the linker leaves it in flash.              */
__asm__(".section .rodata.model,\"a\"\n"
        ".balign 64\n"
        ".global model_begin, model_end\n"
        "model_begin: .incbin \"" MODEL "\"\n"
        "model_end: .byte 0\n"
        ".balign 4\n"
        ".text\n");
extern const unsigned char model_begin[], model_end[];

/* ---- memory: taken, never given back ---------------------------------------- */

static unsigned char arena[ARENA];
static size_t        used;

static void *take(size_t size, size_t align, void *user)
{
    const size_t gap = (size_t)-(uintptr_t)(arena + used) & (align - 1);
    (void)user;
    if (gap > sizeof arena - used || size > sizeof arena - used - gap) return NULL;
    used += gap + size;
    return arena + used - size;
}

/* ---- what is written ---------------------------------------------------------- */

/* "WHAT NUMBER\n", in base 10 or 16                                              */
static void report(const char *what, uint64_t number, unsigned base)
{
    char  digits[24];
    char *p = digits + sizeof digits - 1;
    *p = 0;
    *--p = '\n';
    do *--p = "0123456789abcdef"[number % base];
    while ((number /= base) != 0);
    board_write(what);
    board_write(" ");
    board_write(p);
}

static int fail(const char *why)
{
    board_write("story: ");
    board_write(why);
    board_write("\n");
    return 1;
}

/* ---- one token, a layer at a time ---------------------------------------------- */

static uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a of all logits                   */
static uint64_t instructions;
static uint32_t longest_step, evaluated;

static int eval(int token, rwkv_state *state, int n_vocab)
{
    const float *logits;
    uint32_t     bits, now, before;
    int          left, i, k;
    if (rwkv_eval_begin(token, state) != RWKV_OK) return 0;
    do {
        before = board_instructions();
        left = rwkv_eval_step(state);
        now = board_instructions() - before;
        instructions += now;
        if (now > longest_step) longest_step = now;
        /* here a control loop would read its sensors                              */
    } while (left > 0);
    logits = rwkv_eval_end(state);
    for (i = 0; i < n_vocab; i++) {
        memcpy(&bits, &logits[i], 4);
        for (k = 0; k < 32; k += 8) hash = (hash ^ (bits >> k & 255)) * 0x100000001b3u;
    }
    evaluated++;
    return 1;
}

int main(void)
{
    static rwkv_options options; /* all zero */
    static const char   prompt[] = "Once upon a time";
    static char  text[256]; /* 3 * (n + 3) bytes for a token of n */
    int          tokens[sizeof prompt], n, i, token, length;
    rwkv_sampler sampler = {.temperature = 0.6f, .top_p = 0.9f, .seed = 7};
    rwkv_utf8    stream = {{0}, 0};
    rwkv_error   error;
    rwkv_model  *model;
    rwkv_state  *state;
    rwkv_info    info;

    options.chunk = 1; /* one token at a time needs the least memory */
    options.allocator.alloc = take;
    model = rwkv_load_memory(model_begin, (size_t)(model_end - model_begin), &options, &error);
    if (!model) return fail(error.message);
    if (rwkv_verify(model, &error) != RWKV_OK) return fail(error.message);
    info = rwkv_model_info(model);
    state = rwkv_state_new(model);
    if (!state) {
        report("story: the state needs bytes:", info.state_bytes, 10);
        report("story: of the arena are left:", sizeof arena - used, 10);
        return 1;
    }

    n = rwkv_tokenize(model, prompt, sizeof prompt - 1, tokens, (int)sizeof prompt);
    if (n < 0) return fail("no vocabulary in the model");
    eval(0, state, info.n_vocab);
    for (i = 0; i < n; i++) eval(tokens[i], state, info.n_vocab);
    board_write(prompt);
    for (i = 0; i < TOKENS && (token = rwkv_sample(&sampler, state)) > 0; i++) {
        const char *bytes = rwkv_token_bytes(model, token, &length);
        length = rwkv_utf8_push(&stream, bytes, length, text, sizeof text - 1);
        if (length < 0) return fail("a token is longer than there is room for");
        text[length] = 0;
        board_write(text);
        if (!eval(token, state, info.n_vocab)) return fail("cannot evaluate");
    }
    board_write("\n");
    report("logits", hash, 16);

    report("weights", info.model_bytes, 10);
    report("state", info.state_bytes, 10);
    report("used", used, 10); /* of the arena */
    report("stack", board_stack_used(), 10);
    report("of", board_stack_bytes(), 10);
    report("instructions", instructions / evaluated, 10);
    report("step", longest_step, 10);
    return 0;
}
