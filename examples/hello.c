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
    int          tokens[48], n = rwkv_tokenize(model, "Once upon a time", 16, tokens, 48);
    int          size, token; /* 0: the end of a text, and what comes before one */
    const float *logits = rwkv_eval(0, state) ? rwkv_eval_sequence(tokens, n, state) : NULL;

    if (logits) printf("Once upon a time");
    else fprintf(stderr, "hello: %s\n", !model ? error.message : !state ? "no memory for a state"
                                        : "the file has no vocabulary that can encode text");
    for (n = 0; logits && n < 200 && (token = rwkv_sample(&sampler, state)) != 0; n++) {
        const char *bytes = rwkv_token_bytes(model, token, &size);
        fwrite(bytes, 1, (size_t)size, stdout);
        fflush(stdout);
        logits = rwkv_eval(token, state);
    }
    if (logits) puts("");
    rwkv_state_free(state);
    rwkv_free(model);
    return logits ? 0 : 1;
}
