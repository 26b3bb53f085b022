/* batch.c: continue many texts at once. The weights are read once for all of
 * them, and each gets the same bits as if it were alone; this checks it.
 *     cc -O2 -o batch examples/batch.c -lm && ./batch examples/story.rwkv    */
#define PROGRAM "batch"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#define GROUP 64 /* stories written side by side; each needs a state */
static const char usage[] =
    "usage: batch [options] MODEL [FILE | -]\n"
    "Continue every line of FILE, of standard input, or of a list of its own; empty lines\n"
    "are left out, and so is, with exit status 1, what cannot be read.\n\n"
    "  --length N       write at most N tokens after each (%d)\n"
    "  --temperature X  0: always the most probable token; higher: bolder (%g)\n"
    "  --seed N         of the first text; each next one has one more (1)\n";

static const char own_list[] =
    "Once upon a time\nThe little dog\nA princess lived\nOne day, a bird\nThe old king\n"
    "Lily and Tom\nThere was a fox\nIn the dark forest";

typedef struct story {
    lines        from;   /* where the prompt stands */
    const char  *prompt;
    size_t       size;   /* of the prompt */
    rwkv_state  *state;
    rwkv_sampler sampler;
    uint64_t     seed; /* that the sampler begins with */
    int         *tokens, n, most, end, over;
} story;

/* Give a story a state that has read its prompt, and the rest. 0: it cannot be read. */
static int begin_story(story *s, const rwkv_model *model)
{
    int n, *tokens = try_tokens(model, s->from.name, s->from.number, s->prompt, s->size, &n);
    if (!tokens) return 0;
    s->state = new_state(model);
    s->sampler.seed = s->seed;
    s->tokens = (int *)grab((size_t)s->most, sizeof *s->tokens);
    s->end = end_of_text(model);
    s->n = s->over = 0;
    begin_text(model, s->state, 1);
    rwkv_eval_sequence(tokens, n, s->state);
    free(tokens);
    return 1;
}

static void end_story(story *s) { rwkv_state_free(s->state); free(s->tokens); }

/* Choose the next token of a story. 0: the story is over. */
static int choose(story *s)
{
    int token = s->over || s->n == s->most ? s->end : rwkv_sample(&s->sampler, s->state);
    s->over = s->n == s->most || token == s->end;
    if (!s->over) s->tokens[s->n++] = token;
    return !s->over;
}

/* Up to GROUP stories side by side; those that are over leave. Returns tokens written. */
static int write_together(story *stories, int n)
{
    int         rows, i, written = 0, tokens[GROUP];
    rwkv_state *states[GROUP];
    do {
        for (rows = i = 0; i < n; i++) {
            if (!choose(&stories[i])) continue;
            tokens[rows] = stories[i].tokens[stories[i].n - 1];
            states[rows++] = stories[i].state;
        }
        if (rows > 0 && rwkv_eval_batch(tokens, states, rows) != RWKV_OK)
            fail(1, "a batch of %d states failed", rows);
        written += rows;
    } while (rows > 0);
    return written;
}

static void print(const story *s, const rwkv_model *model, writer *out)
{
    int i;
    writer_style(out, "1");
    writer_put(out, s->prompt, s->size);
    writer_style(out, "0");
    for (i = 0; i < s->n; i++) writer_token(out, model, s->tokens[i]);
    if (!writer_end(out)) writer_quit(out);
    fputc('\n', out->file);
}

/* Write a story again, by itself. 1: it is equal to the bit. */
static int same_alone(const story *s, const rwkv_model *model, double *time)
{
    size_t V = (size_t)rwkv_model_info(model).n_vocab * sizeof(float);
    story  alone = *s;
    int    equal;
    begin_story(&alone, model);
    *time -= seconds();
    while (choose(&alone)) rwkv_eval(alone.tokens[alone.n - 1], alone.state);
    *time += seconds();
    equal = alone.n == s->n && memcmp(alone.tokens, s->tokens, (size_t)s->n * sizeof(int)) == 0 &&
            memcmp(rwkv_logits(alone.state), rwkv_logits(s->state), V) == 0;
    end_story(&alone);
    return equal;
}

int main(int argc, char **argv)
{
    story        group[GROUP], like = {.sampler = {.temperature = 0.7f, .top_p = 0.9f},
                                       .seed = 1, .most = 80};
    const char   *words[2] = {NULL, NULL};
    char         *file = NULL;
    size_t        size = sizeof own_list - 1;
    int           help = 0, n = 0, rows, i, all = 0, written = 0, equal = 0;
    double        together = 0, alone = 0;
    rwkv_model   *model;
    rwkv_options  load = {0, 0, GROUP, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    writer        out = writer_to(stdout);
    const option  options[] = {
        {"--length", 'i', &like.most, 0, 1000000}, {"--seed", 'u', &like.seed, 0, 0},
        {"--temperature", 'f', &like.sampler.temperature, 0, 100}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return printf(usage, like.most, (double)like.sampler.temperature), all_said();
    model = open_model(words[0], &load);
    if (words[1]) file = read_file(words[1], &size);
    like.from = lines_of(file ? words[1] : "its own list", file ? file : own_list, size);
    do {
        for (rows = 0; rows < GROUP; all++, like.seed++) {
            if ((like.prompt = next_line(&like.from, &like.size)) == NULL) break;
            group[rows] = like;
            rows += begin_story(&group[rows], model);
        }
        together -= seconds();
        written += write_together(group, rows);
        together += seconds();
        for (n += rows, i = 0; i < rows; i++) {
            print(&group[i], model, &out);
            equal += same_alone(&group[i], model, &alone);
            end_story(&group[i]);
        }
    } while (like.prompt);
    if (all == 0) fail(1, "%s: no prompts", like.from.name);
    writer_close(&out);
    if (n) fprintf(stderr, "%d tokens in %d texts: together %.0f/s, one by one %.0f/s; %s\n",
                   written, n, rate(written, together), rate(written, alone),
                   equal == n ? "equal to the bit" : "NOT EQUAL");
    free(file);
    rwkv_free(model);
    return equal == all ? 0 : 1;
}
