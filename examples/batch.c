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
    "Continue every line of FILE, of standard input, or of a list of its own.\n\n"
    "  --length N       write at most N tokens after each (%d)\n"
    "  --temperature X  0: always the most probable token; higher: bolder (%g)\n"
    "  --seed N         of the first text; each next one has one more (1)\n";

static const char own_list[] =
    "Once upon a time\nThe little dog\nA princess lived\nOne day, a bird\nThe old king\n"
    "Lily and Tom\nThere was a fox\nIn the dark forest";

typedef struct story {
    const char  *prompt;
    size_t       size; /* of the prompt */
    rwkv_state  *state;
    rwkv_sampler sampler;
    int         *tokens, n, most, end, over;
} story;

/* A story for every line that is not empty; *n is how many. */
static story *split(const char *text, size_t size, int *n)
{
    size_t i, begin = 0, lines = 1;
    story *stories;
    for (i = 0; i < size; i++) lines += text[i] == '\n';
    stories = (story *)grab(lines, sizeof *stories);
    for (i = 0; i <= size; i++) {
        if (i < size && text[i] != '\n') continue;
        stories[*n].prompt = text + begin;
        stories[*n].size = i - begin;
        *n += i > begin;
        begin = i + 1;
    }
    return stories;
}

/* Give a story a state that has read its prompt, and all else it needs. */
static void begin_story(story *s, const rwkv_model *model, rwkv_sampler sampler, int i, int most)
{
    int n, *tokens = tokens_of(model, s->prompt, s->size, &n);
    s->state = new_state(model);
    s->sampler = sampler;
    s->sampler.seed += (uint64_t)i;
    s->tokens = (int *)grab((size_t)most, sizeof *s->tokens);
    s->most = most;
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

/* All stories side by side; those that are over leave. Returns tokens written. */
static int write_together(story *stories, int n)
{
    int          rows, i, written = 0, *tokens = (int *)grab((size_t)n, sizeof *tokens);
    rwkv_state **states = (rwkv_state **)grab((size_t)n, sizeof *states);
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
    free(states);
    free(tokens);
    return written;
}

static void print(const story *s, const rwkv_model *model, writer *out)
{
    int i;
    writer_style(out, "1");
    writer_put(out, s->prompt, s->size);
    writer_style(out, "0");
    for (i = 0; i < s->n; i++) writer_token(out, model, s->tokens[i]);
    if (!writer_end(out)) fail(1, "standard output: %s", strerror(errno));
    fputc('\n', out->file);
}

int main(int argc, char **argv)
{
    rwkv_sampler sampler = {0.7f, 0.9f, 0, 0, 0, 0, NULL, 1};
    const char  *words[2] = {NULL, NULL};
    char        *file = NULL;
    size_t       size = sizeof own_list - 1, V;
    int          most = 80, help = 0, n = 0, i, written, equal = 0;
    double       begin, together, alone = 0;
    rwkv_model  *model;
    story       *stories, one;
    writer       out = writer_to(stdout);
    const option options[] = {
        {"--length", 'i', &most, 0, 1000000}, {"--temperature", 'f', &sampler.temperature, 0, 100},
        {"--seed", 'u', &sampler.seed, 0, 0}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return printf(usage, most, (double)sampler.temperature), 0;
    model = open_model(words[0], NULL);
    V = (size_t)rwkv_model_info(model).n_vocab * sizeof(float);
    if (words[1]) file = read_file(words[1], &size);
    stories = split(file ? file : own_list, size, &n);
    for (i = 0; i < n; i++) begin_story(&stories[i], model, sampler, i, most);
    begin = seconds();
    written = write_together(stories, n);
    together = seconds() - begin;

    for (i = 0; i < n; i++) {
        print(&stories[i], model, &out);
        one = stories[i];
        begin_story(&one, model, sampler, i, most);
        begin = seconds();
        while (choose(&one)) rwkv_eval(one.tokens[one.n - 1], one.state);
        alone += seconds() - begin;
        equal += one.n == stories[i].n &&
                 memcmp(one.tokens, stories[i].tokens, (size_t)one.n * sizeof(int)) == 0 &&
                 memcmp(rwkv_logits(one.state), rwkv_logits(stories[i].state), V) == 0;
        end_story(&one);
        end_story(&stories[i]);
    }
    fprintf(stderr, "%d tokens in %d texts: together %.0f/s, one by one %.0f/s; %s\n", written, n,
            rate(written, together), rate(written, alone),
            equal == n ? "equal to the bit" : "NOT EQUAL");
    free(file);
    free(stories);
    rwkv_free(model);
    return equal == n ? 0 : 1;
}
