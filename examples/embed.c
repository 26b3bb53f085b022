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
static void embed(line *l, const rwkv_model *model, rwkv_state *state, int bos)
{
    int D = rwkv_model_info(model).n_embd;
    rwkv_state_reset(state);
    if (bos) begin_text(model, state);
    read_text(model, state, l->text, l->size);
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

static void print_cosines(const line *lines, int n, int i, int D, writer *out)
{
    int k;
    for (k = 0; k < n; k++) {
        double scale = lines[i].length * lines[k].length;
        printf("%6.3f ", scale > 0 ? dot(lines[i].vector, lines[k].vector, D) / scale : 0);
    }
    putchar(' ');
    writer_put(out, lines[i].text, lines[i].size);
    writer_end(out);
}

int main(int argc, char **argv)
{
    const char  *words[2] = {NULL, "-"}, *start;
    int          help = 0, vectors = 0, bos = 1, D, i, n = 0;
    size_t       size, at, length;
    char        *text;
    line        *lines;
    rwkv_model  *model;
    rwkv_state  *state;
    writer       out = writer_to(stdout);
    const option options[] = {{"--vectors", '1', &vectors, 0, 0}, {"--no-bos", '0', &bos, 0, 0},
                              HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return fputs(usage, stdout), 0;
    model = open_model(words[0], NULL);
    state = new_state(model);
    D = rwkv_model_info(model).n_embd;
    text = read_file(words[1], &size);
    for (at = 0; next_line(text, size, &at, &length);) n++;
    if (n == 0) fail(1, "%s: no lines", strcmp(words[1], "-") ? words[1] : "standard input");
    lines = (line *)grab((size_t)n, sizeof *lines);
    for (n = 0, at = 0; (start = next_line(text, size, &at, &length)) != NULL; n++) {
        lines[n].text = start;
        lines[n].size = length;
        embed(&lines[n], model, state, bos);
    }
    for (i = 0; i < n && writer_flush(&out); i++) {
        if (vectors) print_vector(&lines[i], D);
        else print_cosines(lines, n, i, D, &out);
    }
    if (!writer_flush(&out)) writer_quit(&out);
    for (i = 0; i < n; i++) free(lines[i].vector);
    free(lines);
    free(text);
    rwkv_state_free(state);
    rwkv_free(model);
    return 0;
}
