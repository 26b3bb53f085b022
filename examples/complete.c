/* complete.c: continue a text.
 *     cc -O2 -o complete examples/complete.c -lm
 *     ./complete examples/story.rwkv "The old wizard opened the door"         */
#define PROGRAM "complete"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

static const char usage[] =
    "usage: complete [options] MODEL [PROMPT | -]\n"
    "Continue PROMPT, or with - what stands on standard input, without one newline at\n"
    "its end. Without either, write a text from its beginning. The text goes to standard\n"
    "output, the rest to standard error.\n\n"
    "  --length N       write at most N tokens (%d)\n" SAMPLER_USAGE("the clock")
    "  --no-bos         do not put the model's end of text (token 0) before the prompt\n"
    "  --no-stop        go on after an end of text\n"
    "  --no-echo        do not repeat the prompt on standard output\n"
    "  --quiet          nothing on standard error unless it is an error\n"
#ifdef _OPENMP
    "  --threads N      threads to use (as many as OpenMP has)\n"
#else
    "  --threads N      no effect without OpenMP; build with cc -O2 -fopenmp\n"
#endif
    "  --isa NAME       kernels to use: ";

typedef struct settings {
    rwkv_options model;
    rwkv_sampler sampler;
    int          length, bos, stop, echo, quiet;
} settings;

static void print_usage(const settings *s)
{
    int i;
    printf(usage, s->length, SAMPLER_DEFAULTS(s->sampler));
    for (i = 0; rwkv_isa_available(i); i++) printf("%s%s", i ? ", " : "", rwkv_isa_available(i));
    printf(" (the last)\n");
}

static void describe(const rwkv_model *model, const char *path, int n_threads)
{
    static const char *const types[] = {"?", "f32", "f16", "bf16", "q8", "q4"};
    rwkv_info info = rwkv_model_info(model);
#ifndef _OPENMP
    if (n_threads > 1)
        warn("--threads %d: no effect without OpenMP; build with cc -O2 -fopenmp", n_threads);
    n_threads = 0;
#endif
    fprintf(stderr, "model:  %s, RWKV-%d, %d layers x %d, vocabulary %d, %s, %.1f MB\n", path,
            info.version, info.n_layer, info.n_embd, info.n_vocab,
            types[info.type > RWKV_TYPE_Q4 ? 0 : info.type], (double)info.model_bytes / 1e6);
    fprintf(stderr, "with:   %s kernels, ", info.isa);
    if (n_threads) fprintf(stderr, "%d thread%s, ", n_threads, n_threads > 1 ? "s" : "");
    fprintf(stderr, "%.0f kB for a state (%.0f kB saved)\n", (double)info.state_bytes / 1e3,
            (double)info.save_bytes / 1e3);
}

/* Read the prompt, after the end of the text before it. */
static int read_prompt(const settings *s, const char *text, size_t size, rwkv_state *state,
                       const rwkv_model *model)
{
    int  n, bos = s->bos && end_of_text(model) == 0;
    int *tokens = tokens_of(model, text, size, &n);
    if (n + bos == 0) fail(2, "nothing to continue: the prompt is empty and no token comes before");
    if (bos) rwkv_eval(0, state);
    rwkv_eval_sequence(tokens, n, state);
    free(tokens);
    return n + bos;
}

/* Write up to s->length tokens; returns how many. */
static int write_text(settings *s, writer *out, rwkv_state *state, const rwkv_model *model)
{
    int n, end = end_of_text(model);
    for (n = 0; n < s->length; n++) {
        int token = rwkv_sample(&s->sampler, state);
        if (token == end && s->stop) break;
        if (token == end) writer_put(out, "\n\n", 2);
        if (!writer_token(out, model, token)) break;
        rwkv_eval(token, state);
    }
    return n;
}

int main(int argc, char **argv)
{
    settings s = {.sampler = {.temperature = 0.7f, .top_p = 0.9f, .decay = 0.996f}, .length = 256,
                  .bos = 1, .stop = 1, .echo = 1};
    int help = 0, n_read, n_written;
    const char *words[2] = {NULL, ""};
    const option options[] = {
        SAMPLER_OPTIONS(s.sampler), {"--length", 'i', &s.length, 0, INT_MAX},
        {"--no-bos", '0', &s.bos, 0, 0}, {"--no-stop", '0', &s.stop, 0, 0},
        {"--no-echo", '0', &s.echo, 0, 0}, {"--quiet", '1', &s.quiet, 0, 0},
        {"--threads", 'i', &s.model.n_threads, 1, 256}, {"--isa", 's', &s.model.isa, 0, 0},
        HELP_OPTIONS(help)};
    rwkv_model *model;
    rwkv_state *state;
    writer out;
    char *piped = NULL;
    size_t size;
    double begin, middle, end;

    s.sampler.seed = (uint64_t)time(NULL);
    parse_options(argc, argv, options, words, 2);
    if (help) { print_usage(&s); return 0; }
    model = open_model(words[0], &s.model);
    state = new_state(model);
    if (!s.quiet) describe(model, words[0], s.model.n_threads);
    size = strlen(words[1]);
    if (strcmp(words[1], "-") == 0) words[1] = piped = read_prompt_file("-", &size);
    s.sampler.counts = (float *)grab((size_t)rwkv_model_info(model).n_vocab, sizeof(float));
    if (!s.quiet) fprintf(stderr, "seed:   %llu\n\n", (unsigned long long)s.sampler.seed);

    out = writer_to(stdout);
    writer_style(&out, "1");
    if (s.echo) writer_put(&out, words[1], size);
    writer_style(&out, "0");
    writer_flush(&out);
    begin = seconds();
    n_read = read_prompt(&s, words[1], size, state, model);
    middle = seconds();
    n_written = write_text(&s, &out, state, model);
    end = seconds();
    if (!writer_end(&out)) writer_quit(&out);
    if (!s.quiet)
        fprintf(stderr, "\nread %d tokens in %.3f s (%.0f/s), wrote %d in %.3f s (%.0f/s)\n",
                n_read, middle - begin, rate(n_read, middle - begin), n_written, end - middle,
                rate(n_written, end - middle));
    free(piped);
    free(s.sampler.counts);
    rwkv_state_free(state);
    rwkv_free(model);
    return 0;
}
