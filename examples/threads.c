/* threads.c: one text with 1, 2, 3... threads, which a pool of this program's own
 * lends to the library. The bits are the same; this checks it. Needs POSIX threads.
 *     cc -O2 -pthread -o threads examples/threads.c -lm
 *     ./threads examples/story.rwkv                                           */
#define PROGRAM "threads"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#if defined(__unix__) || defined(__APPLE__)
#include "pool.h"

static const char usage[] =
    "usage: threads [options] MODEL [PROMPT]\n"
    "Continue PROMPT with 1 thread, 2, and so on up to N. To standard error go the speeds: of\n"
    "writing the text token by token, and of reading it again at once. What is too little to\n"
    "be worth a second thread is done by one: small models do not write faster.\n\n"
    "  --threads N      the most threads (one for each processor, up to 16)\n"
    "  --length N       write at most N tokens (%d)\n"
    "  --seed N         the same seed writes the same text (1)\n";

typedef struct text {
    const char *prompt;
    int         n_prompt, n, *tokens; /* of the prompt, and with what follows      */
    float      *logits;               /* after the last                            */
    double      writing, reading;     /* seconds                                   */
} text;

/* Go on with the prompt, token by token; then read all of it again, at once. Returns
 * whether the logits are the same.                                            */
static int write_text(text *t, const rwkv_model *model, rwkv_state *state, int length,
                      uint64_t seed)
{
    rwkv_sampler sampler = {.temperature = 0.7f, .top_p = 0.9f, .seed = seed};
    int         *prompt = prompt_tokens(model, t->prompt, strlen(t->prompt), 1, &t->n_prompt);
    int          i, token, end = end_of_text(model);
    size_t       V = (size_t)rwkv_model_info(model).n_vocab * sizeof(float);
    t->tokens = (int *)grab((size_t)t->n_prompt + (size_t)length, sizeof(int));
    t->logits = (float *)grab(1, V);
    t->n = t->n_prompt;
    memcpy(t->tokens, prompt, (size_t)t->n * sizeof(int));
    free(prompt);
    rwkv_eval_sequence(t->tokens, t->n, state);
    t->writing = -seconds();
    for (i = 0; i < length && (token = rwkv_sample(&sampler, state)) != end; i++) {
        t->tokens[t->n++] = token;
        rwkv_eval(token, state);
    }
    t->writing += seconds();
    memcpy(t->logits, rwkv_logits(state), V);
    rwkv_state_reset(state);
    t->reading = -seconds();
    rwkv_eval_sequence(t->tokens, t->n, state);
    t->reading += seconds();
    return memcmp(t->logits, rwkv_logits(state), V) == 0;
}

static void print_text(const text *t, const rwkv_model *model)
{
    writer out = writer_to(stdout);
    int    i;
    writer_style(&out, "1");
    writer_put(&out, t->prompt, strlen(t->prompt));
    writer_style(&out, "0");
    for (i = t->n_prompt; i < t->n; i++)
        if (!writer_token(&out, model, t->tokens[i])) writer_quit(&out);
    if (!writer_end(&out)) writer_quit(&out);
}

int main(int argc, char **argv)
{
    const char  *words[2] = {NULL, "Once upon a time"};
    int          help = 0, length = 200, most = 4, n, equal = 1;
    uint64_t     seed = 1;
    text         one = {NULL, 0, 0, NULL, NULL, 0, 0};
    const option options[] = {{"--threads", 'i', &most, 1, 256}, {"--seed", 'u', &seed, 0, 0},
                              {"--length", 'i', &length, 0, 1000000}, HELP_OPTIONS(help)};
#ifdef _SC_NPROCESSORS_ONLN
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    most = processors < 1 ? 1 : processors > 16 ? 16 : (int)processors;
#endif
    parse_options(argc, argv, options, words, 2);
    if (help) return printf(usage, length), all_said();
    for (n = 1; n <= most; n++) {
        pool        *threads = pool_new(n);
        rwkv_options load = {.n_threads = n, .parallel = {pool_run, threads}};
        rwkv_model  *model = open_model(words[0], &load);
        rwkv_state  *state = new_state(model);
        text         t = {words[1], 0, 0, NULL, NULL, 0, 0};
        if (!threads) fail(1, "no memory for %d threads", n);
        if (threads->n + 1 < n) warn("%d threads: the system gives %d", n, threads->n + 1);
        equal &= write_text(&t, model, state, length, seed);
        if (n == 1) {
            one = t;
            print_text(&one, model);
            fprintf(stderr, "\nthreads  writing  reading  tokens/s\n");
        }
        fprintf(stderr, "%7d %8.0f %8.0f\n", n, rate(t.n - t.n_prompt, t.writing),
                rate(t.n, t.reading));
        equal &= t.n == one.n && !memcmp(t.tokens, one.tokens, (size_t)t.n * sizeof(int)) &&
                 !memcmp(t.logits, one.logits,
                         (size_t)rwkv_model_info(model).n_vocab * sizeof(float));
        if (n > 1) { free(t.tokens); free(t.logits); }
        rwkv_state_free(state);
        rwkv_free(model);
        pool_free(threads);
    }
    fprintf(stderr, "1 to %d threads: %s\n", most,
            equal ? "the same logits, to the bit" : "NOT THE SAME LOGITS");
    free(one.tokens);
    free(one.logits);
    return equal ? 0 : 1;
}
#else
int main(void) { fail(1, "needs POSIX threads, which this system does not have"); }
#endif
