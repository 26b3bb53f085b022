/* perplexity.c: how well a model expects a text.
 *     cc -O2 -o perplexity examples/perplexity.c -lm
 *     ./perplexity examples/story.rwkv book.txt                              */
#define PROGRAM "perplexity"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#ifndef PIECE
#define PIECE 65536 /* bytes of text in memory */
#endif
#define AHEAD (PIECE / 16) /* of these, what follows a cut at least: more than any token has */
#define STEP 84 /* tokens evaluated at once, so that a slow model reports often */
#define REDRAW 0.25 /* seconds from one report to the next, at least */

static const char usage[] =
    "usage: perplexity [options] MODEL [FILE | -]\n"
    "How well MODEL expects the text of FILE or of standard input, which may be of any\n"
    "length: it is read in pieces, the state goes on. Per token: nats (the mean of -ln p)\n"
    "and perplexity (exp of that); per byte: bits, which models with different vocabularies\n"
    "can be compared by. An end of text (token 0) comes before the text and is not counted.\n\n"
    "  --no-bos         nothing comes before the text\n"
    "  --quiet          no progress on standard error (there is none without a terminal)\n"
    "  --threads N      threads to use, if built with OpenMP\n";

typedef struct measure {
    double tokens, bytes, nats; /* so far */
    double size, begin, next;   /* of the whole file, or 0; when it began; next report */
    int    width;               /* of the terminal that sees the progress, or 0 */
} measure;

static void report(measure *m)
{
    double now = seconds(), time = now - m->begin;
    char   text[512];
    int    n = sprintf(text, "%.1f MB, %.3f nats per token, %.0f tokens/s", m->bytes / 1e6,
                       m->nats / m->tokens, m->tokens / time);
    add_left(text + n, m->size, m->bytes, time);
    fprintf(stderr, "\r%-*.*s", m->width - 1, m->width - 1, text);
    m->next = now + REDRAW;
}

static void clear(const measure *m)
{
    if (m->width) fprintf(stderr, "\r%*s\r", m->width - 1, "");
}

/* Score the tokens of a piece of text. */
static void score(measure *m, rwkv_state *state, const int *tokens, int n, double bytes)
{
    float logprobs[STEP];
    int   i, k, rows;
    for (i = 0; i < n; i += rows) {
        rows = n - i < STEP ? n - i : STEP;
        if (rwkv_score(tokens + i, rows, state, logprobs) != RWKV_OK)
            fail(1, "%d tokens could not be evaluated", rows);
        for (k = 0; k < rows; k++) m->nats -= (double)logprobs[k];
        m->tokens += rows;
        m->bytes += bytes * rows / n;
        if (m->nats != m->nats) fail(1, "the logits are no numbers before token %.0f", m->tokens);
        if (m->width && seconds() >= m->next) report(m);
    }
}

/* Can the text be cut at `at`, so that the tokens of both sides are those of the
 * whole? `all` are those of the whole.                                        */
static int cuts(const rwkv_model *model, const char *text, size_t size, size_t at, const int *all,
                int n)
{
    int  n_left, n_right, equal;
    int *left = tokens_of(model, "", text, at, &n_left);
    int *right = tokens_of(model, "", text + at, size - at, &n_right);
    equal = n_left + n_right == n && !memcmp(left, all, (size_t)n_left * sizeof *all) &&
            !memcmp(right, all + n_left, (size_t)n_right * sizeof *all);
    free(left);
    free(right);
    return equal;
}

/* Where to cut a piece: as late as leaves AHEAD bytes, if its tokens are then the
 * same as without the cut. Where none of many places does, as in a megabyte of
 * one letter, the last of them has to do.                                     */
static size_t cut(const rwkv_model *model, const char *text, size_t size)
{
    size_t at, last = 0;
    int    n, tries = 200, *all = tokens_of(model, "", text, size, &n);
    for (at = size - AHEAD; at > 0 && tries > 0; at--) {
        if (((unsigned char)text[at] & 0xC0) == 0x80) continue; /* inside a character */
        if (!last) last = at;
        tries--;
        if (cuts(model, text, size, at, all, n)) { last = at; break; }
    }
    free(all);
    return last ? last : size - AHEAD;
}

int main(int argc, char **argv)
{
    static char  text[PIECE];
    const char  *words[2] = {NULL, "-"};
    int          help = 0, quiet = 0, bos = 1, n, *tokens;
    size_t       have = 0, used;
    rwkv_options load = {0, 0, STEP, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    measure      m = {0, 0, 0, 0, 0, 0, 0};
    rwkv_model  *model;
    rwkv_state  *state;
    FILE        *file;
    const option options[] = {{"--no-bos", '0', &bos, 0, 0}, {"--quiet", '1', &quiet, 0, 0},
                              {"--threads", 'i', &load.n_threads, 1, 256}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return fputs(usage, stdout), all_said();
    model = open_model(words[0], &load);
    state = new_state(model);
    file = open_text(&words[1]);
    if (!file) return 1;
    m.size = bytes_left(file);
    m.width = quiet ? 0 : writer_to(stderr).width;
    m.begin = seconds();
    begin_text(model, state, bos);

    do {
        if (!feof(file)) have += fread(text + have, 1, sizeof text - have, file);
        if (ferror(file)) fail(1, "%s: %s", words[1], strerror(errno));
        if (rwkv_tokenize(model, text, have, NULL, 0) < 0) {
            clear(&m);
            check_text(model, words[1], m.bytes, text, have); /* says why */
        }
        used = have == sizeof text ? cut(model, text, have) : have;
        tokens = tokens_of(model, words[1], text, used, &n);
        score(&m, state, tokens, n, (double)used);
        free(tokens);
        memmove(text, text + used, have -= used);
    } while (have > 0 || !feof(file));
    clear(&m);
    if (m.tokens < 1) fail(1, "%s: no text in it", words[1]);
    printf("tokens          %.0f\nbytes           %.0f\nnats per token  %.5f\n"
           "perplexity      %.4f\nbits per byte   %.5f\n", m.tokens, m.bytes, m.nats / m.tokens,
           exp(m.nats / m.tokens), m.nats / log(2) / m.bytes);
    if (file != stdin) fclose(file);
    rwkv_state_free(state);
    rwkv_free(model);
    return all_said();
}
