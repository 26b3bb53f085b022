/* encode.c: the tokenizer as a filter, for other implementations to compare with.
 *
 *     encode MODEL [--text]
 *
 * Reads records from standard input: u32 length, bytes. Writes for each: i32 count, i32 tokens; or
 * with --text: i32 length, the bytes of the tokens. Instead of a count that is an error: -result.
 * All numbers are little-endian.                                                                */
#define RWKV_NO_SIMD /* no wide kernels are needed here, and they take long to compile */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

static void put_i32(int value)
{
    const uint32_t bits = (uint32_t)value;
    int            i;
    for (i = 0; i < 32; i += 8)
        putchar((int)(bits >> i & 255));
}

/* 1, or 0 at the end of the input.                                           */
static int get_u32(uint32_t *value)
{
    unsigned char bytes[4];
    if (fread(bytes, 1, 4, stdin) != 4)
        return 0;
    *value = (uint32_t)bytes[3] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[1] << 8 | bytes[0];
    return 1;
}

static void put_text(const rwkv_model *model, const int *tokens, int n)
{
    int i, length, total = 0;
    for (i = 0; i < n; i++) {
        rwkv_token_bytes(model, tokens[i], &length);
        total += length;
    }
    put_i32(total);
    for (i = 0; i < n; i++) {
        const char *bytes = rwkv_token_bytes(model, tokens[i], &length);
        if (length)
            fwrite(bytes, 1, (size_t)length, stdout);
    }
}

/* NULL on success, or what went wrong.                                       */
static const char *answer(const rwkv_model *model, const char *text, size_t length, int as_text)
{
    const int n = rwkv_tokenize(model, text, length, NULL, 0);
    int      *tokens, i, again;
    if (n < 0) {
        put_i32(n);
        return NULL;
    }
    tokens = malloc(((size_t)n + 1) * sizeof *tokens);
    if (!tokens)
        return "no memory for the tokens";
    tokens[n] = -1;
    again = rwkv_tokenize(model, text, length, tokens, n);
    if (again == n && tokens[n] == -1 && as_text)
        put_text(model, tokens, n);
    else if (again == n && tokens[n] == -1)
        for (put_i32(n), i = 0; i < n; i++)
            put_i32(tokens[i]);
    i = tokens[n];
    free(tokens);
    return again == n && i == -1 ? NULL : "the count is not what is written";
}

int main(int argc, char **argv)
{
    rwkv_error  error;
    rwkv_model *model = argc > 1 ? rwkv_load(argv[1], NULL, &error) : NULL;
    const int   as_text = argc > 2 && !strcmp(argv[2], "--text");
    const char *wrong = NULL;
    uint32_t    length;
    if (argc < 2 || argc > 3 || (argc == 3 && !as_text)) {
        fprintf(stderr, "usage: encode MODEL [--text] < RECORDS\n");
        return 2;
    }
    if (!model) {
        fprintf(stderr, "encode: %s\n", error.message);
        return 1;
    }
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    while (!wrong && get_u32(&length)) {
        char *text = malloc((size_t)length + 1);
        if (!text)
            wrong = "no memory for the text";
        else if (fread(text, 1, length, stdin) != length)
            wrong = "the input ends within a record";
        else
            wrong = answer(model, text, length, as_text);
        free(text);
    }
    rwkv_free(model);
    if (!wrong && (fflush(stdout) || ferror(stdout)))
        wrong = "the output cannot be written";
    if (wrong)
        fprintf(stderr, "encode: %s\n", wrong);
    return wrong ? 1 : 0;
}
