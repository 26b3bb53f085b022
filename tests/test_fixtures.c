/* test_fixtures.c: the models of tests/fixtures against the logits that
 * make_fixtures.py computed in double precision. Run from the repository root. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

/* The whole file tests/fixtures/NAME.KIND; to be freed.                       */
static uint8_t *fixture(const char *name, const char *kind, size_t *size)
{
    static const char *folders[] = {"tests/fixtures", "fixtures"};
    char path[128];
    uint8_t *data = NULL;
    void *memory = NULL;
    int i;
    *size = 0;
    for (i = 0; i < 2 && !data; i++) {
        snprintf(path, sizeof path, "%s/%s.%s", folders[i], name, kind);
        data = read_file(path, size, &memory);
    }
    if (data) {
        uint8_t *copy = (uint8_t *)test_alloc(*size);
        memcpy(copy, data, *size);
        free(memory);
        return copy;
    }
    CHECK_MSG(data != NULL, "no file %s", path);
    return NULL;
}

static double check_row(const float *logits, const uint8_t *expected, int V, double tolerance,
                        const char *what, int t)
{
    double gap = 0;
    int i;
    for (i = 0; i < V; i++) {
        double should = get_double(expected + 8 * ((size_t)t * (size_t)V + (size_t)i));
        double off = fabs((double)logits[i] - should);
        CHECK_MSG(off <= tolerance, "%s: token %d logit %d is %.9g, expected %.9g", what, t, i,
                  (double)logits[i], should);
        gap = off > gap ? off : gap;
    }
    return gap;
}

static void check_fixture(const char *name, double tolerance)
{
    size_t size, bytes, logits_bytes;
    uint8_t *data = fixture(name, "rwkv", &size), *list = fixture(name, "tokens", &bytes);
    uint8_t *expected = fixture(name, "logits", &logits_bytes);
    const char *isa;
    double gap = 0;
    int i, t, n = (int)(bytes / 4), tokens[64];
    for (t = 0; list && t < n && t < 64; t++) tokens[t] = (int)get32(list + 4 * t);
    for (i = 0; data && list && expected && (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_error error;
        rwkv_model *model = rwkv_load_memory(data, size, &o, &error);
        rwkv_state *state = rwkv_state_new(model);
        int V = rwkv_model_info(model).n_vocab;
        float *all;
        if (!CHECK_MSG(model != NULL, "%s: %s", name, error.message)) break;
        if (!CHECK_INT(logits_bytes, 8 * (size_t)n * (size_t)V)) break;
        CHECK_INT(rwkv_verify(model, NULL), RWKV_OK);
        for (t = 0; t < n; t++) {
            const float *logits = rwkv_eval(tokens[t], state);
            if (!CHECK(logits != NULL)) break;
            gap = fmax(gap, check_row(logits, expected, V, tolerance, isa, t));
        }
        all = (float *)test_alloc(sizeof *all * (size_t)n * (size_t)V);
        rwkv_state_reset(state);
        CHECK_INT(rwkv_eval_all(tokens, n, state, all), RWKV_OK);
        for (t = 0; t < n; t++) check_row(all + t * V, expected, V, tolerance, isa, t);
        free(all);
        rwkv_state_free(state);
        rwkv_free(model);
    }
    if (test.verbose) printf("%s: farthest %.3g\n", name, gap);
    free(data);
    free(list);
    free(expected);
}

/* ref.h, which the other tests trust, against make_fixtures.py: two programs that
 * share nothing but the file.                                                */
static void own_reference(void)
{
    static const char *names[] = {"f32", "f16-bytes", "bf16-odd", "f32-wide-keys", "q8", "q4"};
    int k, t, i;
    for (k = 0; k < 6; k++) {
        size_t size, bytes, logits_bytes;
        uint8_t *list = fixture(names[k], "tokens", &bytes);
        uint8_t *expected = fixture(names[k], "logits", &logits_bytes);
        uint8_t *data = fixture(names[k], "rwkv", &size);
        model_image m;
        ref_model ref;
        ref_state state;
        double gap = 0;
        if (!data || !list || !expected) return;
        m = image_of(data, size);
        ref = ref_from_image(&m);
        state = ref_state_new(&ref);
        for (t = 0; t < (int)(bytes / 4); t++) {
            ref_eval(&ref, (int)get32(list + 4 * t), &state);
            for (i = 0; i < m.s.V; i++) {
                gap = fmax(gap, fabs(state.logits[i] - get_double(expected + 8 * (t * m.s.V + i))));
            }
        }
        CHECK_MSG(gap < 1e-10, "%s: off by %.3g", names[k], gap);
        ref_state_free(&state);
        ref_model_free(&ref);
        free(data);
        free(list);
        free(expected);
    }
}

static void f32(void) { check_fixture("f32", 2e-5); }
static void f16_with_bytes(void) { check_fixture("f16-bytes", 2e-5); }
static void bf16_of_odd_widths(void) { check_fixture("bf16-odd", 2e-5); }

/* Codes, whose inputs are rounded; the models are such that none is nearly a tie. */
static void q8(void) { check_fixture("q8", 2e-5); }
static void q4_of_mixed_bits(void) { check_fixture("q4", 2e-5); }

/* Keys of standard deviation 40, at which float rounds exp(k) to 2^-18.      */
static void f32_with_wide_keys(void) { check_fixture("f32-wide-keys", 5e-5); }

/* The bytes tokenizer in a file that another program wrote.                  */
static void bytes_of_a_fixture(void)
{
    static const char text[] = "any\0text\xFF";
    size_t size;
    uint8_t *data = fixture("f16-bytes", "rwkv", &size);
    rwkv_model *model = rwkv_load_memory(data, size, NULL, NULL);
    int tokens[16], i, n = (int)sizeof text - 1;
    CHECK_INT(rwkv_tokenize(model, text, (size_t)n, tokens, 16), n);
    for (i = 0; i < n; i++) CHECK_INT(tokens[i], (unsigned char)text[i]);
    rwkv_free(model);
    free(data);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(own_reference);
    RUN(f32);
    RUN(f16_with_bytes);
    RUN(bf16_of_odd_widths);
    RUN(f32_with_wide_keys);
    RUN(q8);
    RUN(q4_of_mixed_bits);
    RUN(bytes_of_a_fixture);
    return test_end();
}
