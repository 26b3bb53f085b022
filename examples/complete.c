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
    "output, the rest to standard error. Ctrl-C ends the text, with exit status 130.\n\n"
    "  --length N       write at most N tokens (%d)\n"
    "  --stop TEXT      end before TEXT; may be given several times, like the next two\n"
    "  --ban TOKEN      never write this token, which is its number or its text\n"
    "  --bias TOKEN=X   add X to its logit: how much likelier it is, as a logarithm\n"
    SAMPLER_USAGE("the clock")
    "  --no-bos         do not put the model's end of text (token 0) before the prompt\n"
    "  --no-stop        go on after an end of text\n"
    "  --no-echo        do not repeat the prompt on standard output\n"
    "  --quiet          nothing on standard error unless it is an error\n"
#ifdef _OPENMP
    "  --threads N      threads to use (as many as there are cores)\n"
#else
    "  --threads N      no effect without OpenMP; build with cc -O2 -fopenmp\n"
#endif
    "  --isa NAME       kernels to use: ";

typedef struct settings {
    rwkv_options model;
    rwkv_sampler sampler;
    list         ban, bias;
    stops        stop;
    int          length, bos, end, echo, quiet;
} settings;

static void print_usage(const settings *s)
{
    int i;
    printf(usage, s->length, SAMPLER_DEFAULTS(s->sampler));
    for (i = 0; rwkv_isa_available(i); i++) printf("%s%s", i ? ", " : "", rwkv_isa_available(i));
    printf(" (the last)\n");
}

static void describe(const settings *s, const rwkv_model *model, const char *path)
{
    static const char *const types[] = {"?", "f32", "f16", "bf16", "q8", "q4"};
    rwkv_info info = rwkv_model_info(model);
    int       n_threads = s->model.n_threads;
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
    fprintf(stderr, "seed:   %llu\n\n", (unsigned long long)s->sampler.seed);
}

/* Write up to s->length tokens; returns how many. */
static int write_text(settings *s, writer *out, rwkv_state *state, const rwkv_model *model)
{
    int n, end = end_of_text(model);
    for (n = 0; n < s->length && !s->stop.found && !interrupted; n++) {
        int         size, token = rwkv_sample(&s->sampler, state);
        const char *bytes = rwkv_token_bytes(model, token, &size);
        if (token < 0) fail(2, "--ban: no token of the vocabulary is left");
        if (token == end && s->end) break;
        if (token == end) stops_put(&s->stop, out, "\n\n", 2);
        else stops_put(&s->stop, out, bytes, size);
        if (!writer_flush(out)) break;
        rwkv_eval(token, state);
    }
    stops_end(&s->stop, out);
    return n;
}

int main(int argc, char **argv)
{
    settings s = {{0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL}},
                  {0.7f, 0.9f, 0, 0, 0, 0.996f, NULL, 0, 0, NULL, 0}, {{NULL}, 0}, {{NULL}, 0},
                  {{{NULL}, 0}, "", 0, 0}, 256, 1, 1, 1, 0};
    int help = 0, n_read, n_written, *tokens;
    const char *words[2] = {NULL, ""};
    const option options[] = {
        SAMPLER_OPTIONS(s.sampler), {"--length", 'i', &s.length, 0, INT_MAX},
        {"--stop", 'l', &s.stop.strings, 0, 0}, {"--ban", 'l', &s.ban, 0, 0},
        {"--bias", 'l', &s.bias, 0, 0}, {"--no-bos", '0', &s.bos, 0, 0},
        {"--no-stop", '0', &s.end, 0, 0}, {"--no-echo", '0', &s.echo, 0, 0},
        {"--quiet", '1', &s.quiet, 0, 0}, {"--threads", 'i', &s.model.n_threads, 1, 256},
        {"--isa", 's', &s.model.isa, 0, 0}, HELP_OPTIONS(help)};
    rwkv_bias   biases[2 * MAX_LIST];
    rwkv_model *model;
    rwkv_state *state;
    writer out;
    char *piped = NULL;
    size_t size;
    double begin, middle, end;

    s.sampler.seed = (uint64_t)time(NULL);
    parse_options(argc, argv, options, words, 2);
    if (help) return print_usage(&s), all_said();
    model = open_model(words[0], &s.model);
    state = new_state(model);
    s.sampler.bias = biases;
    s.sampler.n_bias = read_biases(model, &s.ban, &s.bias, biases);
    s.sampler.counts = (float *)grab((size_t)rwkv_model_info(model).n_vocab, sizeof(float));
    if (!s.quiet) describe(&s, model, words[0]);
    size = strlen(words[1]);
    if (strcmp(words[1], "-") == 0) words[1] = piped = read_prompt_file("-", &size);
    tokens = prompt_tokens(model, words[1], size, s.bos, &n_read);

    out = writer_to(stdout);
    writer_style(&out, "1");
    if (s.echo) writer_put(&out, words[1], size);
    writer_style(&out, "0");
    writer_flush(&out);
    begin = seconds();
    rwkv_eval_sequence(tokens, n_read, state);
    middle = seconds();
    catch_interrupt();
    n_written = write_text(&s, &out, state, model);
    end = seconds();
    if (!writer_end(&out)) writer_quit(&out);
    if (!s.quiet)
        fprintf(stderr, "\nread %d tokens in %.3f s (%.0f/s), wrote %d in %.3f s (%.0f/s)\n",
                n_read, middle - begin, rate(n_read, middle - begin), n_written, end - middle,
                rate(n_written, end - middle));
    free(tokens);
    free(piped);
    free(s.sampler.counts);
    rwkv_state_free(state);
    rwkv_free(model);
    return interrupted ? 128 + SIGINT : 0;
}
