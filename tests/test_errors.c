/* test_errors.c: result strings and error messages. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static void result_strings(void)
{
    int i, j;
    for (i = RWKV_OK; i <= RWKV_ERR_MISMATCH; i++) {
        const char *text = rwkv_result_string((rwkv_result)i);
        if (!CHECK(text != NULL)) continue;
        CHECK_MSG(strlen(text) > 0 && strlen(text) < 60 && !strchr(text, '\n'), "%d: %s", i, text);
        for (j = 0; j < i; j++) {
            CHECK_MSG(strcmp(text, rwkv_result_string((rwkv_result)j)) != 0, "%d and %d", i, j);
        }
    }
}

static void result_strings_out_of_range(void)
{
    static const int codes[] = {RWKV_ERR_MISMATCH + 1, 8, 100, 0x7FFFFFFF};
    size_t i;
    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        const char *text = rwkv_result_string((rwkv_result)codes[i]);
        CHECK_MSG(text != NULL && *text, "%d", codes[i]);
        CHECK_MSG(text && strcmp(text, rwkv_result_string(RWKV_OK)) != 0, "%d", codes[i]);
    }
    CHECK(rwkv_result_string((rwkv_result)-1) != NULL);
}

/* An error between canaries, full of junk before the call.                   */
typedef struct guarded_error {
    unsigned char before[32];
    rwkv_error    error;
    unsigned char after[32];
} guarded_error;

static void guard(guarded_error *g)
{
    memset(g, 0xC3, sizeof *g);
}

/* One line, ended by NUL within the array, nothing written around it.        */
static void check_message(const guarded_error *g)
{
    const char *m = g->error.message;
    int i;
    CHECK(g->error.code > RWKV_OK && g->error.code <= RWKV_ERR_MISMATCH);
    for (i = 0; i < 32; i++) CHECK(g->before[i] == 0xC3 && g->after[i] == 0xC3);
    if (!CHECK(memchr(m, 0, sizeof g->error.message) != NULL)) return;
    CHECK_MSG(strlen(m) > 8, "\"%s\"", m);
    CHECK_MSG(!strpbrk(m, "\n\r"), "\"%s\"", m);
}

static void long_paths(void)
{
    char path[600];
    int n;
    for (n = 1; n < 590; n++) {
        guarded_error g;
        guard(&g);
        memset(path, 'x', (size_t)n);
        memcpy(path, "no/", n < 3 ? (size_t)n : 3);
        path[n] = 0;
        CHECK(rwkv_load(path, NULL, &g.error) == NULL);
        check_message(&g);
        CHECK_INT(g.error.code, RWKV_ERR_FILE);
    }
}

/* The reason stands behind the path, which must not push it out.             */
static void long_path_keeps_its_reason(void)
{
    char path[400];
    rwkv_error error;
    memset(path, 'p', sizeof path);
    memcpy(path + sizeof path - 10, "/the.rwkv", 10);
    CHECK(rwkv_load(path, NULL, &error) == NULL);
    CHECK_MSG(strstr(error.message, "/the.rwkv: cannot open"), "%s", error.message);
}

/* An error of an earlier call does not stay.                                 */
static void success_clears_the_error(void)
{
    shape s = {9, 3, 3, 3, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image m = model_image_new(&s);
    rwkv_error error;
    memset(&error, 0xC3, sizeof error);
    rwkv_free(rwkv_load_memory(m.data, m.size, NULL, &error));
    CHECK_INT(error.code, RWKV_OK);
    CHECK_INT(error.message[0], 0);
    model_image_free(&m);
}

static void missing_file_is_named(void)
{
    guarded_error g;
    guard(&g);
    CHECK(rwkv_load("no-such-folder/model.rwkv", NULL, &g.error) == NULL);
    check_message(&g);
    CHECK_INT(g.error.code, RWKV_ERR_FILE);
    CHECK_MSG(strstr(g.error.message, "no-such-folder/model.rwkv"), "%s", g.error.message);
}

static void odd_paths(void)
{
    static const char *paths[] = {"", "a\nb", "no\rsuch", "%s%n%d", "\xFF\xFE"};
    size_t i;
    for (i = 0; i < sizeof paths / sizeof *paths; i++) {
        guarded_error g;
        guard(&g);
        CHECK(rwkv_load(paths[i], NULL, &g.error) == NULL);
        check_message(&g);
    }
}

static void null_arguments(void)
{
    guarded_error g;
    guard(&g);
    CHECK(rwkv_load(NULL, NULL, &g.error) == NULL);
    check_message(&g);
    CHECK_INT(g.error.code, RWKV_ERR_ARGUMENT);
    guard(&g);
    CHECK(rwkv_load_memory(NULL, 0, NULL, &g.error) == NULL);
    check_message(&g);
    guard(&g);
    CHECK(rwkv_load_memory(NULL, 4096, NULL, &g.error) == NULL);
    check_message(&g);
    CHECK_INT(g.error.code, RWKV_ERR_ARGUMENT);
}

static void error_may_be_null(void)
{
    shape s = {11, 4, 4, 8, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image m = model_image_new(&s);
    rwkv_options o = options_isa("none such");
    CHECK(rwkv_load("no-such-file.rwkv", NULL, NULL) == NULL);
    CHECK(rwkv_load(NULL, NULL, NULL) == NULL);
    CHECK(rwkv_load_memory(NULL, 0, NULL, NULL) == NULL);
    CHECK(rwkv_load_memory(m.data, 100, NULL, NULL) == NULL);
    CHECK(rwkv_load_memory(m.data, m.size - 1, NULL, NULL) == NULL);
    CHECK(rwkv_load_memory(m.data, m.size, &o, NULL) == NULL);
    model_image_free(&m);
}

/* A cut file: the message says where it ends and how far the tensor that does not
 * fit would reach, and the offset is the end.                                */
static void check_cuts(rwkv_type type)
{
    shape s = {11, 20, 24, 33, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 1};
    model_image m;
    char have[64];
    size_t size;
    s.type = type;
    m = model_image_new(&s);
    for (size = HEADER_BYTES; size < m.size; size += 997) {
        guarded_error g;
        const char *text;
        unsigned long need;
        guard(&g);
        CHECK(rwkv_load_memory(m.data, size, NULL, &g.error) == NULL);
        check_message(&g);
        CHECK_INT(g.error.code, RWKV_ERR_FORMAT);
        CHECK_INT(g.error.offset, size);
        snprintf(have, sizeof have, "file ends at byte %lu, needs ", (unsigned long)size);
        text = strstr(g.error.message, have);
        if (!CHECK_MSG(text != NULL, "%s in: %s", have, g.error.message)) continue;
        need = strtoul(text + strlen(have), NULL, 10);
        CHECK_MSG(need > size && need <= m.size, "%s", g.error.message);
    }
    model_image_free(&m);
}

static void both_numbers_are_named(void)
{
    int type;
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_Q4; type++) check_cuts((rwkv_type)type);
}

static void version(void)
{
    CHECK_INT(rwkv_version(), RWKV_VERSION);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(result_strings);
    RUN(result_strings_out_of_range);
    RUN(long_paths);
    RUN(long_path_keeps_its_reason);
    RUN(success_clears_the_error);
    RUN(missing_file_is_named);
    RUN(odd_paths);
    RUN(null_arguments);
    RUN(error_may_be_null);
    RUN(both_numbers_are_named);
    RUN(version);
    return test_end();
}
