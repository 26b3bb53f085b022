/* tell.c: a program that uses the library and does not have it inside. */
#include "rwkv.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    rwkv_error   error;
    rwkv_model  *model = rwkv_load(argc > 1 ? argv[1] : "examples/story.rwkv", NULL, &error);
    rwkv_state  *state = rwkv_state_new(model);
    rwkv_sampler sampler = {0};
    const char  *bytes;
    int          token = 0, size, i;

    if (!state) return fprintf(stderr, "tell: %s\n", model ? "no memory" : error.message), 1;
    for (i = 0; i < 60 && rwkv_eval(token, state); i++) {
        token = rwkv_sample(&sampler, state);
        if (token == 0) break;
        bytes = rwkv_token_bytes(model, token, &size);
        if (!bytes) return fprintf(stderr, "tell: no vocabulary in the model\n"), 1;
        fwrite(bytes, 1, (size_t)size, stdout);
    }
    putchar('\n');
    rwkv_state_free(state);
    rwkv_free(model);
    return fclose(stdout) != 0;
}
