/* quality.c: what the 8 and 4-bit types cost, beside other ways to round.
 *
 *     quality FOLDER MODEL.rwkv TEXT [MODEL.rwkv TEXT]...
 *
 * Each model, of 32 or 16 bits, is the truth of a table. It is rounded in several
 * ways, and all of them read the file TEXT, or if that is "-" the 20,000 tokens
 * that the model writes itself. Q8 and Q4 are files that rwkv_quantize makes in
 * FOLDER, and run as they do, with inputs of 8 bits. What ggml has is computed in
 * floats with its weights: exact inputs, and the embedding of the truth. bf16 is a
 * bf16 file. The exit status is 1 if a target is missed.                     */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"
#include "quality.h"

enum { TRUTH, BF16, Q8, Q4, GGML, CANDIDATES = GGML + GGML_TYPES, OWN_TOKENS = 20000, MOST = 16 };

static const double q8_change = 0.05, q4_bits = 5.0; /* the targets: %, bits per weight */

typedef struct result {
    const char *path;
    const char *truth;
    double      change;        /* of Q8, in %                                  */
    double      bits, kl, kl_q5_1; /* of Q4                                    */
} result;

static void fail(const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "quality: %s: %s\n", what, why);
    exit(1);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A text of `size` bytes as tokens, of which there is room for size + 1: token 0
 * before it, and in place of NUL bytes, which are between one text and the next.
 * Returns how many, or a negative number if it has none.                     */
static int tokenize(const rwkv_model *model, const char *text, size_t size, int *tokens)
{
    const char *end = text + size;
    int n = 0;
    for (;;) {
        const char *stop = (const char *)memchr(text, 0, (size_t)(end - text));
        size_t length = (size_t)((stop ? stop : end) - text);
        int more = rwkv_tokenize(model, text, length, tokens + n + 1, (int)length);
        if (more < 0) return more;
        tokens[n] = 0;
        n += more + 1;
        if (!stop) return n;
        text = stop + 1;
    }
}

/* What is to be read, and how many bytes it has as text.                     */
static int *read_text(const candidate *truth, const char *path, int *n, double *bytes)
{
    size_t size = 0;
    void *memory = NULL;
    int *tokens, i, length;
    if (strcmp(path, "-") == 0) {
        *n = OWN_TOKENS + 1;
        tokens = (int *)test_alloc((size_t)*n * sizeof *tokens);
        own_text(truth, 1, tokens, *n);
        for (*bytes = 0, i = 1; i < *n; i++) {
            rwkv_token_bytes(truth->model, tokens[i], &length);
            *bytes += length;
        }
    } else {
        const char *text = (const char *)read_file(path, &size, &memory);
        if (!text || size == 0 || size > 1u << 30) fail(path, "cannot be read, or is empty");
        tokens = (int *)test_alloc((size + 1) * sizeof *tokens);
        *n = tokenize(truth->model, text, size, tokens);
        if (*n < 2) fail(path, "the model has no tokens for it");
        *bytes = (double)size;
        free(memory);
    }
    return tokens;
}

static candidate quantized(const char *folder, const char *path, rwkv_type type)
{
    char to[1024];
    const char *name = base_name(path);
    candidate c;
    snprintf(to, sizeof to, "%s/%.*s-%s.rwkv", folder, (int)strcspn(name, "."), name,
             type == RWKV_TYPE_Q8 ? "q8" : "q4");
    c = candidate_quantized(path, to, type);
    if (!c.model) fail(path, "could not be quantized");
    return c;
}

static void print_table(const candidate *c, double bits_per_nat)
{
    int i;
    printf("             bits per weight  bits per byte     change         KL     top-1\n");
    for (i = 0; i < CANDIDATES; i++) {
        printf("%-13s %14.3f  %13.5f", c[i].name, c[i].bits, c[i].nats * bits_per_nat);
        if (i == TRUTH) printf("  (the truth)\n");
        else printf("  %+7.3f %%  %9.7f  %6.2f %%\n", 100 * (c[i].nats / c[0].nats - 1), c[i].kl,
                    100 * c[i].agree);
    }
    printf("\n");
    fflush(stdout);
}

static result measure(const char *folder, const char *path, const char *text)
{
    static const char *const types[] = {"?", "f32", "f16", "bf16"};
    candidate c[CANDIDATES];
    result r;
    double bytes;
    int i, n, *tokens;
    model_image image = image_from_file(path);
    if (!image.data || image.s.type > RWKV_TYPE_BF16) fail(path, "no model of 32 or 16 bits");
    c[TRUTH] = candidate_image(types[image.s.type], image);
    if (!c[TRUTH].model) fail(path, "cannot be used");
    tokens = read_text(&c[TRUTH], text, &n, &bytes);
    printf("%s, reading ", path);
    if (strcmp(text, "-") == 0) printf("what it writes itself");
    else printf("%s", base_name(text));
    printf(": %d tokens, %.0f bytes\n", n - 1, bytes);
    fflush(stdout);
    c[BF16] = candidate_image("bf16", image_as(&image, RWKV_TYPE_BF16, NULL));
    c[Q8] = quantized(folder, path, RWKV_TYPE_Q8);
    c[Q4] = quantized(folder, path, RWKV_TYPE_Q4);
    for (i = 0; i < GGML_TYPES; i++) c[GGML + i] = candidate_rounded(&image, &ggml_types[i]);
    compare(c, CANDIDATES, tokens, n);
    print_table(c, (n - 1) / bytes / log(2));

    r.path = path;
    r.truth = c[TRUTH].name;
    r.change = 100 * (c[Q8].nats / c[TRUTH].nats - 1);
    r.bits = c[Q4].bits;
    r.kl = c[Q4].kl;
    r.kl_q5_1 = c[GGML + GGML_Q5_1].kl;
    free(tokens);
    candidates_free(c, CANDIDATES);
    return r;
}

static int met(int holds, int *all)
{
    printf(": %s\n", holds ? "met" : "MISSED");
    *all &= holds;
    return holds;
}

int main(int argc, char **argv)
{
    result r[MOST];
    int i, n = (argc - 2) / 2, all = 1;
    if (argc < 4 || argc % 2 || n > MOST) {
        fprintf(stderr, "usage: quality FOLDER MODEL.rwkv TEXT|- [MODEL.rwkv TEXT|-]...\n");
        return 2;
    }
    for (i = 0; i < n; i++) r[i] = measure(argv[1], argv[2 * i + 2], argv[2 * i + 3]);
    printf("target: Q8 within %.2f %% of the truth in bits per byte\n", q8_change);
    for (i = 0; i < n; i++) {
        printf("    %s: %+.4f %% of %s", r[i].path, r[i].change, r[i].truth);
        met(fabs(r[i].change) <= q8_change, &all);
    }
    printf("target: Q4 at most %.1f bits per weight, and closer to the truth (KL) than ggml Q5_1\n",
           q4_bits);
    for (i = 0; i < n; i++) {
        printf("    %s: %.3f bits, KL to %s %.5f, Q5_1 %.5f", r[i].path, r[i].bits, r[i].truth,
               r[i].kl, r[i].kl_q5_1);
        met(r[i].bits <= q4_bits && r[i].kl < r[i].kl_q5_1, &all);
    }
    return all ? 0 : 1;
}
