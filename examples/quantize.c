/* quantize.c: make an 8 or 4-bit model file of a 32 or 16-bit one.
 *     cc -O2 -o quantize examples/quantize.c -lm
 *     ./quantize --type q4 examples/story.rwkv story-q4.rwkv                  */
#define PROGRAM "quantize"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

static const char usage[] =
    "usage: quantize [options] IN.rwkv OUT.rwkv\n"
    "Write the model IN, of 32 or 16 bits, as OUT with 8 or 4 bits per weight. A table tells\n"
    "for each kind of matrix the bits of its weights, alone and with their scales, and how\n"
    "far its products are off (root of mean square, to that of the products; q8: if its\n"
    "inputs were random): the mean over the layers, and the worst. OUT is replaced when\n"
    "the new file, OUT.part, is complete; Ctrl-C may leave OUT.part behind.\n\n"
    "  --type q8|q4     q8: nearly exact; q4: smaller, 4 to 6 bits, at most 5 in all (q8)\n"
    "  --threads N      threads to use, if built with OpenMP\n";

/* The eight matrices of a layer and the head. */
typedef struct kind {
    const char *name, *size; /* size: rows and columns, by the names they have in rwkv.h */
    int         n, bits;     /* n: how many of them, up to now */
    double      bits_per_weight, error, worst; /* error: their sum */
    int         worst_layer; /* -1: it is in none */
} kind;

typedef struct progress {
    kind kinds[8];
    int  width; /* of the terminal that sees it, or 0 */
} progress;

static void show(int width, const char *text)
{
    if (width) fprintf(stderr, "\r%-*.*s", width - 1, width - 1, text);
}

/* One more matrix is done. */
static void report(const rwkv_quantized *q, void *user)
{
    progress *p = (progress *)user;
    kind     *k = p->kinds;
    char      text[128], where[32] = "";
    if (q->layer >= 0) sprintf(where, "layer %d ", q->layer);
    sprintf(text, "%d of %d matrices: %s%.40s, %d bits", q->done, q->total, where, q->name,
            q->bits);
    show(p->width, text);
    while (k < p->kinds + 8 && strncmp(q->name, k->name, strlen(k->name)) != 0) k++;
    if (k == p->kinds + 8) return;
    if (k->n++ == 0 || (double)q->output_error > k->worst) {
        k->worst = (double)q->output_error;
        k->worst_layer = q->layer;
    }
    k->error += (double)q->output_error;
    k->bits = q->bits;
    k->bits_per_weight = q->bits_per_weight;
}

static double dimension(const rwkv_info *info, char name)
{
    switch (name) {
    case 'V': return info->n_vocab;
    case 'A': return info->n_att;
    case 'F': return info->n_ffn;
    default:  return info->n_embd;
    }
}

static double weights_of(const rwkv_info *info, const kind *k)
{
    return k->n * dimension(info, k->size[0]) * dimension(info, k->size[1]);
}

/* Returns the bits per weight of all matrices. */
static double print_table(const rwkv_info *info, const kind *kinds)
{
    double weights = 0, bits = 0;
    int    i;
    for (i = 0; i < 8; i++) weights += weights_of(info, &kinds[i]);
    printf("%-14s  bits  per weight  of weights  mean error  worst error\n", "matrix");
    for (i = 0; i < 8; i++) {
        const kind  *k = &kinds[i];
        const double share = weights_of(info, k) / weights;
        bits += share * k->bits_per_weight;
        printf("%-14s  %4d  %10.3f  %8.1f %%  %8.2f %%  %9.2f %%", k->name, k->bits,
               k->bits_per_weight, 100 * share, 100 * k->error / k->n, 100 * k->worst);
        if (k->worst_layer >= 0) printf("  layer %d", k->worst_layer);
        putchar('\n');
    }
    return bits;
}

/* The library's messages name the files that they are about, but for what is wrong
 * inside of IN.                                                               */
static void fail_with(const rwkv_error *error, const char *in, const char *out)
{
    int named = !strncmp(error->message, in, strlen(in)) ||
                !strncmp(error->message, out, strlen(out));
    fail(1, "%s%s%s", named ? "" : in, named ? "" : ": ", error->message);
}

int main(int argc, char **argv)
{
    static progress p = {{{"att.receptance", "AD", 0, 0, 0, 0, 0, 0},
                          {"att.key", "AD", 0, 0, 0, 0, 0, 0},
                          {"att.value", "AD", 0, 0, 0, 0, 0, 0},
                          {"att.output", "DA", 0, 0, 0, 0, 0, 0},
                          {"ffn.receptance", "DD", 0, 0, 0, 0, 0, 0},
                          {"ffn.key", "FD", 0, 0, 0, 0, 0, 0},
                          {"ffn.value", "DF", 0, 0, 0, 0, 0, 0},
                          {"head", "VD", 0, 0, 0, 0, 0, 0}}, 0};
    const char  *words[2] = {NULL, NULL}, *type = "q8";
    int          help = 0, q4, done;
    rwkv_options settings = {0, 0, 0, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    rwkv_error   error;
    rwkv_model  *model;
    rwkv_info    info;
    double       before, bits;
    const option options[] = {{"--type", 's', &type, 0, 0},
                              {"--threads", 'i', &settings.n_threads, 1, 256}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return fputs(usage, stdout), all_said();
    q4 = strcmp(type, "q4") == 0;
    if (!q4 && strcmp(type, "q8") != 0)
        fail(2, "--type: expected q8 or q4, found \"%s\"", type);
    if (!words[0] || !words[1] || !*words[0] || !*words[1])
        fail(2, "expected a model file and the name of the one to write (try --help)");

    model = rwkv_load(words[0], NULL, &error); /* for its sizes, before OUT may replace it */
    if (!model) fail_with(&error, words[0], words[1]);
    info = rwkv_model_info(model);
    before = (double)info.model_bytes;
    rwkv_free(model);
    p.width = writer_to(stderr).width;
    show(p.width, q4 ? "the model writes a text to measure with" : "reading");
    done = rwkv_quantize_with(words[0], words[1], q4 ? RWKV_TYPE_Q4 : RWKV_TYPE_Q8, &settings,
                              report, &p, &error) == RWKV_OK;
    if (p.width) fprintf(stderr, "\r%*s\r", p.width - 1, "");
    if (!done) fail_with(&error, words[0], words[1]);

    bits = print_table(&info, p.kinds);
    model = rwkv_load(words[1], NULL, &error);
    if (!model) fail_with(&error, words[0], words[1]);
    printf("%.0f bytes before, %.0f after; %.3f bits per weight of a matrix\n", before,
           (double)rwkv_model_info(model).model_bytes, bits);
    rwkv_free(model);
    return all_said();
}
