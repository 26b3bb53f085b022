/* embed.c: the vector that a model makes of each line of a text, and how alike
 * these vectors are.
 *     cc -O2 -o embed examples/embed.c -lm
 *     printf 'a cat\na dog\n' | ./embed examples/story.rwkv -                */
#define PROGRAM "embed"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

static const char usage[] =
    "usage: embed [options] MODEL [FILE | -]\n"
    "The hidden vector after the last token of each line of FILE or of standard input: what\n"
    "the model knows of how the line goes on. A row for each line: the cosines of its angles\n"
    "to all lines (1: the same direction), and the line. Empty lines are left out.\n\n"
    "  --vectors        print the vectors themselves, one in a row, and no text\n"
    "  --no-bos         do not put the model's end of text (token 0) before a line\n";

typedef struct line {
    const char *text;
    size_t      size;
    float      *vector;
    double      length;
} line;

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    int    i;
    for (i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Read a line into the state and keep the vector. */
static void embed(line *l, const rwkv_model *model, rwkv_state *state, int bos, const lines *from)
{
    int  D = rwkv_model_info(model).n_embd, n;
    int *tokens = try_tokens(model, from->name, from->number, l->text, l->size, &n);
    if (!tokens) exit(1);
    begin_text(model, state, bos);
    rwkv_eval_sequence(tokens, n, state);
    free(tokens);
    l->vector = (float *)grab((size_t)D, sizeof *l->vector);
    memcpy(l->vector, rwkv_hidden(state), (size_t)D * sizeof *l->vector);
    l->length = sqrt(dot(l->vector, l->vector, D));
}

static void print_vector(const line *l, int D)
{
    int i;
    for (i = 0; i < D; i++) printf("%s%.9g", i ? " " : "", (double)l->vector[i]);
    putchar('\n');
}

static void print_cosines(const line *row, int n, int i, int D, writer *out)
{
    int k;
    for (k = 0; k < n; k++) {
        double scale = row[i].length * row[k].length;
        printf("%6.3f ", scale > 0 ? dot(row[i].vector, row[k].vector, D) / scale : 0);
    }
    putchar(' ');
    writer_put(out, row[i].text, row[i].size);
    writer_end(out);
}

int main(int argc, char **argv)
{
    const char  *words[2] = {NULL, "-"};
    int          help = 0, vectors = 0, bos = 1, D, i, n = 0;
    size_t       size;
    char        *text;
    lines        all, left;
    line        *row;
    rwkv_model  *model;
    rwkv_state  *state;
    writer       out = table_to(stdout);
    const option options[] = {{"--vectors", '1', &vectors, 0, 0}, {"--no-bos", '0', &bos, 0, 0},
                              HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return fputs(usage, stdout), all_said();
    model = open_model(words[0], NULL);
    state = new_state(model);
    D = rwkv_model_info(model).n_embd;
    text = read_file(words[1], &size);
    all = lines_of(words[1], text, size);
    for (left = all; next_line(&left, &size);) n++;
    if (n == 0) fail(1, "%s: no lines", all.name);
    row = (line *)grab((size_t)n, sizeof *row);
    for (i = 0; i < n; i++) {
        row[i].text = next_line(&all, &row[i].size);
        embed(&row[i], model, state, bos, &all);
    }
    for (i = 0; i < n && writer_flush(&out); i++) {
        if (vectors) print_vector(&row[i], D);
        else print_cosines(row, n, i, D, &out);
    }
    writer_close(&out);
    for (i = 0; i < n; i++) free(row[i].vector);
    free(row);
    free(text);
    rwkv_state_free(state);
    rwkv_free(model);
    return 0;
}
