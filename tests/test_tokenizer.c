/* test_tokenizer.c: longest match over small vocabularies, bytes of tokens; byte-pair
 * encoding against tests/fixtures/bpe.tsv and the plain one of ref_text.h. Run from the
 * repository root.
 *
 * With RWKV_TEST_MODELS, a folder with 20b.rwkv and world.rwkv, models that have the
 * published vocabularies, and RWKV_REFERENCE or ../shared/reference, the reference's
 * tokens too; without them it says so.                                       */
#include "../rwkv.h"
#include <limits.h>
#include "test.h"
#include "model.h"
#include "ref_text.h"

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
    CHECK_INT(rwkv_tokenize(model, "abc", (size_t)INT_MAX + 1, tokens, 4), -RWKV_ERR_ARGUMENT);
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

/* ---- byte-pair encoding ------------------------------------------------- */

enum { MOST_TOKENS = 1 << 16 };

/* A model, and the plain tokenizer of the same file.                         */
typedef struct subject {
    model_image m;
    rwkv_model *model;
    ref_text    ref;
} subject;

static subject subject_of(model_image m)
{
    subject s;
    memset(&s, 0, sizeof s);
    s.m = m;
    if (!m.data) return s;
    s.model = load_image(&m, NULL);
    s.ref = ref_text_of(m.data, m.size);
    return s;
}

static subject fixture_subject(void)
{
    model_image m = image_from_file("tests/fixtures/bpe.rwkv");
    if (!m.data) m = image_from_file("fixtures/bpe.rwkv");
    CHECK_MSG(m.data != NULL, "no file %s", "tests/fixtures/bpe.rwkv");
    return subject_of(m);
}

static void subject_free(subject *s)
{
    rwkv_free(s->model);
    model_image_free(&s->m);
}

static int tokenize(const rwkv_model *model, const void *text, size_t length, int special,
                    int *tokens, int capacity)
{
    return special ? rwkv_tokenize_special(model, (const char *)text, length, tokens, capacity)
                   : rwkv_tokenize(model, (const char *)text, length, tokens, capacity);
}

/* The texts of tokens, one after another; to be freed.                       */
static uint8_t *detokenize(const rwkv_model *model, const int *tokens, int n, size_t *length)
{
    size_t room = 64;
    uint8_t *out = (uint8_t *)test_alloc(room);
    int i, size;
    for (i = 0, *length = 0; i < n; i++) {
        const char *bytes = rwkv_token_bytes(model, tokens[i], &size);
        if (!CHECK(bytes != NULL)) break;
        while (*length + (size_t)size > room) out = (uint8_t *)realloc(out, room *= 2);
        memcpy(out + *length, bytes, (size_t)size);
        *length += (size_t)size;
    }
    return out;
}

/* Encode a text and compare: with n tokens expected; the count alone; with room for fewer.
 * Returns how many tokens there were.                                        */
static int check_tokens(const rwkv_model *model, const uint8_t *text, size_t length, int special,
                        const int *expected, int n, const char *what)
{
    char *exact = (char *)test_alloc(length); /* no NUL after it, and seen by sanitizers */
    int room = n > 0 ? n + 3 : 3, is, i;
    int *tokens = (int *)test_alloc(sizeof *tokens * (size_t)room);
    memcpy(exact, text, length);
    for (i = 0; i < room; i++) tokens[i] = -7;
    is = tokenize(model, exact, length, special, tokens, room);
    CHECK_MSG(is == n, "%s: %d tokens, expected %d", what, is, n);
    for (i = 0; i < n && i < is && tokens[i] == expected[i]; i++) continue;
    CHECK_MSG(i >= n || i >= is, "%s: token %d is %d, expected %d", what, i, tokens[i < room ? i : 0],
              i < n ? expected[i] : -1);
    for (i = n < 0 ? room : n; i < room; i++) CHECK_INT(tokens[i], -7);
    CHECK_INT(tokenize(model, exact, length, special, NULL, 0), n);
    for (i = 0; i < room; i++) tokens[i] = -7;
    CHECK_INT(tokenize(model, exact, length, special, tokens, n > 0 ? n / 2 : 1), n);
    for (i = n > 0 ? n / 2 : 1; i < room; i++) CHECK_INT(tokens[i], -7);
    for (i = 0; i < n / 2; i++) CHECK_INT(tokens[i], expected[i]);
    free(tokens);
    free(exact);
    return is;
}

/* A text against ref_text.h, and back.                                       */
static void check_against_ref(const subject *s, const uint8_t *text, size_t length, const char *what)
{
    int *expected, n, special;
    for (special = 0; special <= 1; special++) {
        n = ref_tokenize(&s->ref, text, length, special, &expected);
        check_tokens(s->model, text, length, special, expected, n, what);
        if (n >= 0 && !special) {
            size_t is, should;
            uint8_t *back = detokenize(s->model, expected, n, &is);
            uint8_t *same = ref_normalize(&s->ref, text, length, &should);
            if (CHECK_INT(is, should)) CHECK_SAME(back, same, is);
            free(back);
            free(same);
        }
        free(expected);
    }
}


/* `XX*N YY` in hex; to be freed.                                             */
static uint8_t *read_hex(const char *p, size_t *length)
{
    uint8_t *text = (uint8_t *)test_alloc(1 << 20);
    size_t from = 0, size;
    unsigned byte;
    char *after;
    for (*length = 0; *p;) {
        if (*p == ' ') {
            from = *length;
            p++;
        } else if (*p == '*') {
            unsigned long times = strtoul(p + 1, &after, 10);
            for (size = *length - from; times > 1; times--, *length += size) {
                memcpy(text + *length, text + from, size);
            }
            p = after;
        } else {
            if (!CHECK(sscanf(p, "%2x", &byte) == 1)) break;
            text[(*length)++] = (uint8_t)byte;
            p += 2;
        }
    }
    return text;
}

/* `=N HASH`: the text has N tokens of that hash.                              */
static void check_hash(const rwkv_model *model, const uint8_t *text, size_t length, int special,
                       const char *column, const char *what)
{
    static int tokens[MOST_TOKENS];
    int i, n = tokenize(model, text, length, special, tokens, MOST_TOKENS), expected;
    unsigned long long hash;
    uint64_t is = 0;
    uint8_t word[4];
    for (i = 0; i < n && i < MOST_TOKENS; i++) {
        put32(word, (uint32_t)tokens[i]);
        is = hash_bytes(is, word, 4);
    }
    CHECK(sscanf(column, "=%d %llx", &expected, &hash) == 2);
    CHECK_MSG(n == expected && is == hash, "%s: %d tokens of %llx, expected %d of %llx", what, n,
              (unsigned long long)is, expected, hash);
}

/* `=N HASH`, or tokens, `T*N` for N times T.                                  */
static void check_column(const rwkv_model *model, const uint8_t *text, size_t length, int special,
                         const char *column, const char *what)
{
    static int tokens[MOST_TOKENS];
    int n = 0;
    char *after;
    if (*column == '=') {
        check_hash(model, text, length, special, column, what);
        return;
    }
    while (*column && n < MOST_TOKENS) {
        int token = (int)strtol(column, &after, 10), times = 1;
        if (!CHECK(after > column)) return;
        if (*after == '*') times = (int)strtol(after + 1, &after, 10);
        while (times-- > 0 && n < MOST_TOKENS) tokens[n++] = token;
        column = after + (*after == ' ' || *after == ',');
    }
    check_tokens(model, text, length, special, tokens, n, what);
}

/* Every line of a file: a text, its tokens, its tokens with special ones if they differ; or
 * only the latter, if `all_special`. Returns how many lines there are, -1 without the file. */
static int check_lines(const subject *s, const char *path, int all_special)
{
    void *memory;
    size_t size = 0, length;
    const uint8_t *data = read_file(path, &size, &memory);
    char *copy, *line, *end, *tokens, *specials, what[64];
    uint8_t *text;
    int n = 0;
    if (!data) return -1;
    copy = (char *)test_alloc(size + 1);
    memcpy(copy, data, size);
    copy[size] = 0;
    for (line = copy; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = 0;
        snprintf(what, sizeof what, "line %d", ++n);
        tokens = strchr(line, '\t');
        if (!CHECK_MSG(tokens != NULL, "%s has no tab", what)) break;
        *tokens++ = 0;
        specials = strchr(tokens, '\t');
        if (specials) *specials++ = 0;
        text = read_hex(line, &length);
        if (!all_special) check_column(s->model, text, length, 0, tokens, what);
        check_column(s->model, text, length, 1, specials ? specials : tokens, what);
        if (length <= 8192) check_against_ref(s, text, length, what);
        free(text);
    }
    free(copy);
    free(memory);
    return n;
}

static void bpe_fixture(void)
{
    subject s = fixture_subject();
    int n;
    if (!s.model) return;
    n = check_lines(&s, "tests/fixtures/bpe.tsv", 0);
    if (n < 0) n = check_lines(&s, "fixtures/bpe.tsv", 0);
    CHECK_MSG(n > 500, "%d lines", n);
    subject_free(&s);
}

/* The published vocabularies, if they are there.                             */
static void check_published(const char *name, const char *vectors, int least)
{
    const char *models = getenv("RWKV_TEST_MODELS"), *folder = getenv("RWKV_REFERENCE");
    char path[1024];
    subject s;
    int n;
    if (!models || !*models) SKIP("published vocabularies (RWKV_TEST_MODELS names no folder)");
    snprintf(path, sizeof path, "%s/%s.rwkv", models, name);
    s = subject_of(image_from_file(path));
    if (!s.model) SKIP("published vocabularies (no such model in RWKV_TEST_MODELS)");
    snprintf(path, sizeof path, "%s/tokenizers/%s", folder ? folder : "../shared/reference",
             vectors);
    n = check_lines(&s, path, 1);
    CHECK_MSG(n >= least, "%s: %d lines", path, n);
    subject_free(&s);
}

static void published_20b(void) { check_published("20b", "bpe20b.tsv", 190); }
static void published_world(void) { check_published("world", "world.tsv", 190); }

/* ---- texts -------------------------------------------------------------- */

/* Pieces that meet each other in all orders: words, marks, Hangul, spaces, specials, and
 * what is not UTF-8.                                                         */
static size_t random_pieces(uint64_t *seed, uint8_t *text, size_t most)
{
    static const char *const pieces[] = {
        "a", "e", "th", "the", " the", "ing", " ", "  ", "   ", "\n", "\t", "\r\n", "'s", "'ll", "'",
        "r", "re", "1", "23", "!", "--", "x", " x", "\xC3\xA9", "e\xCC\x81", "\xCC\x81", "\xCC\xA3",
        "\xCC\xA7", "\xCD\x85", "\xCC\xB4", "\xD6\xB0", "\xE1\x84\x80", "\xE1\x85\xA1",
        "\xE1\x86\xA8", "\xEA\xB0\x80", "\xEA\xB0\x81", "\xE3\x81\x8B", "\xE3\x82\x99",
        "\xD1\x8D\xD1\x82", "\xE0\xA4\x95\xE0\xA4\xBC", "\xE0\xA5\x98", "\xE3\x80\x80", "\xC2\xA0",
        "\xC2\xB2", "<|endoftext|>", "<|padding|>", "<|", "\xC3", "\xE1", "\xE1\x84", "\xF0\x9D",
        "\x80", "\xED\xA0\x80", "\xF0\x9D\x85\x9E", "\xF0\x9F\x98\x80", "\xE2\x80\x8D"
    };
    enum { N = sizeof pieces / sizeof *pieces };
    size_t length = 0, wanted = (size_t)random_below(seed, (int)most - 16), size;
    int few = random_below(seed, 2) ? 2 + random_below(seed, 5) : N, shift = random_below(seed, N);
    while (length < wanted) {
        const char *piece = pieces[(random_below(seed, few) * 7 + shift) % N];
        size = strlen(piece);
        memcpy(text + length, piece, size);
        length += size;
    }
    return length;
}

static void bpe_random_texts(void)
{
    enum { MOST = 6000 };
    subject s = fixture_subject();
    uint8_t text[MOST];
    uint64_t seed = 11;
    char what[32];
    int i;
    for (i = 0; s.model && i < 3000; i++) {
        snprintf(what, sizeof what, "text %d", i);
        check_against_ref(&s, text, random_pieces(&seed, text, i % 100 ? 100 : MOST), what);
    }
    for (i = 0; s.model && i < 2000; i++) { /* bytes that are mostly no characters */
        size_t length = (size_t)random_below(&seed, 40), k;
        for (k = 0; k < length; k++) {
            do text[k] = (uint8_t)random_below(&seed, 256);
            while (s.ref.of_byte[text[k]] < 0);
        }
        snprintf(what, sizeof what, "bytes %d", i);
        check_against_ref(&s, text, length, what);
    }
    subject_free(&s);
}

/* Each byte alone and after a letter; those that have no token are an error wherever they
 * stand, also after more than a window.                                      */
static void bpe_every_byte(void)
{
    subject s = fixture_subject();
    uint8_t text[5000];
    int tokens[5000], b;
    for (b = 0; s.model && b < 256; b++) {
        int missing = b == 0xC0 || b == 0xC1 || b >= 0xF5;
        uint8_t byte = (uint8_t)b;
        check_against_ref(&s, &byte, 1, "one byte");
        text[0] = 'e';
        text[1] = byte;
        memcpy(text + 2, "\xCC\x81 ", 3);
        check_against_ref(&s, text, 5, "a byte between");
        CHECK_INT(rwkv_tokenize(s.model, (char *)&byte, 1, tokens, 9), missing ? -RWKV_ERR_MISMATCH : 1);
        if (!missing) continue;
        memset(text, 'a', sizeof text);
        text[4000] = byte;
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 5000, tokens, 5000), -RWKV_ERR_MISMATCH);
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 5000, NULL, 0), -RWKV_ERR_MISMATCH);
        memset(text, '!', sizeof text);
        text[3000] = byte;
        CHECK_INT(rwkv_tokenize_special(s.model, (char *)text, 5000, NULL, 0), -RWKV_ERR_MISMATCH);
        text[0] = byte;
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 5000, NULL, 0), -RWKV_ERR_MISMATCH);
    }
    subject_free(&s);
}

/* Overlong forms, surrogates, what is beyond U+10FFFF and what is cut off: byte by byte. */
static void bpe_invalid_utf8(void)
{
    static const char *const bad[] = {
        "\xE0\x80\x80", "\xE0\x9F\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xED\xA0\x80",
        "\xED\xBF\xBF", "\xF4\x90\x80\x80", "\xC3", "\xE2\x82", "\xF0\x9D\x85", "\xE2", "\xF0\x9D",
        "\xF0", "\x80", "\xBF\xBF", "\xED\xA0\x80\xED\xB0\x80"
    };
    subject s = fixture_subject();
    char text[64];
    int tokens[64], i, n, k;
    for (i = 0; s.model && i < (int)(sizeof bad / sizeof *bad); i++) {
        n = rwkv_tokenize(s.model, bad[i], strlen(bad[i]), tokens, 64);
        for (k = 0; k < n; k++) {
            int size;
            rwkv_token_bytes(s.model, tokens[k], &size);
            CHECK_MSG(size == 1, "text %d: token %d of %d has %d bytes", i, k, n, size);
        }
        CHECK_INT(n, strlen(bad[i]));
        snprintf(text, sizeof text, "e%s\xCC\x81'%ss  %s ", bad[i], bad[i], bad[i]);
        check_against_ref(&s, (uint8_t *)text, strlen(text), "bad bytes in between");
    }
    subject_free(&s);
}

static void bpe_special_tokens_on_request(void)
{
    static const char text[] = "a<|endoftext|>b<|padding|>";
    subject s = fixture_subject();
    int tokens[32], n, i;
    if (!s.model) return;
    n = rwkv_tokenize(s.model, text, sizeof text - 1, tokens, 32);
    CHECK(n > 6);
    for (i = 0; i < n; i++) CHECK(tokens[i] > 1);
    CHECK_INT(rwkv_tokenize_special(s.model, text, sizeof text - 1, tokens, 32), 4);
    CHECK_INT(tokens[1], 0);
    CHECK_INT(tokens[3], 1);
    CHECK(rwkv_token_bytes(s.model, 0, &n) != NULL);
    CHECK_INT(n, 0);
    CHECK_INT(rwkv_tokenize_special(s.model, text, 13, NULL, 0), /* its end is cut off */
              rwkv_tokenize(s.model, text, 13, NULL, 0));
    CHECK_INT(rwkv_tokenize_special(s.model, "", 0, tokens, 32), 0);
    CHECK_INT(rwkv_tokenize_special(s.model, NULL, 1, tokens, 32), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_tokenize_special(NULL, "a", 1, tokens, 32), -RWKV_ERR_ARGUMENT);
    subject_free(&s);
}

/* A vocabulary that lacks some runs of spaces: the longest that there is.     */
static void bpe_missing_runs(void)
{
    subject s = fixture_subject();
    uint8_t text[64];
    int lacking, n;
    for (lacking = 0; s.model && lacking < 4; lacking++) {
        static const uint32_t first[4] = {2, 10, 24, 3}, last[4] = {2, 12, 24, 24};
        size_t run = (size_t)(s.ref.run - s.m.data);
        uint32_t i;
        rwkv_free(s.model);
        for (i = first[lacking]; i <= last[lacking]; i++) {
            put32(s.m.data + run + 4 * (i - 1), 0xFFFFFFFFu);
        }
        image_fix(&s.m);
        s.model = load_image(&s.m, NULL);
        for (n = 0; n < 60; n++) {
            memset(text, ' ', sizeof text);
            check_against_ref(&s, text, (size_t)n, "spaces");
            text[n] = 'x';
            text[n + 1] = n & 1 ? ' ' : '\n';
            check_against_ref(&s, text, (size_t)n + 4, "spaces and a letter");
        }
    }
    subject_free(&s);
}

/* ---- tables that Unicode does not have ---------------------------------- */

/* e and an acute make e: eight are taken in, more than Unicode ever asks for.  */
static void bpe_nine_marks(void)
{
    subject s = fixture_subject();
    uint8_t text[64] = {'e'}, *back;
    int tokens[64], marks, n;
    uint32_t i;
    size_t is;
    for (i = 0; i < s.ref.n_composed; i++) {
        const uint8_t *entry = s.ref.composed + 12 * (size_t)i;
        if (get32(entry) == 'e' && get32(entry + 4) == 0x301) {
            put32(s.m.data + (entry - s.m.data) + 8, 'e');
            break;
        }
    }
    CHECK(i < s.ref.n_composed);
    image_fix(&s.m);
    for (marks = 0; s.model && marks < 30; marks++) {
        memcpy(text + 1 + 2 * marks, "\xCC\x81", 2);
        n = rwkv_tokenize(s.model, (char *)text, (size_t)(1 + 2 * marks), tokens, 64);
        back = detokenize(s.model, tokens, n, &is);
        if (CHECK_INT(is, marks > 8 ? 1 + 2 * (marks - 8) : 1)) CHECK_SAME(back, text, is);
        free(back);
    }
    subject_free(&s);
}

/* U+0344, a character of two marks, is one of a mark and a letter: the marks of a letter
 * end in the midst of it.                                                    */
static void bpe_mark_and_letter(void)
{
    static const char *const texts[] = {
        "\xCD\x84", "a\xCD\x84", "a\xCD\x84\xCD\x84", "e\xCC\x81\xCD\x84 z\xCD\x84\xCC\x81",
        "\xCC\xA3\xCD\x84\xCC\xA3", "u\xCC\xA3\xCD\x84\xCC\x88\xCC\xA3", "\xCD\x84'\xCD\x84s  \xCD\x84"
    };
    subject s = fixture_subject();
    uint32_t i, begin = 0;
    for (i = 0; i < s.ref.n_decomposed && !begin; i++) {
        const uint8_t *entry = s.ref.decomposed + 8 * (size_t)i;
        if (get32(entry) == 0x344 && get32(entry + 4) % 8 == 2) begin = get32(entry + 4) / 8;
    }
    if (CHECK(begin > 0)) put32(s.m.data + (s.ref.sequence - s.m.data) + 4 * (begin + 1), 'b');
    image_fix(&s.m);
    for (i = 0; s.model && i < sizeof texts / sizeof *texts; i++) {
        check_against_ref(&s, (const uint8_t *)texts[i], strlen(texts[i]), texts[i]);
    }
    subject_free(&s);
}

/* Two of a letter make that letter: a word of any length is one token, of which no window
 * sees the end.                                                              */
static void bpe_token_without_end(void)
{
    subject s = fixture_subject();
    static uint8_t text[5000];
    int tokens[8], letter, found = 0, token = -1;
    uint32_t i;
    for (letter = 'a'; s.model && letter <= 'z' && !found; letter++) {
        token = s.ref.of_byte[letter];
        for (i = ref_word(s.ref.first_pair, (uint32_t)token);
             i < ref_word(s.ref.first_pair, (uint32_t)token + 1) && !found; i++) {
            const uint8_t *pair = s.ref.pair + 8 * (size_t)i;
            if (get32(pair) != (uint32_t)token) continue;
            put32(s.m.data + (pair - s.m.data) + 4, (uint32_t)token);
            memset(text, letter, sizeof text);
            found = 1;
        }
    }
    CHECK(found);
    image_fix(&s.m);
    if (s.model) {
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 1001, tokens, 8), 1);
        CHECK_INT(tokens[0], token);
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 2048, tokens, 8), 1);
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 2049, tokens, 8), -RWKV_ERR_UNSUPPORTED);
        CHECK_INT(rwkv_tokenize(s.model, (char *)text, 5000, tokens, 8), -RWKV_ERR_UNSUPPORTED);
    }
    subject_free(&s);
}

/* A megabyte of what could be slow: it ends, and its tokens are its text again. */
static void bpe_megabytes(void)
{
    static const char *const alphabets[] = {
        "a", " ", "\t", "\n", "-", "the ", "\xCC\x81", "\xCC\xA3\xCC\x81", "e\xCC\x81", "ha",
        "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\x80", " \n", "'s", "\xCD\x85\xCC\x95\xCC\xB4"
    };
    enum { LENGTH = TEST_SLOW_MACHINE ? 1 << 15 : 1 << 20 };
    subject s = fixture_subject();
    uint8_t *text = (uint8_t *)test_alloc(LENGTH + 16), *back;
    int *tokens = (int *)test_alloc(sizeof(int) * LENGTH), n, i;
    size_t length, is;
    uint64_t seed = 3;
    for (i = 0; s.model && i <= (int)(sizeof alphabets / sizeof *alphabets); i++) {
        const char *a = i < 15 ? alphabets[i] : NULL;
        for (length = 0; length < LENGTH; length++) {
            text[length] = (uint8_t)(a ? a[length % strlen(a)] : 'a' + random_below(&seed, 26));
        }
        while (length > 0 && a && length % strlen(a)) length--;
        n = rwkv_tokenize(s.model, (char *)text, length, tokens, LENGTH);
        if (!CHECK_MSG(n > 0 && n <= LENGTH, "text %d: %d", i, n)) continue;
        CHECK_INT(rwkv_tokenize_special(s.model, (char *)text, length, NULL, 0), n);
        back = detokenize(s.model, tokens, n, &is);
        if (i == 8) {
            CHECK_INT(is, length / 3 * 2); /* composed, all of them                   */
        } else if (a && (a[0] & 0x80)) { /* perhaps sorted, of the same bytes          */
            CHECK(a[0] == '\xE1' ? is > 0 && is <= length : is == length);
        } else if (CHECK_INT(is, length)) {
            CHECK_SAME(back, text, is);
        }
        free(back);
    }
    free(tokens);
    free(text);
    subject_free(&s);
}

/* ---- words longer than the window --------------------------------------- */

enum { CHAIN_MOST = 1600 }; /* tokens of two bytes: 40 first ones, 40 second ones */

static uint8_t chain_byte(int k, int second)
{
    return (uint8_t)(second ? 0x50 + k / 40 : 0x21 + k % 40);
}

/* A vocabulary of bytes (1 + b), of pairs of them t[0 .. n), and of merges of t[k] with
 * t[k + 1], the last first: what becomes of the first ones depends on whether an even or
 * an odd number of them follow. All characters are letters.                  */
static model_image chain_image(int n)
{
    shape s = {0, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_20B, PLAIN, 5};
    uint32_t *word, at = 0, k, V = 257 + 2 * (uint32_t)n - 1, N = (uint32_t)n, length = 0;
    uint8_t *section, *text;
    size_t bytes;
    model_image m;
    s.V = (int)V;
    word = (uint32_t *)test_alloc(sizeof *word * 65536);
    word[at++] = 257;
    word[at++] = 256 + 6 * N;
    word[at++] = 2 * N - 1;
    at++;
    for (k = 0; k < V; k++) {
        word[at++] = length;
        length += k == 0 ? 0 : k < 257 ? 1 : k < 257 + N ? 2 : 4;
    }
    word[at++] = length;
    word[1] = length;
    for (k = 0; k < 257; k++) {
        word[at++] = k ? 0xFFFFFFFFu : 1;
        word[at++] = k ? 0 : 0xFFFFFFFFu;
        word[at++] = k ? k + 1 : 0;
    }
    for (k = 0, length = 0; k <= V; k++) {
        word[at++] = length;
        if (k > 0x21 && k <= 0x21 + 40 && k - 0x22 < N) length += (N - (k - 0x22) + 39) / 40;
        if (k >= 257 && k < 257 + N - 1) length++;
    }
    for (k = 0; k < 40; k++) {
        uint32_t t;
        for (t = k; t < N; t += 40) {
            word[at++] = 1u + chain_byte((int)t, 1);
            word[at++] = 257 + t;
        }
    }
    for (k = 0; k + 1 < N; k++) {
        word[at++] = 257 + k + 1;
        word[at++] = 257 + N + (N - 2 - k);
    }
    word[3] = 8 + 8704 / 2 + 64;
    memset(word + at, 0, sizeof *word * word[3]);
    word[at + 2] = 1; /* one block, of letters */
    at += 8 + 8704 / 2;
    for (k = 0; k < 64; k++) word[at++] = 0x00010001;
    bytes = (size_t)round_up(4 * (uint64_t)at + word[1], 64);
    section = (uint8_t *)test_alloc(bytes);
    memset(section, 0, bytes);
    for (k = 0; k < at; k++) put32(section + 4 * k, word[k]);
    text = section + 4 * (size_t)at;
    for (k = 0; k < 256; k++) text[k] = (uint8_t)k;
    text += 256;
    for (k = 0; k < N; k++) {
        text[2 * k] = chain_byte((int)k, 0);
        text[2 * k + 1] = chain_byte((int)k, 1);
    }
    for (k = 0; k + 1 < N; k++) memcpy(text + 2 * N + 4 * (N - 2 - k), text + 2 * k, 4);
    m = model_image_section(&s, section, bytes);
    free(section);
    free(word);
    return m;
}

/* Chains of many lengths at many places of a window, in words of up to four of them: as
 * ref_text.h has it, or refused if the chain is over 768 bytes long.          */
static void bpe_chains_of_merges(void)
{
    enum { MOST = 9000 };
    static const int lengths[] = {100, 256, 384, 385, 700, 1000, CHAIN_MOST};
    uint8_t text[MOST + 32];
    uint64_t seed = 7;
    int i, round, refused = 0, exact = 0;
    for (i = 0; i < 7; i++) {
        subject s = subject_of(chain_image(lengths[i]));
        for (round = 0; s.model && round < 24; round++) {
            int length = random_below(&seed, 2400), k, n, is, *expected;
            memset(text, '~', sizeof text);
            while (length + 2 * lengths[i] < MOST && random_below(&seed, 5)) {
                int begin = random_below(&seed, 3) ? 0 : random_below(&seed, lengths[i]);
                for (k = begin; k < lengths[i]; k++) {
                    text[length++] = chain_byte(k, 0);
                    text[length++] = chain_byte(k, 1);
                }
                length += random_below(&seed, 20);
            }
            n = ref_tokenize(&s.ref, text, (size_t)length, 0, &expected);
            is = rwkv_tokenize(s.model, (char *)text, (size_t)length, NULL, 0);
            if (is == -RWKV_ERR_UNSUPPORTED) {
                CHECK_MSG(2 * lengths[i] > 768, "refused a chain of %d bytes", 2 * lengths[i]);
                refused++;
            } else {
                check_tokens(s.model, text, (size_t)length, 0, expected, n, "chain");
                exact++;
            }
            free(expected);
        }
        subject_free(&s);
    }
    CHECK_MSG(refused > 0 && exact > 100, "%d refused, %d exact", refused, exact);
    if (test.verbose) printf("chains: %d exact, %d refused\n", exact, refused);
}

/* ---- the section -------------------------------------------------------- */

static size_t check_refused_offset; /* where the last one failed                    */

/* Change one word of the section: the load must fail there, with such a message. */
static void check_refused(model_image *m, size_t at, uint32_t value, const char *message)
{
    size_t begin = m->size - (size_t)get64(m->data + AT_VOCAB_BYTES);
    uint8_t *p = m->data + begin + at;
    uint32_t old = get32(p);
    rwkv_error error;
    rwkv_model *model;
    memset(&error, 0, sizeof error);
    put32(p, value);
    image_fix(m);
    model = rwkv_load_memory(m->data, m->size, NULL, &error);
    CHECK_MSG(model == NULL, "word %lu = %lu: %s", (unsigned long)at / 4, (unsigned long)value,
              message);
    rwkv_free(model);
    CHECK_INT(error.code, RWKV_ERR_FORMAT);
    CHECK_MSG(strstr(error.message, message), "\"%s\" is not about \"%s\"", error.message, message);
    CHECK_MSG(error.offset >= begin && error.offset <= begin + at + 12, "%s: offset %lu", message,
              (unsigned long)error.offset);
    check_refused_offset = (size_t)error.offset - begin;
    put32(p, old);
    image_fix(m);
}

/* The same, and the error is said to be at this byte of the section.         */
static void check_refused_at(model_image *m, size_t at, uint32_t value, const char *message,
                             size_t offset)
{
    check_refused(m, at, value, message);
    CHECK_INT(check_refused_offset, offset);
}

/* Change one word of the section to what may be there.                       */
static void check_taken(model_image *m, size_t at, uint32_t value)
{
    uint8_t *p = m->data + m->size - (size_t)get64(m->data + AT_VOCAB_BYTES) + at;
    uint32_t old = get32(p);
    put32(p, value);
    image_fix(m);
    rwkv_free(load_image(m, NULL));
    put32(p, old);
    image_fix(m);
}

/* Words about text, so few that their counts are not there; the rest are bytes of text. */
static void check_too_few_words(model_image *m)
{
    uint8_t *section = m->data + m->size - get64(m->data + AT_VOCAB_BYTES);
    uint32_t n_bytes = get32(section + 4), n_words = get32(section + 12);
    rwkv_error error;
    put32(section + 4, n_bytes + 4 * (n_words - 7));
    put32(section + 12, 7);
    image_fix(m);
    CHECK(rwkv_load_memory(m->data, m->size, NULL, &error) == NULL);
    CHECK_MSG(strstr(error.message, "has 7 words about text, its counts make 8") != NULL, "%s",
              error.message);
    put32(section + 4, n_bytes);
    put32(section + 12, n_words);
    image_fix(m);
}

/* A vocabulary with a single merge is one.                                   */
static void bpe_one_merge(void)
{
    subject s = fixture_subject();
    uint8_t *v, *first;
    uint32_t V = s.ref.V, pairs, i, left;
    int token;
    if (!s.model) return;
    rwkv_free(s.model);
    v = s.m.data + s.m.size - get64(s.m.data + AT_VOCAB_BYTES);
    first = s.m.data + (s.ref.first_pair - s.m.data);
    pairs = get32(v + 8);
    for (left = 0; get32(first + 4 * (left + 1)) == 0;) left++;
    for (i = 0; i <= V; i++) put32(first + 4 * i, i > left);
    put32(v + 8, 1);
    image_cut_vocabulary(&s.m, (size_t)(first - v) + 4 * ((size_t)V + 1) + 8, 8 * ((size_t)pairs - 1));
    s.model = load_image(&s.m, NULL);
    CHECK_INT(rwkv_tokenize(s.model, "a", 1, &token, 1), 1);
    subject_free(&s);
}

static void bpe_lies(void)
{
    subject s = fixture_subject();
    uint8_t *section = s.m.data ? s.m.data + s.m.size - get64(s.m.data + AT_VOCAB_BYTES) : NULL;
    model_image *m = &s.m;
    uint32_t V = s.ref.V, none = 0xFFFFFFFFu, i, old;
    char message[80];
    size_t cell, words, first, run, special, block, decomposed, sequence, composed;
    if (!s.model) return;
    first = (size_t)(s.ref.first_pair - section);
    run = (size_t)(s.ref.run - section);
    special = (size_t)(s.ref.special - section);
    block = (size_t)(s.ref.block - section);
    decomposed = (size_t)(s.ref.decomposed - section);
    sequence = (size_t)(s.ref.sequence - section);
    composed = (size_t)(s.ref.composed - section);
    words = run - 32;
    for (i = 0; i < 4; i++) {
        check_refused(m, 4 * i, none, "its counts make");
        check_refused(m, 4 * i, 0, i == 1 ? "counts make" : "vocabulary");
        check_refused(m, 4 * i, get32(section + 4 * i) + 64, "its counts make");
    }
    for (i = 0; i < 6; i++) {
        check_refused(m, words + 4 * i, get32(section + words + 4 * i) + 1, "words about text");
        check_refused(m, words + 4 * i, none, "words about text");
        check_refused(m, words + 4 * i, 0, "words about text");
    }
    check_refused(m, 16, 1, "bytes");
    check_refused(m, 16 + 4 * 300, none, "bytes of token");
    check_refused(m, 16 + 4 * 300, 0, "bytes of token 299");
    cell = 16 + 4 * ((size_t)V + 1);
    check_refused_at(m, cell + 12 + 8, V + 1, "token + 1 of trie cell 1", cell + 12 + 8);
    check_taken(m, cell + 12 + 8, V);
    check_refused(m, first, 1, "merges");
    check_refused(m, first + 4 * 100, none, "merges of token");
    check_refused(m, first + 4 * V, get32(section + 8) + 1, "merges of token");
    check_refused(m, first + 4 * (V + 1) + 4, V, "token of merge 0");
    check_refused(m, (size_t)(s.ref.run - section) - 32 - 4, none, "token of merge");
    check_refused(m, run + 4, V, "token of a run of spaces 1");
    check_refused(m, run + 4 * 23, none - 1, "token of a run of spaces 23");
    check_refused(m, special, V, "special token 0");
    check_refused(m, special, none, "special token 0");
    check_refused(m, special + 4, none, "special text 0");
    check_refused(m, special + 8, 0, "special text 0");
    check_refused_at(m, special + 12 + 8, none, "special text 1", special + 12);
    i = get32(section + special + 12 + 4); /* where that begins                          */
    old = get32(section + 4);
    snprintf(message, sizeof message, "special text 1 is bytes %u to %u, there are %u", (unsigned)i,
             (unsigned)old + 1, (unsigned)old);
    check_refused_at(m, special + 12 + 8, old - i + 1, message, special + 12);
    check_taken(m, special + 12 + 8, old - i);
    check_taken(m, special, V - 1);
    check_taken(m, run + 4, V - 1);
    check_taken(m, run + 4, none);
    check_refused(m, block, none, "characters 0 on have block");
    check_refused(m, block, get32(section + words + 8), "characters 0 on have block");
    check_refused_at(m, block + 2 * 8702, 0x7FFF0000, "characters 1113984 on have block 32767 of",
                     block + 2 * 8703);
    check_refused(m, decomposed + 4, 0, "decomposition 0");
    check_refused_at(m, decomposed + 12, none, "decomposition 1 is 536870911 to 536870918, there",
                     decomposed + 8);
    check_refused_at(m, decomposed + 12, 7, "decomposition 1 makes 10 bytes of 2", decomposed + 8);
    check_refused(m, decomposed + 4, 7, "decomposition 0 makes 10 bytes of 2");
    /* the bytes of the first of its characters, around where they become more        */
    old = get32(section + sequence);
    for (i = 0; i < 6; i++) {
        static const uint32_t last[6] = {0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000};
        snprintf(message, sizeof message, "decomposition 0 makes %d bytes of 2",
                 10 - (old < 0x80 ? 1 : old < 0x800 ? 2 : 3) + 1 + ((int)i + 1) / 2);
        put32(section + sequence, last[i]);
        check_refused(m, decomposed + 4, 7, message);
    }
    put32(section + sequence, old);
    image_fix(m);
    check_refused(m, composed + 8, 0x10ffff, "composition 0 makes 4 bytes of 3");
    check_refused_at(m, composed + 12 + 8, 0x10ffff, "composition 1 makes 4 bytes of 3",
                     composed + 12);
    check_refused_at(m, first + 4 * 100, none, "merges of token 99", first + 4 * 99);
    check_refused_at(m, run + 4 * 2, V, "token of a run of spaces 2", run + 4 * 2);
    old = get32(section + words + 16);
    put32(section + words + 16, old - 300);
    check_refused(m, words, get32(section + words) + 300, "324 runs of spaces");
    put32(section + words + 16, old - 233);
    check_refused(m, words, get32(section + words) + 233, "257 runs of spaces");
    put32(section + words + 16, old - 232); /* as many as may be       */
    put32(section + words, 256);
    check_refused_at(m, run + 4 * 25, V, "token of a run of spaces 25", run + 4 * 25);
    put32(section + words, 24);
    put32(section + words + 16, old - 900);
    check_refused(m, words + 4, get32(section + words + 4) + 300, "302 special tokens");
    put32(section + words + 16, old - 3 * 255);
    check_refused(m, words + 4, get32(section + words + 4) + 255, "257 special tokens");
    put32(section + words + 16, old - 3 * 254);
    put32(section + words + 4, 256);
    check_refused_at(m, special + 24, V, "special token 2", special + 24);
    put32(section + words + 4, 2);
    put32(section + words + 16, old);
    check_too_few_words(m);
    check_refused(m, sequence, 0x110000, "character 0");
    check_refused(m, composed - 4, none, "character");
    check_refused(m, composed + 8, 0x110000, "composed character 0");
    rwkv_free(load_image(m, NULL));
    put32(m->data + AT_TOKENIZER, TOKENIZER_WORLD); /* whole, but not of this kind */
    image_fix(m);
    check_refused(m, 0, get32(section), "not tokenizer 2");
    subject_free(&s);
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
    RUN(bpe_fixture);
    RUN(published_20b);
    RUN(published_world);
    RUN(bpe_random_texts);
    RUN(bpe_every_byte);
    RUN(bpe_invalid_utf8);
    RUN(bpe_special_tokens_on_request);
    RUN(bpe_missing_runs);
    RUN(bpe_nine_marks);
    RUN(bpe_mark_and_letter);
    RUN(bpe_token_without_end);
    RUN(bpe_megabytes);
    RUN(bpe_chains_of_merges);
    RUN(bpe_lies);
    RUN(bpe_one_merge);
    return test_end();
}
