/* arena.c: no malloc anywhere. The model file, the model and the state all lie in
 * one static array, as on a machine without a heap; only reading the file and
 * printing use the C library's files.
 *     cc -O2 -DARENA_BYTES=6000000 -o arena examples/arena.c -lm             */
#define RWKV_NO_MALLOC
#define RWKV_NO_STDIO
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#include <stdio.h>

#ifndef ARENA_BYTES
#define ARENA_BYTES 6000000
#endif

static unsigned char arena[ARENA_BYTES];
static size_t        used;

/* The next `size` bytes at a multiple of `align`, a power of two. Nothing is ever
 * given back.                                                                 */
static void *take(size_t size, size_t align, void *user)
{
    size_t gap = (size_t)-(uintptr_t)(arena + used) & (align - 1);
    (void)user;
    if (gap > sizeof arena - used || size > sizeof arena - used - gap) return NULL;
    used += gap + size;
    return arena + used - size;
}

static int fail(const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "arena: %s: %s\n", *what ? what : "\"\"", why);
    return 1;
}

static int too_small(const char *what, size_t needs)
{
    fflush(stdout);
    fprintf(stderr, "arena: %s: needs %lu bytes, %lu of %lu are left (ARENA_BYTES)\n", what,
            (unsigned long)needs, (unsigned long)(sizeof arena - used),
            (unsigned long)sizeof arena);
    return 1;
}

static void report(const char *what, size_t bytes)
{
    fflush(stdout);
    fprintf(stderr, "%10lu bytes  %s\n", (unsigned long)bytes, what);
}

/* Read the file into what is left of the arena. If it does not fit, *size is still
 * how large it is, and what has been read is worthless.                       */
static const char *read_file(const char *path, void **data, size_t *size)
{
    FILE *file = fopen(path, "rb");
    const char *why;
    size_t      n;
    if (!file) return "cannot open it";
    *data = take(0, 64, NULL);
    while ((n = fread(*data, 1, sizeof arena - used, file)) > 0) *size += n;
    why = ferror(file) ? "cannot read it" : NULL;
    fclose(file);
    return why;
}

int main(int argc, char **argv)
{
    static rwkv_options options; /* all zero */
    static const char   prompt[] = "Once upon a time";
    static char  text[4096]; /* 3 * (n + 3) bytes for a token of n, which is at most 1024 */
    const char  *path = argc > 1 ? argv[1] : "examples/story.rwkv", *why;
    int          tokens[sizeof prompt], n, token, length;
    size_t       size = 0, state_bytes, before;
    void        *data = NULL, *memory;
    rwkv_sampler sampler = {.temperature = 0.7f, .top_p = 0.9f, .seed = 1};
    rwkv_utf8    stream = {{0}, 0};
    rwkv_error   error;
    rwkv_model  *model;
    rwkv_state  *state;

    why = read_file(path, &data, &size);
    if (why) return fail(path, why);
    if (!take(size, 1, NULL)) return too_small(path, size);
    report("the model file", size);

    options.chunk = 1; /* one token at a time needs the least scratch */
    options.allocator.alloc = take;
    before = used;
    model = rwkv_load_memory(data, size, &options, &error);
    if (!model) return fail(path, error.message);
    report("the model, which points into the file", used - before);

    if (rwkv_model_info(model).tokenizer == RWKV_TOKENIZER_NONE)
        return fail(path, "no tokenizer in the file");
    state_bytes = rwkv_model_info(model).state_bytes;
    before = used;
    memory = take(state_bytes, 64, NULL);
    state = memory ? rwkv_state_init(model, memory, state_bytes) : NULL;
    if (!state) return too_small("a state", state_bytes);
    report("the state with its scratch and logits", state_bytes);
    before = used;

    n = rwkv_tokenize(model, prompt, sizeof prompt - 1, tokens, (int)sizeof prompt);
    rwkv_eval(0, state);
    if (!rwkv_eval_sequence(tokens, n, state)) return fail(path, "cannot encode the prompt");
    fputs(prompt, stdout);
    for (n = 0; n < 40 && (token = rwkv_sample(&sampler, state)) != 0; n++) {
        const char *bytes = rwkv_token_bytes(model, token, &length);
        length = rwkv_utf8_push(&stream, bytes, length, text, sizeof text);
        fwrite(text, 1, (size_t)length, stdout);
        fflush(stdout);
        rwkv_eval(token, state);
    }
    length = rwkv_utf8_push(&stream, NULL, 0, text, sizeof text);
    printf("%.*s\n", length, text);
    if (fflush(stdout) != 0 || ferror(stdout)) return fail("standard output", "cannot write it");
    report("asked for while writing", used - before);
    report("of the arena in use", used);
    return 0;
}
