/* test_dispatch.c: the list of instruction sets, and choosing one. */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape small = {37, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};

static int isa_count(void)
{
    int n = 0;
    while (n < 100 && rwkv_isa_available(n)) n++;
    return n;
}

static void list(void)
{
    int n = isa_count(), i, j;
    CHECK(n >= 1 && n < 100);
    CHECK_STR(rwkv_isa_available(0), "scalar");
    for (i = 0; i < n; i++) {
        CHECK(strlen(rwkv_isa_available(i)) > 0);
        CHECK(rwkv_isa_available(i) == rwkv_isa_available(i));
        for (j = 0; j < i; j++) {
            CHECK_MSG(strcmp(rwkv_isa_available(i), rwkv_isa_available(j)) != 0, "%d and %d", i, j);
        }
    }
    CHECK(rwkv_isa_available(n) == NULL);
    CHECK(rwkv_isa_available(n + 1) == NULL);
    CHECK(rwkv_isa_available(1000000) == NULL);
    CHECK(rwkv_isa_available(0x7FFFFFFF) == NULL);
    CHECK(rwkv_isa_available(-1) == NULL);
}

static void forced(void)
{
    model_image m = model_image_new(&small);
    int i;
    for (i = 0; i < isa_count(); i++) {
        rwkv_options o = options_isa(rwkv_isa_available(i));
        rwkv_model *model = load_image(&m, &o);
        CHECK_STR(rwkv_model_info(model).isa, rwkv_isa_available(i));
        rwkv_free(model);
    }
    model_image_free(&m);
}

/* The name is compared, not the pointer.                                     */
static void name_in_other_memory(void)
{
    model_image m = model_image_new(&small);
    char name[7] = {'s', 'c', 'a', 'l', 'a', 'r', 0};
    rwkv_options o = options_isa(name);
    rwkv_model *model = load_image(&m, &o);
    memset(name, 'x', 6);
    CHECK_STR(rwkv_model_info(model).isa, "scalar");
    rwkv_free(model);
    model_image_free(&m);
}

static void default_is_widest(void)
{
    model_image m = model_image_new(&small);
    rwkv_options o = options_isa(NULL);
    rwkv_model *model = load_image(&m, NULL), *zero = load_image(&m, &o);
    CHECK_STR(rwkv_model_info(model).isa, rwkv_isa_available(isa_count() - 1));
    CHECK_STR(rwkv_model_info(zero).isa, rwkv_isa_available(isa_count() - 1));
    rwkv_free(model);
    rwkv_free(zero);
    model_image_free(&m);
}

static void unknown_names(void)
{
    static char longer[300]; /* than any message */
    static const char *names[] = {"", "avx9000", "SCALAR", "scalar ", "scala", "neon5", "%s%s%n",
                                  longer};
    model_image m = model_image_new(&small);
    size_t i;
    memset(longer, 'x', sizeof longer - 1);
    for (i = 0; i < sizeof names / sizeof *names; i++) {
        rwkv_options o = options_isa(names[i]);
        rwkv_error error;
        memset(&error, 0xC3, sizeof error);
        CHECK_MSG(rwkv_load_memory(m.data, m.size, &o, &error) == NULL, "isa \"%s\"", names[i]);
        CHECK_MSG(error.code == RWKV_ERR_ARGUMENT || error.code == RWKV_ERR_UNSUPPORTED,
                  "code %d", (int)error.code);
        if (!CHECK(memchr(error.message, 0, sizeof error.message) != NULL)) continue;
        if (strlen(names[i]) < 60) {
            CHECK_MSG(strstr(error.message, names[i]), "%s in: %s", names[i], error.message);
        }
    }
    model_image_free(&m);
}

/* Each isa keeps its own kernels: models of several live side by side.       */
static void side_by_side(void)
{
    model_image m = model_image_new(&small);
    rwkv_model *model[100];
    rwkv_state *state[100];
    int n = isa_count(), i, t;
    for (i = 0; i < n; i++) {
        rwkv_options o = options_isa(rwkv_isa_available(i));
        model[i] = load_image(&m, &o);
        state[i] = rwkv_state_new(model[i]);
    }
    for (t = 0; t < 20; t++) {
        for (i = 0; i < n; i++) {
            CHECK(rwkv_eval(t, state[i]) != NULL);
            CHECK_SAME(rwkv_logits(state[i]), rwkv_logits(state[0]),
                       sizeof(float) * (size_t)small.V);
        }
    }
    for (i = 0; i < n; i++) {
        rwkv_state_free(state[i]);
        rwkv_free(model[i]);
    }
    model_image_free(&m);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(list);
    RUN(forced);
    RUN(name_in_other_memory);
    RUN(default_is_widest);
    RUN(unknown_names);
    RUN(side_by_side);
    return test_end();
}
