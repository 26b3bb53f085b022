/* test_tokenizer.c: longest match over small vocabularies, bytes of tokens. */
#define RWKV_IMPLEMENTATION
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape bytes_shape = {256, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_BYTES, PLAIN, 1};
static const shape world_shape = {600, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_WORLD, PLAIN, 2};

enum { LONGEST_TEXT = 300 };

/* The definition: of all tokens that the text begins with, the longest.       */
static int naive(const vocabulary *v, const uint8_t *text, size_t length, int *tokens)
{
    int n = 0, id;
    while (length > 0) {
        uint32_t best_length = 0;
        int best = -1;
        for (id = 0; id < v->n; id++) {
            uint32_t size = v->offset[id + 1] - v->offset[id];
            if (size > best_length && size <= length &&
                memcmp(text, v->bytes + v->offset[id], size) == 0) {
                best = id;
                best_length = size;
            }
        }
        if (best < 0) return -RWKV_ERR_MISMATCH;
        tokens[n++] = best;
        text += best_length;
        length -= best_length;
    }
    return n;
}

/* Letters that the vocabulary is made of, so that matches are long; or any bytes. */
static size_t random_text(uint64_t *seed, uint8_t *text)
{
    static const char letters[] = "aaabbc \n";
    size_t length = (size_t)random_below(seed, LONGEST_TEXT + 1), i;
    int any = random_below(seed, 3) == 0;
    for (i = 0; i < length; i++) {
        text[i] = any ? (uint8_t)random_below(seed, 256)
                      : random_below(seed, 12) ? (uint8_t)letters[random_below(seed, 8)]
                                               : (uint8_t)(random_below(seed, 4) * 0x55);
    }
    return length;
}

static void check_text(const rwkv_model *model, const vocabulary *v, const uint8_t *text,
                       size_t length)
{
    int expected[LONGEST_TEXT], tokens[LONGEST_TEXT + 1], n, is, i, size;
    char *exact = (char *)test_alloc(length); /* no NUL after it, and seen by sanitizers */
    size_t at = 0;
    memcpy(exact, text, length);
    n = naive(v, text, length, expected);
    for (i = 0; i <= LONGEST_TEXT; i++) tokens[i] = -7;
    is = rwkv_tokenize(model, exact, length, tokens, LONGEST_TEXT);
    CHECK_INT(is, n);
    if (n > 0) CHECK_SAME(tokens, expected, sizeof *tokens * (size_t)n);
    CHECK_INT(rwkv_tokenize(model, exact, length, NULL, 0), n);
    for (i = 0; i < n; i++) { /* the round trip */
        const char *bytes = rwkv_token_bytes(model, tokens[i], &size);
        CHECK(bytes && size > 0 && at + (size_t)size <= length);
        if (bytes && at + (size_t)size <= length) CHECK_SAME(bytes, exact + at, (size_t)size);
        at += (size_t)size;
    }
    if (n >= 0) CHECK_INT(at, length);
    for (i = n < 0 ? 0 : n; i <= LONGEST_TEXT; i++) {
        if (n >= 0) CHECK_INT(tokens[i], -7);
    }
    free(exact);
}

static void check_vocabulary(const shape *s)
{
    model_image m = model_image_new(s);
    rwkv_model *model = load_image(&m, NULL);
    uint8_t text[LONGEST_TEXT];
    uint64_t seed = s->seed;
    int i;
    for (i = 0; i < 1000; i++) {
        size_t length = random_text(&seed, text);
        check_text(model, &m.vocab, text, length);
    }
    for (i = 0; i < 256; i++) {
        text[0] = (uint8_t)i;
        check_text(model, &m.vocab, text, 1);
    }
    for (i = 0; i < 256; i++) text[i] = (uint8_t)i;
    check_text(model, &m.vocab, text, 256);
    memset(text, 0, LONGEST_TEXT); /* NUL bytes are text */
    check_text(model, &m.vocab, text, LONGEST_TEXT);
    memset(text, 'a', LONGEST_TEXT);
    check_text(model, &m.vocab, text, LONGEST_TEXT);
    for (i = 0; i < LONGEST_TEXT; i++) text[i] = i & 1 ? 'b' : 'a';
    check_text(model, &m.vocab, text, LONGEST_TEXT);
    rwkv_free(model);
    model_image_free(&m);
}

static void bytes_vocabulary(void) { check_vocabulary(&bytes_shape); }
static void world_vocabulary(void) { check_vocabulary(&world_shape); }

static void other_world_vocabularies(void)
{
    shape s = world_shape;
    for (s.seed = 10; s.seed < 14; s.seed++) {
        s.V = 257 + (int)s.seed * 20;
        check_vocabulary(&s);
    }
}

/* More rows in the head than tokens: the rest have no bytes.                 */
static void padded_vocabulary(void)
{
    shape s = bytes_shape;
    model_image m;
    rwkv_model *model;
    int i, length;
    s.V = 320;
    check_vocabulary(&s);
    m = model_image_new(&s);
    model = load_image(&m, NULL);
    for (i = 256; i < 320; i++) {
        length = -1;
        rwkv_token_bytes(model, i, &length);
        CHECK_INT(length, 0);
    }
    rwkv_free(model);
    model_image_free(&m);
}

/* Text of every token alone gives that token (or an equal one, were there any). */
static void every_token(void)
{
    model_image m = model_image_new(&world_shape);
    rwkv_model *model = load_image(&m, NULL);
    int id, token[VOCABULARY_LONGEST], length;
    for (id = 0; id < world_shape.V; id++) {
        const char *bytes = rwkv_token_bytes(model, id, &length);
        uint32_t size = m.vocab.offset[id + 1] - m.vocab.offset[id];
        CHECK_INT(length, size);
        CHECK(rwkv_token_bytes(model, id, NULL) == bytes);
        if (size == 0) continue;
        CHECK_SAME(bytes, m.vocab.bytes + m.vocab.offset[id], size);
        CHECK_INT(rwkv_tokenize(model, bytes, (size_t)length, token, VOCABULARY_LONGEST), 1);
        CHECK_INT(token[0], id);
    }
    rwkv_free(model);
    model_image_free(&m);
}

static void tokens_out_of_range(void)
{
    static const int bad[] = {-1, 600, 601, 2147483647, -2147483647 - 1};
    model_image m = model_image_new(&world_shape);
    rwkv_model *model = load_image(&m, NULL);
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        int length = 77;
        CHECK_MSG(rwkv_token_bytes(model, bad[i], &length) == NULL, "token %d", bad[i]);
        CHECK_INT(length, 0);
        CHECK(rwkv_token_bytes(model, bad[i], NULL) == NULL);
    }
    rwkv_free(model);
    model_image_free(&m);
}

/* Too little room: the first tokens are written, the count is that of all.   */
static void capacity(void)
{
    static const char text[] = "abc aab cab\n\naabb";
    model_image m = model_image_new(&world_shape);
    rwkv_model *model = load_image(&m, NULL);
    int all[32], some[33], n, room, i;
    n = rwkv_tokenize(model, text, sizeof text - 1, all, 32);
    CHECK(n > 3 && n <= (int)sizeof text - 1);
    for (room = 0; room <= 32; room++) {
        for (i = 0; i < 33; i++) some[i] = -7;
        CHECK_INT(rwkv_tokenize(model, text, sizeof text - 1, some, room), n);
        for (i = 0; i < 33; i++) CHECK_INT(some[i], i < room && i < n ? all[i] : -7);
    }
    CHECK_INT(rwkv_tokenize(model, text, sizeof text - 1, NULL, 0), n);
    rwkv_free(model);
    model_image_free(&m);
}

static void empty_text_and_bad_arguments(void)
{
    model_image m = model_image_new(&world_shape);
    rwkv_model *model = load_image(&m, NULL);
    int tokens[4] = {-7, -7, -7, -7};
    CHECK_INT(rwkv_tokenize(model, "", 0, tokens, 4), 0);
    CHECK_INT(rwkv_tokenize(model, NULL, 0, tokens, 4), 0);
    CHECK_INT(rwkv_tokenize(model, NULL, 0, NULL, 0), 0);
    CHECK_INT(rwkv_tokenize(model, NULL, 3, tokens, 4), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_tokenize(NULL, "abc", 3, tokens, 4), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_tokenize(model, "abc", 3, NULL, 4), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_tokenize(model, "abc", 3, tokens, -1), -RWKV_ERR_ARGUMENT);
    CHECK(rwkv_token_bytes(NULL, 1, NULL) == NULL);
    CHECK_INT(tokens[0], -7);
    rwkv_free(model);
    model_image_free(&m);
}

/* A byte that is in no token is an error wherever it stands.                 */
static void byte_without_a_token(void)
{
    vocabulary v = vocabulary_new(TOKENIZER_WORLD, 400, 3, 'q');
    shape s = world_shape;
    model_image m;
    rwkv_model *model;
    char text[] = "aabab ab a\nbc";
    int tokens[32];
    size_t i;
    s.V = 400;
    m = model_image_with(&s, &v);
    model = load_image(&m, NULL);
    CHECK(rwkv_tokenize(model, text, sizeof text - 1, tokens, 32) > 0);
    for (i = 0; i < sizeof text - 1; i++) {
        char old = text[i];
        text[i] = 'q';
        CHECK_INT(rwkv_tokenize(model, text, sizeof text - 1, tokens, 32), -RWKV_ERR_MISMATCH);
        CHECK_INT(rwkv_tokenize(model, text, sizeof text - 1, NULL, 0), -RWKV_ERR_MISMATCH);
        if (i > 0) CHECK(rwkv_tokenize(model, text, i, tokens, 32) > 0);
        text[i] = old;
    }
    rwkv_free(model);
    model_image_free(&m);
}

static void model_without_a_tokenizer(void)
{
    shape s = bytes_shape;
    model_image m;
    rwkv_model *model;
    int tokens[4], length = 77;
    s.tokenizer = TOKENIZER_NONE;
    m = model_image_new(&s);
    model = load_image(&m, NULL);
    CHECK_INT(rwkv_tokenize(model, "abc", 3, tokens, 4), -RWKV_ERR_UNSUPPORTED);
    CHECK_INT(rwkv_tokenize(model, "abc", 3, NULL, 0), -RWKV_ERR_UNSUPPORTED);
    CHECK(rwkv_token_bytes(model, 97, &length) == NULL);
    CHECK_INT(length, 0);
    rwkv_free(model);
    model_image_free(&m);
}

/* A long text takes time in proportion, and no recursion.                    */
static void a_megabyte(void)
{
    enum { LENGTH = 1 << 20 };
    model_image m = model_image_new(&world_shape);
    rwkv_model *model = load_image(&m, NULL);
    char *text = (char *)test_alloc(LENGTH);
    int *tokens = (int *)test_alloc(sizeof *tokens * LENGTH), n, i, size;
    size_t total = 0;
    memset(text, 'a', LENGTH);
    n = rwkv_tokenize(model, text, LENGTH, tokens, LENGTH);
    CHECK(n > 0 && n <= LENGTH);
    for (i = 0; i < n; i++) {
        CHECK(rwkv_token_bytes(model, tokens[i], &size) != NULL);
        total += (size_t)size;
    }
    CHECK_INT(total, LENGTH);
    free(tokens);
    free(text);
    rwkv_free(model);
    model_image_free(&m);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(bytes_vocabulary);
    RUN(world_vocabulary);
    RUN(other_world_vocabularies);
    RUN(padded_vocabulary);
    RUN(every_token);
    RUN(tokens_out_of_range);
    RUN(capacity);
    RUN(empty_text_and_bad_arguments);
    RUN(byte_without_a_token);
    RUN(model_without_a_tokenizer);
    RUN(a_megabyte);
    return test_end();
}
