/* test_file.c: untrusted model files: every lie in the header and the vocabulary,
 * every length, every way to load. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape base_shape = {400, 5, 7, 9, 2, RWKV_TYPE_F16, TOKENIZER_WORLD, PLAIN, 1};
static const shape code_shape = {400, 5, 7, 9, 2, RWKV_TYPE_Q4, TOKENIZER_WORLD, PLAIN, 1};

/* Load it and let it work: two tokens, a text, all tokens' bytes. Whatever is in
 * it, every answer must be in range.                                         */
static void check_harmless(rwkv_model *model, const char *what, long where)
{
    static const char text[] = "aab abc\n\n caaab\x00\xFF z\x55";
    rwkv_info info = rwkv_model_info(model);
    rwkv_state *state = rwkv_state_new(model);
    int tokens[sizeof text], n, i, length;
    volatile char touched = 0; /* the last byte, for sanitizers to see */
    CHECK(rwkv_eval(info.n_vocab - 1, state) != NULL);
    CHECK(rwkv_eval(0, state) != NULL);
    n = rwkv_tokenize(model, text, sizeof text, tokens, (int)sizeof text);
    CHECK_MSG(n <= (int)sizeof text, "%s %ld: %d tokens", what, where, n);
    for (i = 0; i < n; i++) {
        CHECK_MSG(tokens[i] >= 0 && tokens[i] < info.n_vocab, "%s %ld: token %d", what, where,
                  tokens[i]);
    }
    for (i = 0; i < info.n_vocab; i++) {
        const char *bytes = rwkv_token_bytes(model, i, &length);
        if (bytes && length > 0) touched = bytes[length - 1];
        CHECK(length >= 0);
    }
    (void)touched;
    rwkv_state_free(state);
}

/* ---- the header --------------------------------------------------------- */

typedef struct lie {
    int         at, width;
    const char *name;         /* must be in the message; NULL: any             */
    uint64_t    value;
    int         offset;       /* 1: error.offset must be `at`                  */
} lie;

#define DIMENSION(at, name, limit) \
    {at, 4, name, 0, 1}, {at, 4, name, (limit) + 1, 1}, {at, 4, name, 0x7FFFFFFF, 1}, \
    {at, 4, name, 0x80000000u, 1}, {at, 4, name, 0x80000001u, 1}, {at, 4, name, 0xFFFFFFFFu, 1}, \
    {at, 4, "file_bytes", 1, 0}, {at, 4, "file_bytes", (limit), 0}, \
    {at, 4, "file_bytes", (limit) - 1, 0}

static const lie lies[] = {
    {AT_FORMAT, 4, "format", 0, 1}, {AT_FORMAT, 4, "format", 1, 1}, {AT_FORMAT, 4, "format", 3, 1},
    {AT_FORMAT, 4, "format", 0x01000000, 1}, {AT_FORMAT, 4, "format", 0xFFFFFFFFu, 1},
    {AT_VERSION, 4, "version", 0, 1}, {AT_VERSION, 4, "version", 3, 1},
    {AT_VERSION, 4, "version", 5, 1}, {AT_VERSION, 4, "version", 6, 1},
    {AT_VERSION, 4, "version", 7, 1}, {AT_VERSION, 4, "version", 0x04000000, 1},
    {AT_TYPE, 4, "type", 0, 1}, {AT_TYPE, 4, "matrix 0 has codes of 0 bits, not for type 4", 4, 0},
    {AT_TYPE, 4, "matrix 0 has codes of 0 bits, not for type 5", 5, 0},
    {AT_TYPE, 4, "type", 6, 1}, {AT_TYPE, 4, "type", 0x80000000u, 1},
    {AT_TYPE, 4, "type", 0xFFFFFFFFu, 1}, {AT_TYPE, 4, "file_bytes", RWKV_TYPE_F32, 0},
    {AT_TOKENIZER, 4, "tokenizer", 4, 1}, {AT_TOKENIZER, 4, "tokenizer", 0x7FFFFFFF, 1},
    {AT_TOKENIZER, 4, "tokenizer", 0xFFFFFFFFu, 1}, {AT_TOKENIZER, 4, NULL, 0, 0},
    DIMENSION(AT_VOCAB, "n_vocab", 1u << 24), DIMENSION(AT_EMBD, "n_embd", 1u << 20),
    DIMENSION(AT_ATT, "n_att", 1u << 20), DIMENSION(AT_FFN, "n_ffn", 1u << 20),
    DIMENSION(AT_LAYER, "n_layer", 4096u),
    {AT_HEAD, 4, "n_head", 1, 1}, {AT_HEAD, 4, "n_head", 0xFFFFFFFFu, 1},
    {AT_FILE_BYTES, 8, "file_bytes", 0, 1}, {AT_FILE_BYTES, 8, "file_bytes", 1, 1},
    {AT_FILE_BYTES, 8, "file_bytes", 127, 1}, {AT_FILE_BYTES, 8, "file_bytes", 128, 1},
    {AT_FILE_BYTES, 8, "file_bytes", 0x7FFFFFFF, 1}, {AT_FILE_BYTES, 8, "file_bytes", 1u << 31, 1},
    {AT_FILE_BYTES, 8, "file_bytes", (uint64_t)1 << 32, 1},
    {AT_FILE_BYTES, 8, "file_bytes", (uint64_t)1 << 63, 1},
    {AT_FILE_BYTES, 8, "file_bytes", ~(uint64_t)0, 1},
    {AT_VOCAB_BYTES, 8, NULL, 0, 0}, {AT_VOCAB_BYTES, 8, NULL, 1, 0},
    {AT_VOCAB_BYTES, 8, NULL, 63, 0}, {AT_VOCAB_BYTES, 8, NULL, 64, 0},
    {AT_VOCAB_BYTES, 8, NULL, (uint64_t)1 << 32, 0},
    {AT_VOCAB_BYTES, 8, NULL, (uint64_t)1 << 63, 0},
    {AT_VOCAB_BYTES, 8, NULL, ~(uint64_t)63, 0}, {AT_VOCAB_BYTES, 8, NULL, ~(uint64_t)0, 0},
    {AT_EPS, 4, "norm_eps", 0x7FC00000, 1}, {AT_EPS, 4, "norm_eps", 0x7F800000, 1},
    {AT_EPS, 4, "norm_eps", 0xFF800000u, 1}, {AT_EPS, 4, "norm_eps", 0xBF800000u, 1},
    {AT_EPS, 4, "norm_eps", 0x3F800001, 1}, {AT_EPS, 4, "norm_eps", 0x80000001u, 1},
};

static int number_in(const char *message, uint64_t number)
{
    char text[24];
    int n = 0, i;
    do {
        text[n++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    for (i = 0; i < n / 2; i++) {
        char c = text[i];
        text[i] = text[n - 1 - i];
        text[n - 1 - i] = c;
    }
    text[n] = 0;
    return strstr(message, text) != NULL;
}

static void every_field_has_its_error(void)
{
    model_image m = model_image_new(&base_shape);
    size_t i;
    for (i = 0; i < sizeof lies / sizeof *lies; i++) {
        const lie *l = &lies[i];
        uint8_t old[HEADER_BYTES];
        rwkv_error error;
        int shown;
        memcpy(old, m.data, HEADER_BYTES);
        if (l->width == 4) put32(m.data + l->at, (uint32_t)l->value);
        else put64(m.data + l->at, l->value);
        image_fix_header(&m);
        memset(&error, 0, sizeof error);
        if (CHECK_MSG(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL, "byte %d = %llu",
                      l->at, (unsigned long long)l->value)) {
            CHECK_MSG(error.code == RWKV_ERR_FORMAT || error.code == RWKV_ERR_UNSUPPORTED,
                      "byte %d = %llu: code %d", l->at, (unsigned long long)l->value,
                      (int)error.code);
            CHECK_MSG(!l->name || strstr(error.message, l->name), "byte %d = %llu: %s", l->at,
                      (unsigned long long)l->value, error.message);
            shown = l->at == AT_EPS || !l->offset || number_in(error.message, l->value);
            CHECK_MSG(shown, "byte %d = %llu: %s", l->at, (unsigned long long)l->value,
                      error.message);
            if (l->offset) CHECK_INT(error.offset, l->at);
        }
        memcpy(m.data, old, HEADER_BYTES);
    }
    rwkv_free(load_image(&m, NULL));
    model_image_free(&m);
}

/* 0, 1, and the least that is more than 0.                                   */
static void any_eps_from_0_to_1(void)
{
    static const uint32_t good[] = {0, 0x80000000u, 1, 0x3F800000};
    model_image m = model_image_new(&base_shape);
    size_t i;
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        put32(m.data + AT_EPS, good[i]);
        image_fix_header(&m);
        rwkv_free(load_image(&m, NULL));
    }
    model_image_free(&m);
}

/* Known but not here: another code than broken, which the last two are.      */
static void later_versions_are_unsupported(void)
{
    static const struct { int at; uint32_t value; } later[] = {
        {AT_FORMAT, 1}, {AT_FORMAT, 3}, {AT_VERSION, 5}, {AT_VERSION, 6}, {AT_VERSION, 7},
        {AT_VERSION, 3}, {AT_VERSION, 8}};
    size_t i;
    for (i = 0; i < sizeof later / sizeof *later; i++) {
        model_image m = model_image_new(&base_shape);
        rwkv_error error;
        put32(m.data + later[i].at, later[i].value);
        image_fix_header(&m);
        CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
        CHECK_INT(error.code, i < 5 ? RWKV_ERR_UNSUPPORTED : RWKV_ERR_FORMAT);
        model_image_free(&m);
    }
}

/* A vocabulary of bytes does not become one of 20B by saying so.             */
static void tokenizer_without_its_tables(void)
{
    model_image m = model_image_new(&base_shape);
    rwkv_error error;
    put32(m.data + AT_TOKENIZER, 3);
    image_fix_header(&m);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    CHECK_INT(error.code, RWKV_ERR_FORMAT);
    CHECK_MSG(strstr(error.message, "0 merges"), "%s", error.message);
    model_image_free(&m);
}

/* Of World there must be a trie, even if the counts are right without.       */
static void world_without_a_trie(void)
{
    model_image m = model_image_new(&base_shape);
    uint8_t *v = m.data + m.size - get64(m.data + AT_VOCAB_BYTES);
    const size_t cells = get32(v);
    rwkv_error error;
    put32(v, 0);
    image_cut_vocabulary(&m, 16 + 4 * ((size_t)base_shape.V + 1), 12 * cells);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    CHECK_STR(error.message,
              "vocabulary: 0 cells, 0 merges, 0 words about text: not tokenizer 2");
    put32(v + 12, 1); /* nor a word about text, made of bytes of tokens                */
    put32(v + 4, get32(v + 4) - 4);
    image_fix(&m);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    CHECK_STR(error.message,
              "vocabulary: 0 cells, 0 merges, 1 words about text: not tokenizer 2");
    model_image_free(&m);
}

/* Which number is wrong, and what it should be.                              */
static void sizes_that_do_not_fit(void)
{
    model_image m = model_image_new(&base_shape);
    const uint64_t had = get64(m.data + AT_VOCAB_BYTES), most = (uint64_t)1 << 40;
    rwkv_error error;
    char message[100];
    put64(m.data + AT_FILE_BYTES, m.size + 64);
    image_fix_header(&m);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    snprintf(message, sizeof message, "header: file_bytes is %lu, the dimensions make %lu",
             (unsigned long)m.size + 64, (unsigned long)m.size);
    CHECK_STR(error.message, message);
    put64(m.data + AT_FILE_BYTES, m.size + 1);
    put64(m.data + AT_VOCAB_BYTES, had + 1);
    image_fix_header(&m);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    snprintf(message, sizeof message, "header: vocabulary of %lu bytes for tokenizer 2",
             (unsigned long)had + 1);
    CHECK_STR(error.message, message);
    put64(m.data + AT_FILE_BYTES, m.size - had + most); /* a size that may be      */
    put64(m.data + AT_VOCAB_BYTES, most);
    image_fix_header(&m);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    CHECK_MSG(number_in(error.message, m.size), "%s", error.message); /* the file ends       */
    put64(m.data + AT_VOCAB_BYTES, most + 64);
    image_fix_header(&m);
    CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
    CHECK_STR(error.message, "header: vocabulary of 1099511627840 bytes for tokenizer 2");
    model_image_free(&m);
}

static void magic_and_reserved_bytes(void)
{
    model_image m = model_image_new(&base_shape);
    rwkv_error error;
    int i;
    for (i = 0; i < 8; i++) {
        m.data[i] ^= 0x20;
        image_fix_header(&m);
        CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
        CHECK_INT(error.code, RWKV_ERR_FORMAT);
        m.data[i] ^= 0x20;
    }
    for (i = AT_RESERVED; i < AT_DATA_CRC; i++) {
        m.data[i] = 1;
        image_fix_header(&m);
        CHECK_MSG(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL, "byte %d", i);
        CHECK_INT(error.code, RWKV_ERR_FORMAT);
        CHECK_INT(error.offset, i);
        m.data[i] = 0;
    }
    model_image_free(&m);
}

static int bits_are_possible(rwkv_type type, int matrix, int bits)
{
    if (type == RWKV_TYPE_Q8) return bits == 8;
    if (type == RWKV_TYPE_Q4 && matrix == 6) return bits == 8 || bits == 4; /* by columns */
    if (type == RWKV_TYPE_Q4) return bits == 8 || (bits >= 4 && bits <= 6);
    return bits == 0;
}

/* Every number of bits, for every matrix and type. A possible one that is not the file's
 * makes another size.                                                        */
static void bits_of_the_matrices(void)
{
    shape s = base_shape;
    int type, i, bits;
    s.D = 33;
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_Q4; type++) {
        model_image m;
        s.type = (rwkv_type)type;
        m = model_image_new(&s);
        for (i = 0; i < 8; i++) {
            const uint8_t old = m.data[AT_BITS + i];
            for (bits = 0; bits < 256; bits++) {
                rwkv_error error;
                char expected[80] = "file_bytes";
                rwkv_model *model;
                int possible = bits_are_possible(s.type, i, bits);
                m.data[AT_BITS + i] = (uint8_t)bits;
                image_fix_header(&m);
                model = rwkv_load_memory(m.data, m.size, NULL, &error);
                CHECK_MSG((model != NULL) == (bits == old), "type %d: matrix %d of %d bits", type,
                          i, bits);
                rwkv_free(model);
                if (model) continue;
                if (!possible) {
                    snprintf(expected, sizeof expected,
                             "matrix %d has codes of %d bits, not for type %d", i, bits, type);
                }
                CHECK_INT(error.code, RWKV_ERR_FORMAT);
                CHECK_INT(error.offset, possible ? AT_FILE_BYTES : AT_BITS + i);
                CHECK_MSG(strstr(error.message, expected), "%s in: %s", expected, error.message);
            }
            m.data[AT_BITS + i] = old;
        }
        model_image_free(&m);
    }
}

/* With the checksum as it was every flip is seen.                            */
static void check_every_bit(const shape *s)
{
    model_image m = model_image_new(s);
    int bit;
    for (bit = 0; bit < 8 * HEADER_BYTES; bit++) {
        rwkv_error error;
        rwkv_model *model;
        m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        model = rwkv_load_memory(m.data, m.size, NULL, &error);
        CHECK_MSG(model == NULL, "bit %d of byte %d", bit % 8, bit / 8);
        if (!model) CHECK(error.code == RWKV_ERR_FORMAT || error.code == RWKV_ERR_UNSUPPORTED);
        rwkv_free(model);
        m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    model_image_free(&m);
}

static void every_bit_is_checked(void)
{
    check_every_bit(&base_shape);
    check_every_bit(&code_shape);
}

/* With the checksum made right: refused, or of no consequence. `F_counts`: no other n_ffn
 * makes the same size (which the padding may hide of the other widths).       */
static void check_changed(model_image *m, const char *what, long where, int F_counts)
{
    rwkv_model *model;
    image_fix_header(m);
    model = rwkv_load_memory(m->data, m->size, NULL, NULL);
    if (model) {
        rwkv_info info = rwkv_model_info(model);
        shape s = m->s;
        s.V = info.n_vocab;
        s.D = info.n_embd;
        s.A = info.n_att;
        s.F = info.n_ffn;
        s.L = info.n_layer;
        s.type = info.type;
        CHECK_MSG(shape_tensor_bytes(&s) == shape_tensor_bytes(&m->s) &&
                      info.model_bytes == m->size &&
                      (!F_counts || s.F == m->s.F || has_codes(s.type)),
                  "%s %ld made another size", what, where);
        check_harmless(model, what, where);
        rwkv_free(model);
    }
}

static void check_flipped(model_image *m, int bit, int second)
{
    m->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    if (second >= 0) m->data[second / 8] ^= (uint8_t)(1 << second % 8);
    check_changed(m, second < 0 ? "bit" : "bits from", bit, second < 0);
    m->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    if (second >= 0) m->data[second / 8] ^= (uint8_t)(1 << second % 8);
}

/* Every bit, and pairs of bits of the numbers that sizes are computed from.  */
static void check_flips(const shape *s)
{
    model_image m = model_image_new(s);
    int bit, second, field;
    for (bit = 0; bit < 8 * AT_HEADER_CRC; bit++) check_flipped(&m, bit, -1);
    for (field = AT_TYPE; field < AT_EPS; field += field < AT_FILE_BYTES ? 4 : 8) {
        int width = field < AT_FILE_BYTES ? 32 : 64;
        for (bit = 8 * field; bit < 8 * field + width; bit++) {
            for (second = bit + 1; second < 8 * field + width; second++) {
                check_flipped(&m, bit, second);
            }
        }
    }
    model_image_free(&m);
}

static void flips_with_a_right_checksum(void)
{
    check_flips(&base_shape);
    check_flips(&code_shape);
}

/* Every number of the header, whatever it is for, is 24 extreme ones.         */
static void check_extremes(const shape *s)
{
    static const uint32_t words[24] = {
        0, 1, 2, 5, 6, 63, 64, 65, 4095, 4096, 4097, 65535, 65536, 0xFFFFF, 0x100000, 0x100001,
        0xFFFFFF, 0x1000000, 0x1000001, 0x7FFFFFFF, 0x80000000u, 0x80000001u, 0xFFFFFFFEu,
        0xFFFFFFFFu};
    model_image m = model_image_new(s);
    const uint64_t size = m.size, two = 2, longs[24] = {
        0, 1, 63, 64, 127, 128, size - 1, size + 1, size + 64, two << 30, (two << 31) - 1, two << 31,
        (two << 31) + 1, (two << 31) + size, two << 39, (two << 39) + 64, two << 61, (two << 62) - 1,
        two << 62, (two << 62) + size, 0 - size, ~(uint64_t)63, ~two, ~(uint64_t)0};
    uint8_t old[HEADER_BYTES];
    int at, i;
    memcpy(old, m.data, HEADER_BYTES);
    for (at = 0; at < AT_HEADER_CRC; at += 4) {
        for (i = 0; i < 24; i++) {
            put32(m.data + at, words[i]);
            check_changed(&m, "number at", at, 1);
            memcpy(m.data, old, HEADER_BYTES);
            if (at != AT_FILE_BYTES && at != AT_VOCAB_BYTES) continue;
            put64(m.data + at, longs[i]);
            check_changed(&m, "long number at", at, 1);
            memcpy(m.data, old, HEADER_BYTES);
        }
    }
    rwkv_free(load_image(&m, NULL));
    model_image_free(&m);
}

static void extreme_numbers(void)
{
    check_extremes(&base_shape);
    check_extremes(&code_shape);
}

/* A file of other dimensions than it says: what makes the same size is another model, of
 * which nothing outside is read; what needs more is refused, however the sizes in the header
 * agree with its dimensions; what needs less, in a file that is longer.        */
static void other_shapes(void)
{
    static const int sizes[] = {1, 4, 5, 7, 9, 17};
    enum { N = sizeof sizes / sizeof *sizes };
    shape s = {7, 5, 7, 9, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 1};
    model_image m = model_image_new(&s);
    long same = 0, i;
    for (i = 0; i < 5L * 2 * N * N * N * N; i++) {
        rwkv_error error;
        rwkv_model *model;
        uint64_t bytes;
        long n = i;
        s.V = sizes[n % N], n /= N;
        s.D = sizes[n % N], n /= N;
        s.A = sizes[n % N], n /= N;
        s.F = sizes[n % N], n /= N;
        s.L = 1 + (int)(n % 2);
        s.type = (rwkv_type)(RWKV_TYPE_F32 + n / 2);
        bytes = HEADER_BYTES + shape_tensor_bytes(&s);
        header_write(m.data, &s, 0, 1);
        model = rwkv_load_memory(m.data, m.size, NULL, &error);
        CHECK_MSG((model != NULL) == (bytes <= m.size), "shape %ld of %lu bytes: %s", i,
                  (unsigned long)bytes, error.message);
        if (!model) CHECK_MSG(strstr(error.message, "file ends at byte "), "%s", error.message);
        if (bytes == m.size) check_harmless(model, "shape", i);
        same += bytes == m.size;
        rwkv_free(model);
        if (bytes == m.size) continue;
        put64(m.data + AT_FILE_BYTES, m.size); /* as the file is                     */
        image_fix_header(&m);
        CHECK(rwkv_load_memory(m.data, m.size, NULL, &error) == NULL);
        CHECK_MSG(number_in(error.message, m.size) && number_in(error.message, bytes), "shape %ld: %s", i,
                  error.message);
        CHECK_INT(error.offset, AT_FILE_BYTES);
    }
    CHECK_MSG(same > 50, "%ld shapes", same);
    model_image_free(&m);
}

/* Every tensor bit may be anything: it loads, and stays within its memory.   */
static void check_weights(const shape *s)
{
    model_image m = model_image_new(s);
    uint64_t end = HEADER_BYTES + shape_tensor_bytes(s), seed = 1;
    int i;
    for (i = 0; i < 1000; i++) {
        uint64_t bit = 8 * HEADER_BYTES + random_bits(&seed) % (8 * (end - HEADER_BYTES));
        rwkv_model *model;
        m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        model = load_image(&m, NULL);
        if (model && i % 10 == 0) check_harmless(model, "weight bit", (long)bit);
        rwkv_free(model);
        m.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    model_image_free(&m);
}

static void flips_in_the_weights(void)
{
    check_weights(&base_shape);
    check_weights(&code_shape);
}

/* ---- rwkv_verify -------------------------------------------------------- */

/* What is sound is found sound; any bit after the header that is not what it was is found
 * when the model is loaded or here, and the message names both checksums.    */
static void check_verify(model_image *m, const char *path)
{
    rwkv_model *model = load_image(m, NULL);
    rwkv_error error;
    uint64_t seed = 1, bit = 8 * HEADER_BYTES;
    int i, refused = 0, found = 0;
    memset(&error, 0xC3, sizeof error);
    CHECK_INT(rwkv_verify(model, &error), RWKV_OK);
    CHECK(error.code == RWKV_OK && error.message[0] == 0);
    CHECK_INT(rwkv_verify(model, NULL), RWKV_OK);
    rwkv_free(model);
    for (i = 0; i < 300; i++) {
        m->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        model = rwkv_load_memory(m->data, m->size, NULL, &error);
        if (!model) {
            refused++;
        } else {
            found++;
            CHECK_INT(rwkv_verify(model, NULL), RWKV_ERR_FORMAT);
            CHECK_INT(rwkv_verify(model, &error), RWKV_ERR_FORMAT);
            CHECK_INT(error.code, RWKV_ERR_FORMAT);
            CHECK_INT(error.offset, HEADER_BYTES);
            CHECK_MSG(number_in(error.message, get32(m->data + AT_DATA_CRC)), "%s", error.message);
            CHECK_MSG(number_in(error.message, crc32_bytes(0, m->data + HEADER_BYTES,
                                                           m->size - HEADER_BYTES)),
                      "%s", error.message);
        }
        rwkv_free(model);
        m->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bit = i == 0 ? 8 * (uint64_t)m->size - 1
                     : 8 * HEADER_BYTES + random_bits(&seed) % (8 * (m->size - HEADER_BYTES));
    }
    CHECK_MSG(found > 50 && found + refused == 300, "%d found, %d refused", found, refused);
    if (!path) return;
    for (i = 0; i < 2; i++) { /* mapped, then read                               */
        rwkv_options o = options_isa(NULL);
        o.flags = i ? RWKV_FLAG_NO_MMAP : 0;
        model = rwkv_load(path, &o, &error);
        CHECK_INT(rwkv_verify(model, &error), RWKV_OK);
        rwkv_free(model);
    }
}

static void verify_finds_any_bit(void)
{
    shape s = base_shape;
    rwkv_error error;
    char path[512];
    int type;
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_Q4; type++) {
        model_image m;
        s.type = (rwkv_type)type;
        s.tokenizer = type % 2 ? TOKENIZER_NONE : TOKENIZER_WORLD;
        m = model_image_new(&s);
        temporary_path(path);
        CHECK_INT(model_write_file(&s, path), 0);
        check_verify(&m, path);
        remove(path);
        model_image_free(&m);
    }
    CHECK_INT(rwkv_verify(NULL, &error), RWKV_ERR_ARGUMENT);
    CHECK_MSG(strstr(error.message, "model") != NULL, "%s", error.message);
    CHECK_INT(rwkv_verify(NULL, NULL), RWKV_ERR_ARGUMENT);
}

/* The worst that all exponents, scales or codes of every matrix can be, and the scales
 * of the embedding: it runs on every isa and in every way, to the same numbers; what is
 * NaN may have other bits.                                                   */
enum { HOSTILE_TOKENS = 20 };

static void set_bytes(model_image *m, const tensor *t, int part, int byte, uint64_t *seed)
{
    uint8_t *begin = m->data + t->offset + (part == 0 ? 0 : part == 1 ? t->scales : t->codes);
    uint64_t panels = round_up((uint64_t)t->R, 16) / 16;
    size_t n = (size_t)(part == 0 ? panels : panels * t->blocks * 16);
    int r;
    if (t->kind == ROWS) {
        for (r = 0; r < t->R && part == 1; r++) {
            put16(m->data + tensor_scale_at(t, r, 0),
                  byte < 0 ? (uint32_t)random_bits(seed) : (uint32_t)byte * 257);
        }
        return;
    }
    if (part == 2) n = (size_t)(t->bytes - t->codes);
    if (byte < 0) random_fill(begin, n, seed);
    else memset(begin, byte, n);
}

static void check_hostile(const model_image *m, int part, int byte)
{
    size_t V = (size_t)m->s.V, i;
    float *first = (float *)test_alloc(sizeof(float) * V * HOSTILE_TOKENS);
    float *all = (float *)test_alloc(sizeof(float) * V * HOSTILE_TOKENS);
    int tokens[HOSTILE_TOKENS], k, t;
    const char *isa;
    random_tokens(7, m->s.V, tokens, HOSTILE_TOKENS);
    for (k = 0; (isa = rwkv_isa_available(k)) != NULL; k++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model = load_image(m, &o);
        rwkv_state *state = rwkv_state_new(model);
        for (t = 0; t < HOSTILE_TOKENS; t++) {
            const float *logits = rwkv_eval(tokens[t], state);
            if (k == 0) memcpy(first + V * (size_t)t, logits, sizeof(float) * V);
        }
        rwkv_state_reset(state);
        CHECK_INT(rwkv_eval_all(tokens, HOSTILE_TOKENS, state, all), RWKV_OK);
        for (i = 0; i < V * HOSTILE_TOKENS; i++) {
            int same = memcmp(&all[i], &first[i], sizeof *all) == 0 ||
                       (all[i] != all[i] && first[i] != first[i]);
            if (!CHECK_MSG(same, "%s, part %d of %d: logit %lu is %g, expected %g", isa, part, byte,
                           (unsigned long)i, (double)all[i], (double)first[i])) break;
        }
        rwkv_state_free(state);
        rwkv_free(model);
    }
    free(first);
    free(all);
}

static void hostile_codes(void)
{
    static const int bytes[] = {0xFF, 0x7F, 0x80, 0, 0xF8, -1};
    static const shape s = {50, 33, 40, 70, 2, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 1};
    uint64_t seed = 1;
    int part, i, k, each;
    for (part = 0; part < 4; part++) { /* 3: all of them */
        for (k = 0; k < 6; k++) {
            model_image m = model_image_new(&s);
            for (i = 0; i < tensor_count(&s); i++) {
                tensor t = tensor_form(&s, i);
                t = tensor_find(&s, t.role, t.layer);
                if (!t.bits) continue;
                for (each = 0; each < 3; each++) {
                    if (part == 3 || part == each) set_bytes(&m, &t, each, bytes[k], &seed);
                }
            }
            image_fix(&m);
            check_hostile(&m, part, bytes[k]);
            model_image_free(&m);
        }
    }
}

/* ---- lengths ------------------------------------------------------------ */

/* In memory of exactly that size, so that a sanitizer sees any read beyond.  */
static void check_cut(const model_image *m, size_t size)
{
    rwkv_options o = options_isa(NULL);
    rwkv_error error;
    test_heap heap;
    uint8_t *cut = (uint8_t *)test_alloc(size);
    memset(&heap, 0, sizeof heap);
    memset(&error, 0, sizeof error);
    o.allocator.alloc = heap_alloc;
    o.allocator.free = heap_free;
    o.allocator.user = &heap;
    memcpy(cut, m->data, size);
    CHECK_MSG(rwkv_load_memory(cut, size, &o, &error) == NULL, "%lu of %lu bytes",
              (unsigned long)size, (unsigned long)m->size);
    CHECK_INT(error.code, RWKV_ERR_FORMAT);
    CHECK_MSG(number_in(error.message, size), "%lu bytes: %s", (unsigned long)size, error.message);
    CHECK((strstr(error.message, "header: file ends") != NULL) == (size < HEADER_BYTES));
    CHECK(heap.calls > 0 && heap.live == 0 && heap.errors == 0);
    free(cut);
}

static void truncated_in_memory(void)
{
    model_image m = model_image_new(&base_shape);
    uint64_t seed = 2;
    size_t size;
    int i;
    for (size = 0; size <= HEADER_BYTES; size++) check_cut(&m, size);
    for (i = 0; i < 2000; i++) {
        check_cut(&m, HEADER_BYTES + (size_t)(random_bits(&seed) % (m.size - HEADER_BYTES)));
    }
    for (size = m.size - 70; size < m.size; size++) check_cut(&m, size);
    model_image_free(&m);
}

static const shape tiny_shapes[] = {
    {3, 2, 2, 2, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {3, 2, 2, 2, 1, RWKV_TYPE_F16, TOKENIZER_BYTES, PLAIN, 1},
    {3, 2, 2, 2, 1, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 1},
    {3, 2, 2, 2, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 1},
    {3, 2, 2, 2, 1, RWKV_TYPE_Q4, TOKENIZER_BYTES, PLAIN, 1},
    {260, 2, 2, 2, 1, RWKV_TYPE_F16, TOKENIZER_WORLD, PLAIN, 1},
};
enum { N_TINY = sizeof tiny_shapes / sizeof *tiny_shapes };

/* Every length there is.                                                     */
static void truncated_at_every_byte(void)
{
    int i;
    for (i = 0; i < N_TINY; i++) {
        model_image m = model_image_new(&tiny_shapes[i]);
        size_t size;
        for (size = 0; size < m.size; size++) check_cut(&m, size);
        rwkv_free(load_image(&m, NULL));
        model_image_free(&m);
    }
}

/* The last byte of each tensor missing: its name, and how far it would reach.  */
static void truncated_at_every_tensor(void)
{
    static const char *const names[N_ROLES] = {
        "emb.weight", "ln0.weight", "ln0.bias", "ln1.weight", "ln1.bias", "att.time_mix_r",
        "att.time_mix_k", "att.time_mix_v", "att.receptance.weight", "att.key.weight",
        "att.value.weight", "att.time_first", "att.time_decay", "att.output.weight", "ln2.weight",
        "ln2.bias", "ffn.time_mix_r", "ffn.time_mix_k", "ffn.receptance.weight", "ffn.key.weight",
        "ffn.value.weight", "ln_out.weight", "ln_out.bias", "head.weight"};
    shape s = base_shape;
    int type, i;
    for (type = RWKV_TYPE_F32; type <= RWKV_TYPE_Q4; type++) {
        model_image m;
        s.type = (rwkv_type)type;
        m = model_image_new(&s);
        for (i = 0; i < tensor_count(&s); i++) {
            tensor t = tensor_form(&s, i);
            rwkv_error error;
            char expected[100];
            int n = 0;
            t = tensor_find(&s, t.role, t.layer);
            if (t.role >= LN1_WEIGHT && t.role <= FFN_VALUE) {
                n = snprintf(expected, sizeof expected, "block %d ", t.layer);
            }
            snprintf(expected + n, sizeof expected - (size_t)n,
                     "%s: file ends at byte %lu, needs %lu", names[t.role],
                     (unsigned long)(t.offset + t.bytes - 1), (unsigned long)(t.offset + t.bytes));
            CHECK(rwkv_load_memory(m.data, (size_t)(t.offset + t.bytes - 1), NULL, &error) == NULL);
            CHECK_INT(error.code, RWKV_ERR_FORMAT);
            CHECK_STR(error.message, expected);
            CHECK(rwkv_load_memory(m.data, (size_t)(t.offset + t.bytes), NULL, &error) == NULL);
            n += (int)strlen(names[t.role]) + 1; /* that one is whole, another is missing */
            CHECK_MSG(strncmp(error.message, expected, (size_t)n) != 0, "%s", error.message);
            check_cut(&m, (size_t)t.offset);
            check_cut(&m, (size_t)(t.offset + t.scales));
            check_cut(&m, (size_t)(t.offset + t.codes + 1));
        }
        model_image_free(&m);
    }
}

static void check_file(const char *path, const void *data, size_t size, rwkv_result expected)
{
    uint32_t flags;
    if (!CHECK_INT(write_file(path, data, size), 0)) return;
    for (flags = 0; flags <= RWKV_FLAG_NO_MMAP; flags++) {
        test_heap heap;
        rwkv_options o = options_isa(NULL);
        rwkv_error error;
        rwkv_model *model;
        memset(&heap, 0, sizeof heap);
        memset(&error, 0, sizeof error);
        o.flags = flags;
        o.allocator.alloc = heap_alloc;
        o.allocator.free = heap_free;
        o.allocator.user = &heap;
        model = rwkv_load(path, &o, &error);
        CHECK_MSG((model == NULL) == (expected != RWKV_OK), "flags %u, %lu bytes: %s",
                  (unsigned)flags, (unsigned long)size, error.message);
        if (!model) CHECK_INT(error.code, expected);
        rwkv_free(model);
        CHECK_INT(heap.live, 0);
        CHECK_INT(heap.errors, 0);
    }
    remove(path);
}

static void truncated_files(void)
{
    model_image m = model_image_new(&tiny_shapes[1]);
    char path[512];
    size_t size;
    temporary_path(path);
    for (size = 0; size < m.size; size++) check_file(path, m.data, size, RWKV_ERR_FORMAT);
    check_file(path, m.data, m.size, RWKV_OK);
    model_image_free(&m);
}

/* Refused at the end of a file, where they mean that something is wrong; in memory
 * a model may lie before other things.                                       */
static void trailing_bytes(void)
{
    static const size_t more[] = {1, 4, 63, 64, 4096};
    model_image m = model_image_new(&base_shape);
    char path[512];
    void *raw;
    uint8_t *longer = aligned_bytes(m.size + 4096, &raw);
    size_t i;
    temporary_path(path);
    memset(longer, 0, m.size + 4096);
    memcpy(longer, m.data, m.size);
    for (i = 0; i < sizeof more / sizeof *more; i++) {
        rwkv_model *model;
        check_file(path, longer, m.size + more[i], RWKV_ERR_FORMAT);
        model = rwkv_load_memory(longer, m.size + more[i], NULL, NULL);
        CHECK(model != NULL);
        CHECK_INT(rwkv_model_info(model).model_bytes, m.size);
        rwkv_free(model);
    }
    free(raw);
    model_image_free(&m);
}

static void not_a_model(void)
{
    static const char *texts[] = {"", "RWKV", "GGUF\3\0\0\0", "PK\3\4", "fmgg"};
    static const size_t lengths[] = {0, 4, 8, 4, 4};
    char path[512], junk[4096];
    rwkv_error error;
    size_t i;
    temporary_path(path);
    for (i = 0; i < 5; i++) check_file(path, texts[i], lengths[i], RWKV_ERR_FORMAT);
    for (i = 0; i < sizeof junk; i++) junk[i] = (char)(i * 37);
    CHECK(rwkv_load_memory(junk, sizeof junk, NULL, &error) == NULL);
    CHECK_INT(error.offset, 0);
    check_file(path, junk, sizeof junk, RWKV_ERR_FORMAT);
    memset(junk, 0, sizeof junk);
    check_file(path, junk, sizeof junk, RWKV_ERR_FORMAT);
}

/* ---- ways to load ------------------------------------------------------- */

static void check_same_model(rwkv_model *a, rwkv_model *b)
{
    rwkv_state *x = rwkv_state_new(a), *y = rwkv_state_new(b);
    int i;
    for (i = 0; i < 20; i++) {
        CHECK(rwkv_eval(i * 17, x) != NULL);
        CHECK(rwkv_eval(i * 17, y) != NULL);
    }
    same_states(x, y, &base_shape); /* code_shape has the same dimensions          */
    rwkv_state_free(x);
    rwkv_state_free(y);
}

static void check_ways(const shape *s)
{
    model_image m = model_image_new(s);
    rwkv_model *memory = load_image(&m, NULL), *mapped, *read;
    rwkv_options o = options_isa(NULL);
    rwkv_error error;
    char path[512];
    temporary_path(path);
    CHECK_INT(model_write_file(s, path), 0);
    mapped = rwkv_load(path, NULL, &error);
    CHECK_MSG(mapped != NULL, "%s", error.message);
    o.flags = RWKV_FLAG_NO_MMAP;
    read = rwkv_load(path, &o, &error);
    CHECK_MSG(read != NULL, "%s", error.message);
    CHECK_INT(rwkv_model_info(mapped).model_bytes, m.size);
    CHECK_INT(rwkv_model_info(read).model_bytes, m.size);
    check_same_model(mapped, memory);
    check_same_model(read, memory);
    rwkv_free(mapped);
    rwkv_free(read);
    rwkv_free(memory);
    remove(path);
    model_image_free(&m);
}

static void mapped_read_and_borrowed_are_one(void)
{
    check_ways(&base_shape);
    check_ways(&code_shape);
}

static void check_addresses(const shape *s)
{
    model_image m = model_image_new(s);
    rwkv_model *memory = load_image(&m, NULL);
    void *raw;
    uint8_t *base = aligned_bytes(m.size + 64, &raw);
    int off;
    for (off = 1; off < 64; off++) {
        rwkv_error error;
        rwkv_model *model;
        memset(&error, 0, sizeof error);
        memcpy(base + off, m.data, m.size);
        model = rwkv_load_memory(base + off, m.size, NULL, &error);
        if (off % 4 == 0) {
            CHECK_MSG(model != NULL, "offset %d: %s", off, error.message);
            if (model) check_same_model(model, memory);
        } else {
            CHECK_MSG(model == NULL, "offset %d", off);
            CHECK_INT(error.code, RWKV_ERR_ARGUMENT);
            CHECK_MSG(number_in(error.message, 4), "%s", error.message);
        }
        rwkv_free(model);
    }
    free(raw);
    rwkv_free(memory);
    model_image_free(&m);
}

static void data_at_any_multiple_of_4(void)
{
    check_addresses(&base_shape);
    check_addresses(&code_shape);
}

/* ---- the vocabulary section --------------------------------------------- */

static uint8_t *vocabulary_at(const model_image *m)
{
    return m->data + m->size - (size_t)get64(m->data + AT_VOCAB_BYTES);
}

/* Such a message about byte `offset` of the vocabulary, or any if it is NULL. */
static void check_vocabulary_message(model_image *m, size_t at, uint32_t value, const char *what,
                                     const char *message, size_t offset)
{
    uint8_t *p = vocabulary_at(m) + at;
    uint32_t old = get32(p);
    rwkv_error error;
    memset(&error, 0, sizeof error);
    put32(p, value);
    image_fix(m);
    CHECK_MSG(rwkv_load_memory(m->data, m->size, NULL, &error) == NULL, "%s = %lu", what,
              (unsigned long)value);
    CHECK_INT(error.code, RWKV_ERR_FORMAT);
    CHECK_MSG(strstr(error.message, "vocabulary"), "%s: %s", what, error.message);
    CHECK_MSG(error.offset >= m->size - get64(m->data + AT_VOCAB_BYTES), "%s: offset %lu", what,
              (unsigned long)error.offset);
    if (message) {
        CHECK_STR(error.message, message);
        CHECK_INT(error.offset, m->size - get64(m->data + AT_VOCAB_BYTES) + offset);
    }
    put32(p, old);
    image_fix(m);
}

static void check_vocabulary_refused(model_image *m, size_t at, uint32_t value, const char *what)
{
    check_vocabulary_message(m, at, value, what, NULL, 0);
}

static void vocabulary_lies(void)
{
    static const uint32_t extremes[] = {0, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFFu, 0x15555555u,
                                        0x55555555u, 0x40000000u};
    model_image m = model_image_new(&base_shape);
    uint32_t V = (uint32_t)base_shape.V, n_cells = m.vocab.n_cells, bytes = m.vocab.offset[V], i;
    char message[100];
    size_t cells = 16 + 4 * ((size_t)V + 1);
    for (i = 0; i < sizeof extremes / sizeof *extremes; i++) {
        check_vocabulary_refused(&m, 0, extremes[i], "n_cells");
        check_vocabulary_refused(&m, 4, extremes[i], "n_bytes");
        if (extremes[i]) check_vocabulary_refused(&m, 8, extremes[i], "n_merges");
        if (extremes[i]) check_vocabulary_refused(&m, 12, extremes[i], "reserved");
    }
    check_vocabulary_refused(&m, 0, n_cells + 6, "n_cells");
    check_vocabulary_refused(&m, 0, n_cells - 6, "n_cells");
    check_vocabulary_refused(&m, 4, bytes + 1, "n_bytes");
    check_vocabulary_refused(&m, 4, bytes - 1, "n_bytes");
    check_vocabulary_refused(&m, 16, 1, "first offset");
    put32(vocabulary_at(&m) + 16, 1); /* the first tokens may be empty, but not there  */
    check_vocabulary_refused(&m, 20, 1, "first two offsets");
    put32(vocabulary_at(&m) + 16, 0);
    snprintf(message, sizeof message, "vocabulary: the tokens have %lu bytes, there are %lu",
             (unsigned long)bytes - 1, (unsigned long)bytes);
    check_vocabulary_message(&m, cells - 4, bytes - 1, "last offset", message, 4);
    check_vocabulary_refused(&m, cells - 4, bytes + 1, "last offset");
    for (i = 1; i < V; i += 37) {
        check_vocabulary_refused(&m, 16 + 4 * i, 0xFFFFFFFFu, "offset");
        check_vocabulary_refused(&m, 16 + 4 * i, bytes + 1, "offset");
        if (m.vocab.offset[i - 1] > 0) {
            check_vocabulary_refused(&m, 16 + 4 * i, m.vocab.offset[i - 1] - 1, "descending");
        }
    }
    for (i = 0; i < n_cells; i += 61) {
        check_vocabulary_refused(&m, cells + 12 * i + 8, V + 1, "token of a cell");
        check_vocabulary_refused(&m, cells + 12 * i + 8, 0xFFFFFFFFu, "token of a cell");
    }
    check_vocabulary_message(&m, cells + 4, 5, "parent of the root",
                             "vocabulary: the trie's root has parent 5 and token number 0", cells);
    check_vocabulary_message(&m, cells + 8, 1, "token of the root",
                             "vocabulary: the trie's root has parent 4294967295 and token number 1",
                             cells);
    rwkv_free(load_image(&m, NULL));
    model_image_free(&m);
}

/* One token of so many bytes, in place of all those that begin before.       */
static rwkv_model *load_long_token(uint32_t length, rwkv_error *error)
{
    model_image m = model_image_new(&base_shape);
    uint8_t *offset = vocabulary_at(&m) + 16;
    uint32_t i, V = (uint32_t)base_shape.V;
    rwkv_model *model;
    CHECK(m.vocab.offset[V] > length);
    for (i = 1; m.vocab.offset[i] < length; i++) put32(offset + 4 * i, 0);
    put32(offset + 4 * i, length);
    image_fix(&m);
    model = rwkv_load_memory(m.data, m.size, NULL, error);
    if (model) {
        int size;
        CHECK(rwkv_token_bytes(model, (int)i - 1, &size) != NULL);
        CHECK_INT(size, length);
        rwkv_free(model);
    }
    model_image_free(&m);
    return model;
}

static void longest_token(void)
{
    rwkv_error error;
    CHECK(load_long_token(1024, &error) != NULL);
    CHECK_INT(error.code, RWKV_OK);
    CHECK(load_long_token(1025, &error) == NULL);
    CHECK_INT(error.code, RWKV_ERR_FORMAT);
    CHECK_MSG(strstr(error.message, "1025") && strstr(error.message, "1024"), "%s", error.message);
}

/* Whatever else is wrong there: refused or in range, and it ends.            */
static void random_changes_in_the_vocabulary(void)
{
    static const uint32_t odd[] = {0, 1, 255, 256, 0x7FFFFFFF, 0x80000000u, 0xFFFFFF00u,
                                   0xFFFFFFFEu, 0xFFFFFFFFu};
    model_image m = model_image_new(&base_shape), good = model_image_new(&base_shape);
    uint64_t seed = 5, bytes = get64(m.data + AT_VOCAB_BYTES);
    int round, k;
    for (round = 0; round < 3000; round++) {
        rwkv_model *model;
        for (k = random_below(&seed, 6); k >= 0; k--) {
            uint8_t *p = vocabulary_at(&m) + random_bits(&seed) % (bytes / 4) * 4;
            switch (random_below(&seed, 3)) {
            case 0:  *p ^= (uint8_t)(1 << random_below(&seed, 8)); break;
            case 1:  put32(p, odd[random_below(&seed, 9)]); break;
            default: put32(p, (uint32_t)random_below(&seed, (int)m.vocab.n_cells + 1)); break;
            }
        }
        image_fix(&m);
        model = rwkv_load_memory(m.data, m.size, NULL, NULL);
        if (model) check_harmless(model, "round", round);
        rwkv_free(model);
        memcpy(m.data, good.data, m.size);
    }
    model_image_free(&m);
    model_image_free(&good);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(every_field_has_its_error);
    RUN(any_eps_from_0_to_1);
    RUN(later_versions_are_unsupported);
    RUN(tokenizer_without_its_tables);
    RUN(magic_and_reserved_bytes);
    RUN(bits_of_the_matrices);
    RUN(every_bit_is_checked);
    RUN(world_without_a_trie);
    RUN(sizes_that_do_not_fit);
    RUN(flips_with_a_right_checksum);
    RUN(extreme_numbers);
    RUN(other_shapes);
    RUN(flips_in_the_weights);
    RUN(hostile_codes);
    RUN(truncated_in_memory);
    RUN(truncated_at_every_byte);
    RUN(truncated_at_every_tensor);
    RUN(truncated_files);
    RUN(trailing_bytes);
    RUN(not_a_model);
    RUN(mapped_read_and_borrowed_are_one);
    RUN(data_at_any_multiple_of_4);
    RUN(verify_finds_any_bit);
    RUN(vocabulary_lies);
    RUN(longest_token);
    RUN(random_changes_in_the_vocabulary);
    return test_end();
}
