/* test_reference.c: the reference cases, every logit within its tolerance.
 *
 * Needs two folders. RWKV_TEST_MODELS names the first: NAME.rwkv for every case,
 * converted from logits/NAME.pth as float32. The second is RWKV_REFERENCE, or
 * ../shared/reference: logits/manifest.json and logits/NAME.bin, and rwkv.cpp's
 * expected logits. Without them it says so and passes.                       */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

enum { MOST_TOKENS = 2048 };

static char   *manifest;      /* the text of manifest.json, NUL-terminated      */
static char    reference_folder[512];
static const char *missing;   /* why there is nothing to test, or NULL          */
static double  worst;         /* the largest part of a tolerance that was used  */

static char *reference_path(char path[1024], const char *name, const char *suffix)
{
    snprintf(path, 1024, "%s/%s%s", reference_folder, name, suffix);
    return path;
}

/* What is missing, or NULL if all is there.                                  */
static const char *find_folders(void)
{
    const char *folder = getenv("RWKV_REFERENCE"), *models = getenv("RWKV_TEST_MODELS");
    char path[1024];
    void *memory;
    size_t size;
    uint8_t *data;
    if (!folder) folder = "../shared/reference";
    snprintf(reference_folder, sizeof reference_folder, "%s", folder);
    data = read_file(reference_path(path, "logits/manifest", ".json"), &size, &memory);
    if (!data) return "no reference folder (RWKV_REFERENCE, or ../shared/reference)";
    manifest = (char *)test_alloc(size + 1);
    memcpy(manifest, data, size);
    manifest[size] = 0;
    free(memory);
    return models && *models ? NULL : "RWKV_TEST_MODELS names no folder of converted models";
}

/* ---- a case of the manifest --------------------------------------------- */

/* The number after `"key":` at or after `text`; `end` bounds the search.     */
static double number_after(const char *text, const char *end, const char *key, double otherwise)
{
    char quoted[64];
    const char *at;
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    at = strstr(text, quoted);
    if (!at || at >= end) return otherwise;
    return strtod(at + strlen(quoted), NULL);
}

/* The first number of the array's shape.                                     */
static int first_of_shape(const char *text, const char *end)
{
    const char *at = strstr(text, "\"shape\":");
    if (!at || at >= end) return 0;
    return atoi(at + strcspn(at, "[") + 1);
}

typedef struct reference_case {
    char     name[64];
    shape    s;
    int      n_tokens, n_positions;
    double   tolerance;
    uint8_t *data;                  /* NAME.bin                               */
    size_t   size;
    void    *memory;
    size_t   tokens, positions, logits, att_x, ffn_x, a, b, p; /* offsets     */
} reference_case;

static size_t array_offset(const char *text, const char *end, const char *name)
{
    char quoted[64];
    const char *at;
    snprintf(quoted, sizeof quoted, "\"%s\": {", name);
    at = strstr(text, quoted);
    if (!CHECK_MSG(at && at < end, "no array %s in the manifest", name)) return 0;
    return (size_t)number_after(at, end, "offset", 0);
}

/* The case whose description begins at `text`.                               */
static reference_case read_case(const char *text)
{
    const char *end = strstr(text + 1, "\"name\":"), *name = strchr(text + 7, '"') + 1, *at;
    char path[1024], file[80];
    reference_case c;
    memset(&c, 0, sizeof c);
    if (!end) end = text + strlen(text);
    snprintf(c.name, sizeof c.name, "%.*s", (int)strcspn(name, "\""), name);
    c.s.V = (int)number_after(text, end, "V", 0);
    c.s.D = (int)number_after(text, end, "D", 0);
    c.s.A = (int)number_after(text, end, "A", c.s.D);
    c.s.F = (int)number_after(text, end, "ffn", 4 * c.s.D);
    c.s.L = (int)number_after(text, end, "L", 0);
    c.tolerance = number_after(text, end, "tolerance_abs", 0);
    c.tokens = array_offset(text, end, "tokens");
    c.positions = array_offset(text, end, "positions");
    c.logits = array_offset(text, end, "logits_f64");
    c.att_x = array_offset(text, end, "state_att_xx");
    c.ffn_x = array_offset(text, end, "state_ffn_xx");
    c.a = array_offset(text, end, "state_aa");
    c.b = array_offset(text, end, "state_bb");
    c.p = array_offset(text, end, "state_pp");
    at = strstr(text, "\"tokens\": {");
    c.n_tokens = at ? first_of_shape(at, end) : 0;
    at = strstr(text, "\"positions\": {");
    c.n_positions = at ? first_of_shape(at, end) : 0;
    snprintf(file, sizeof file, "logits/%s", c.name);
    c.data = read_file(reference_path(path, file, ".bin"), &c.size, &c.memory);
    CHECK_MSG(c.data != NULL, "no file %s", path);
    CHECK_MSG(c.n_tokens > 0 && c.n_tokens <= MOST_TOKENS && c.tolerance > 0, "%s", c.name);
    return c;
}

static double double_at(const reference_case *c, size_t offset, size_t i)
{
    return get_double(c->data + offset + 8 * i);
}

static int int_at(const reference_case *c, size_t offset, int i)
{
    return (int)get32(c->data + offset + 4 * (size_t)i);
}

/* ---- comparing ---------------------------------------------------------- */

/* Row `row` of logits_f64.                                                   */
static int check_logits(const reference_case *c, const float *logits, int row, const char *how)
{
    size_t V = (size_t)c->s.V, i;
    for (i = 0; i < V; i++) {
        double should = double_at(c, c->logits, (size_t)row * V + i);
        double off = fabs((double)logits[i] - should);
        if (!CHECK_MSG(off <= c->tolerance, "%s: %s: row %d logit %lu is %.9g, expected %.9g",
                       c->name, how, row, (unsigned long)i, (double)logits[i], should)) return 0;
        worst = fmax(worst, off / c->tolerance);
    }
    return 1;
}

static void check_numbers(const reference_case *c, const float *x, size_t offset, int l, int n,
                          double tolerance, const char *what)
{
    int i;
    for (i = 0; i < n; i++) {
        double should = double_at(c, offset, (size_t)l * (size_t)n + (size_t)i);
        CHECK_MSG(fabs((double)x[i] - should) <= tolerance,
                  "%s: layer %d %s[%d] is %.9g, expected %.9g", c->name, l, what, i, (double)x[i],
                  should);
    }
}

/* The recurrence: a / b and p + log(b). Large keys are rounded to float, so p is
 * compared more loosely, and a / b with the weights that follow from it.      */
static void check_state(const reference_case *c, rwkv_state *state)
{
    double tolerance_wkv = 5 * c->tolerance, tolerance_p = 15 * c->tolerance;
    int l, i;
    for (l = 0; l < c->s.L; l++) {
        const float *a = rwkv_state_view(state, RWKV_PART_ATT_A, l, NULL);
        const float *b = rwkv_state_view(state, RWKV_PART_ATT_B, l, NULL);
        const float *p = rwkv_state_view(state, RWKV_PART_ATT_P, l, NULL);
        check_numbers(c, rwkv_state_view(state, RWKV_PART_ATT_X, l, NULL), c->att_x, l, c->s.D,
                      c->tolerance, "att_x");
        check_numbers(c, rwkv_state_view(state, RWKV_PART_FFN_X, l, NULL), c->ffn_x, l, c->s.D,
                      c->tolerance, "ffn_x");
        for (i = 0; i < c->s.A; i++) {
            size_t j = (size_t)l * (size_t)c->s.A + (size_t)i;
            double bb = double_at(c, c->b, j);
            double wkv = double_at(c, c->a, j) / bb, sum = double_at(c, c->p, j) + log(bb);
            CHECK_MSG(fabs((double)a[i] / (double)b[i] - wkv) <= tolerance_wkv,
                      "%s: layer %d a/b[%d] is %.9g, expected %.9g", c->name, l, i,
                      (double)a[i] / (double)b[i], wkv);
            CHECK_MSG(fabs((double)p[i] + log((double)b[i]) - sum) <= tolerance_p,
                      "%s: layer %d p+log(b)[%d] is %.9g, expected %.9g", c->name, l, i,
                      (double)p[i] + log((double)b[i]), sum);
        }
    }
}

/* One isa: token by token, in pieces that end where logits are known, all at once. */
static void check_model(const reference_case *c, rwkv_model *model)
{
    rwkv_state *state = rwkv_state_new(model);
    int *tokens = (int *)test_alloc(sizeof *tokens * (size_t)c->n_tokens);
    float *all = (float *)test_alloc(sizeof *all * (size_t)c->n_tokens * (size_t)c->s.V);
    int t, row, from;
    for (t = 0; t < c->n_tokens; t++) tokens[t] = int_at(c, c->tokens, t);
    for (t = row = 0; t < c->n_tokens; t++) {
        const float *logits = rwkv_eval(tokens[t], state);
        if (!CHECK(logits != NULL)) break;
        if (row < c->n_positions && int_at(c, c->positions, row) == t) {
            if (!check_logits(c, logits, row++, "eval")) break;
        }
    }
    CHECK_INT(row, c->n_positions);
    check_state(c, state);
    rwkv_state_reset(state);
    for (row = 0, from = 0; row < c->n_positions; row++) {
        int to = int_at(c, c->positions, row) + 1;
        const float *logits;
        if (row % 7 != 0 && row + 1 < c->n_positions) continue;
        logits = rwkv_eval_sequence(tokens + from, to - from, state);
        if (!CHECK(logits != NULL) || !check_logits(c, logits, row, "eval_sequence")) break;
        from = to;
    }
    rwkv_state_reset(state);
    CHECK_INT(rwkv_eval_all(tokens, c->n_tokens, state, all), RWKV_OK);
    for (row = 0; row < c->n_positions; row++) {
        t = int_at(c, c->positions, row);
        if (!check_logits(c, all + (size_t)t * (size_t)c->s.V, row, "eval_all")) break;
    }
    check_state(c, state);
    free(all);
    free(tokens);
    rwkv_state_free(state);
}

/* The model of a case, on one isa; NULL if it was not converted.             */
static rwkv_model *load_case(const char *name, const char *isa, rwkv_error *error)
{
    rwkv_options o = options_isa(isa);
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.rwkv", getenv("RWKV_TEST_MODELS"), name);
    return rwkv_load(path, &o, error);
}

static void check_case(const char *text)
{
    reference_case c = read_case(text);
    const char *isa;
    int i;
    worst = 0;
    for (i = 0; c.data && (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_error error;
        rwkv_model *model = load_case(c.name, isa, &error);
        rwkv_info info = rwkv_model_info(model);
        if (!CHECK_MSG(model != NULL, "%s", error.message)) break;
        CHECK(info.n_vocab == c.s.V && info.n_embd == c.s.D && info.n_att == c.s.A &&
              info.n_ffn == c.s.F && info.n_layer == c.s.L);
        check_model(&c, model);
        rwkv_free(model);
    }
    if (test.verbose) printf("%s: used %.0f %% of the tolerance\n", c.name, 100 * worst);
    free(c.memory);
}

static void every_case(void)
{
    const char *text;
    int n = 0;
    if (missing) SKIP(missing);
    for (text = manifest; (text = strstr(text, "\"name\":")) != NULL; text++, n++) check_case(text);
    CHECK_MSG(n >= 8, "%d cases", n);
}

/* ref.h, which the other tests trust, against the same truth. The file's decays are
 * rounded to float, hence the little that differs.                           */
static void check_own_reference(const char *text)
{
    reference_case c = read_case(text);
    char path[1024];
    model_image m;
    ref_model ref;
    ref_state state;
    double gap = 0;
    int t, row = 0, i;
    snprintf(path, sizeof path, "%s/%s.rwkv", getenv("RWKV_TEST_MODELS"), c.name);
    m = image_from_file(path);
    if (c.data && CHECK_MSG(m.data != NULL, "no file %s", path)) {
        ref = ref_from_image(&m);
        state = ref_state_new(&ref);
        for (t = 0; t < c.n_tokens && row < c.n_positions; t++) {
            ref_eval(&ref, int_at(&c, c.tokens, t), &state);
            if (int_at(&c, c.positions, row) != t) continue;
            for (i = 0; i < c.s.V; i++) {
                double should = double_at(&c, c.logits, (size_t)row * (size_t)c.s.V + (size_t)i);
                gap = fmax(gap, fabs(state.logits[i] - should));
            }
            row++;
        }
        CHECK_MSG(gap < 1e-6, "%s: off by %.3g", c.name, gap);
        if (test.verbose) printf("%s: ref.h is off by %.3g\n", c.name, gap);
        ref_state_free(&state);
        ref_model_free(&ref);
        model_image_free(&m);
    }
    free(c.memory);
}

static void own_reference(void)
{
    const char *text;
    if (missing) SKIP(missing);
    for (text = manifest; (text = strstr(text, "\"name\":")) != NULL; text++) {
        check_own_reference(text);
    }
}

/* rwkv.cpp's own expectation for its tiny model: the bytes `"in`.            */
static void rwkv_cpp_expects(void)
{
    static const int tokens[3] = {34, 105, 110};
    char path[1024];
    size_t size = 0;
    void *memory;
    uint8_t *data;
    const char *isa;
    int i, j;
    if (missing) SKIP(missing);
    reference_path(path, "rwkv.cpp/expected-logits-4v0-660K", ".bin");
    data = read_file(path, &size, &memory);
    if (!CHECK_MSG(data && size == 1024, "%s", path)) return;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_error error;
        rwkv_model *model = load_case("tiny4v0", isa, &error);
        rwkv_state *state = rwkv_state_new(model);
        const float *logits = rwkv_eval_sequence(tokens, 3, state);
        if (!CHECK_MSG(logits != NULL, "%s", model ? "no logits" : error.message)) break;
        for (j = 0; j < 256; j++) {
            float should = bits_float(get32(data + 4 * j));
            CHECK_MSG(fabsf(logits[j] - should) <= 1e-5f, "%s logit %d is %.9g, expected %.9g", isa,
                      j, (double)logits[j], (double)should);
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    free(memory);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    missing = find_folders();
    RUN(every_case);
    RUN(own_reference);
    RUN(rwkv_cpp_expects);
    free(manifest);
    return test_end();
}
