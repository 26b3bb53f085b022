/* batch.c: continue many texts at once. The weights are read once for all of
 * them, and each gets the same bits as if it were alone; this checks it.
 *     cc -O2 -o batch examples/batch.c -lm && ./batch examples/story.rwkv    */
#define PROGRAM "batch"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

static const char usage[] =
    "usage: batch [options] MODEL [FILE | -]\n"
    "Continue every line of FILE, of standard input, or of a list of its own; empty lines\n"
    "are left out.\n\n"
    "  --length N       write at most N tokens after each (%d)\n"
    "  --temperature X  0: always the most probable token; higher: bolder (%g)\n"
    "  --seed N         of the first text; each next one has one more (1)\n";

static const char own_list[] =
    "Once upon a time\nThe little dog\nA princess lived\nOne day, a bird\nThe old king\n"
    "Lily and Tom\nThere was a fox\nIn the dark forest";

#define GROUP 64 /* stories written side by side; each needs a state */

typedef struct story {
    const char  *prompt;
    size_t       size; /* of the prompt */
    rwkv_state  *state;
    rwkv_sampler sampler;
    uint64_t     seed; /* that the sampler begins with */
    int         *tokens, n, most, end, over;
} story;

/* Give a story a state that has read its prompt, and all else it needs. */
static void begin_story(story *s, const rwkv_model *model)
{
    int n, *tokens = tokens_of(model, s->prompt, s->size, &n);
    s->state = new_state(model);
    s->sampler.seed = s->seed;
    s->tokens = (int *)grab((size_t)s->most, sizeof *s->tokens);
    s->end = end_of_text(model);
    s->n = s->over = 0;
    if (s->end == 0) rwkv_eval(0, s->state);
    rwkv_eval_sequence(tokens, n, s->state);
    free(tokens);
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
    double begin;
    int    equal;
    begin_story(&alone, model);
    begin = seconds();
    while (choose(&alone)) rwkv_eval(alone.tokens[alone.n - 1], alone.state);
    *time += seconds() - begin;
    equal = alone.n == s->n && memcmp(alone.tokens, s->tokens, (size_t)s->n * sizeof(int)) == 0 &&
            memcmp(rwkv_logits(alone.state), rwkv_logits(s->state), V) == 0;
    end_story(&alone);
    return equal;
}

int main(int argc, char **argv)
{
    story        group[GROUP], like = {.sampler = {.temperature = 0.7f, .top_p = 0.9f},
                                       .seed = 1, .most = 80};
    const char   *words[2] = {NULL, NULL}, *text = own_list;
    char         *file = NULL;
    size_t        size = sizeof own_list - 1, at = 0;
    int           help = 0, n = 0, rows, i, written = 0, equal = 0;
    double        begin, together = 0, alone = 0;
    rwkv_model   *model;
    rwkv_options  load = {0, 0, GROUP, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    writer        out = writer_to(stdout);
    const option  options[] = {
        {"--length", 'i', &like.most, 0, 1000000}, {"--seed", 'u', &like.seed, 0, 0},
        {"--temperature", 'f', &like.sampler.temperature, 0, 100}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return printf(usage, like.most, (double)like.sampler.temperature), 0;
    model = open_model(words[0], &load);
    if (words[1]) text = file = read_file(words[1], &size);
    do {
        for (rows = 0; rows < GROUP; rows++, like.seed++) {
            like.prompt = next_line(text, size, &at, &like.size);
            if (!like.prompt) break;
            group[rows] = like;
            begin_story(&group[rows], model);
        }
        begin = seconds();
        written += write_together(group, rows);
        together += seconds() - begin;
        for (n += rows, i = 0; i < rows; i++) {
            print(&group[i], model, &out);
            equal += same_alone(&group[i], model, &alone);
            end_story(&group[i]);
        }
    } while (rows == GROUP);
    if (n == 0) fail(1, "%s: no prompts", strcmp(words[1], "-") ? words[1] : "standard input");
    fflush(stdout);
    fprintf(stderr, "%d tokens in %d texts: together %.0f/s, one by one %.0f/s; %s\n", written, n,
            rate(written, together), rate(written, alone),
            equal == n ? "equal to the bit" : "NOT EQUAL");
    free(file);
    rwkv_free(model);
    return equal == n ? 0 : 1;
}
