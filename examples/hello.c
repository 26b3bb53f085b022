/* hello.c: load a model, give it four words, and let it go on.               */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    rwkv_error   error;
    rwkv_model  *model = rwkv_load(argc > 1 ? argv[1] : "examples/story.rwkv", NULL, &error);
    rwkv_state  *state = rwkv_state_new(model);
    rwkv_sampler sampler = {.temperature = 0.7f, .top_p = 0.9f, .seed = 3};
    rwkv_utf8    stream = {{0}, 0}; /* makes whole characters of the bytes of tokens */
    char         text[4096] = "Once upon a time"; /* a token has at most 1024 bytes */
    int          tokens[48], size, token, n = rwkv_tokenize(model, text, 16, tokens, 48);

    if (!rwkv_eval(0, state) || !rwkv_eval_sequence(tokens, n, state)) /* 0 begins a text */
        return fprintf(stderr, "hello: %s\n", model ? "no vocabulary or memory" : error.message), 1;
    printf("%s", text);
    for (n = 0; n < 200 && (token = rwkv_sample(&sampler, state)) != 0; n++) { /* and ends it */
        const char *bytes = rwkv_token_bytes(model, token, &size);
        fwrite(text, 1, (size_t)rwkv_utf8_push(&stream, bytes, size, text, sizeof text), stdout);
        fflush(stdout);
        rwkv_eval(token, state);
    }
    printf("%.*s\n", rwkv_utf8_push(&stream, NULL, 0, text, sizeof text), text);
    rwkv_state_free(state);
    rwkv_free(model);
    return fclose(stdout) != 0;
}
