/* classify.c: which of several labels goes on best after a prompt. The prompt is
 * read once; each label is scored from a copy of that state.
 *     cc -O2 -o classify examples/classify.c -lm
 *     ./classify examples/story.rwkv --labels " time, dog" "Once upon a"       */
#define PROGRAM "classify"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

static const char usage[] =
    "usage: classify [options] MODEL --labels A,B,... [PROMPT | -]\n"
    "How probable each label is after PROMPT, after what stands on standard input (without\n"
    "one newline at its end), or at the beginning of a text, if it must be one of them; the\n"
    "most probable first. A label is taken as it stands, so it begins with a space if it is\n"
    "a word of its own: \" yes, no\".\n\n"
    "  --labels LIST    the labels, with commas between them\n"
    "  --per-token      divide a label's score by its length, so that long ones get a chance\n"
    "  --no-bos         do not put the model's end of text (token 0) before the prompt\n";

typedef struct label {
    char  *text;
    int    n_tokens;
    double score, p; /* score: ln of the probability, or its mean per token */
} label;

/* Cut the list at its commas. */
static label *parse_labels(char *names, int *n)
{
    char  *comma;
    label *labels;
    for (*n = 1, comma = names; (comma = strchr(comma, ',')) != NULL; comma++) ++*n;
    labels = (label *)grab((size_t)*n, sizeof *labels);
    for (*n = 0, comma = names; comma; names = comma + 1) {
        comma = strchr(names, ',');
        if (comma) *comma = '\0';
        labels[(*n)++].text = names;
        if (!*names) fail(2, "--labels: number %d is empty", *n);
    }
    if (*n < 2) fail(2, "--labels: expected at least 2, found %d: \"%s\"", *n, labels[0].text);
    return labels;
}

static void score(label *l, const rwkv_model *model, const rwkv_state *prefix, rwkv_state *state,
                  int per_token)
{
    int    i, *tokens = tokens_of(model, "--labels", l->text, strlen(l->text), &l->n_tokens);
    float *logprobs = (float *)grab((size_t)l->n_tokens, sizeof *logprobs);
    rwkv_state_copy(state, prefix);
    if (rwkv_score(tokens, l->n_tokens, state, logprobs) != RWKV_OK)
        fail(1, "\"%s\": %d tokens could not be evaluated", l->text, l->n_tokens);
    for (i = 0; i < l->n_tokens; i++) l->score += (double)logprobs[i];
    if (per_token) l->score /= l->n_tokens;
    if (l->score != l->score) fail(1, "\"%s\": the logits are no numbers", l->text);
    free(logprobs);
    free(tokens);
}

/* The better one first; of equals the one that was given first. */
static int by_score(const void *a, const void *b)
{
    const label *x = (const label *)a, *y = (const label *)b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return x->text < y->text ? -1 : 1;
}

int main(int argc, char **argv)
{
    const char  *words[2] = {NULL, ""}, *names = NULL;
    char        *piped = NULL, *copy;
    int          help = 0, bos = 1, per_token = 0, i, n, *tokens, n_tokens;
    size_t       size;
    double       sum = 0;
    label       *labels;
    rwkv_model  *model;
    rwkv_state  *prefix, *state;
    writer       out = table_to(stdout);
    const option options[] = {{"--labels", 's', &names, 0, 0}, {"--no-bos", '0', &bos, 0, 0},
                              {"--per-token", '1', &per_token, 0, 0}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return fputs(usage, stdout), all_said();
    if (!names) fail(2, "expected --labels A,B,... (try --help)");
    copy = strcpy((char *)grab(strlen(names) + 1, 1), names);
    labels = parse_labels(copy, &n);
    model = open_model(words[0], NULL);
    prefix = new_state(model);
    state = new_state(model);
    size = strlen(words[1]);
    if (strcmp(words[1], "-") == 0) words[1] = piped = read_prompt_file("-", &size);
    tokens = prompt_tokens(model, words[1], size, bos, &n_tokens);
    rwkv_eval_sequence(tokens, n_tokens, prefix);

    for (i = 0; i < n; i++) score(&labels[i], model, prefix, state, per_token);
    qsort(labels, (size_t)n, sizeof *labels, by_score);
    if (labels[0].score == -HUGE_VAL) fail(1, "no label is possible: ln p of each is -inf");
    for (i = 0; i < n; i++) sum += labels[i].p = exp(labels[i].score - labels[0].score);
    for (i = 0; i < n; i++) {
        printf("%7.5f  ln p%s %9.5f  ", labels[i].p / sum, per_token ? " per token" : "",
               labels[i].score);
        writer_put(&out, "\"", 1);
        writer_put(&out, labels[i].text, strlen(labels[i].text));
        writer_put(&out, "\"", 1);
        if (!writer_end(&out)) writer_quit(&out);
    }
    free(tokens);
    free(piped);
    free(labels);
    free(copy);
    rwkv_state_free(prefix);
    rwkv_state_free(state);
    rwkv_free(model);
    return 0;
}
