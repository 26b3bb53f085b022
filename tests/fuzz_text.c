/* fuzz_text.c: any text, tokenized and put together again, against ref_text.h.
 *
 * The first byte of an input: bits 0-1 choose the vocabulary (bytes, World-like,
 * 20B-like twice), 2-4 how often the text is repeated (1, 2, 4 ... 128), so that
 * words become longer than a window, 5 asks for special tokens. The rest is the text,
 * which also goes through rwkv_utf8_push, whole and in pieces.
 * Run from the repository root.                                              */
#include "fuzz.h"

enum { LONGEST = 3500, VOCABULARIES = 3 };

static struct {
    model_image image; /* stays as long as the program                         */
    rwkv_model *model;
    ref_text    ref;
} vocabularies[VOCABULARIES];

static void load(void)
{
    static const shape bytes = {256, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_BYTES, PLAIN, 1};
    static const shape world = {600, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_WORLD, PLAIN, 2};
    int i;
    vocabularies[0].image = model_image_new(&bytes);
    vocabularies[1].image = model_image_new(&world);
    vocabularies[2].image = image_from_file("tests/fixtures/bpe.rwkv");
    for (i = 0; i < VOCABULARIES; i++) {
        const model_image *m = &vocabularies[i].image;
        FUZZ_CHECK(m->data);
        vocabularies[i].model = load_image(m, NULL);
        FUZZ_CHECK(vocabularies[i].model);
        vocabularies[i].ref = ref_text_of(m->data, m->size);
    }
}

/* The text of the tokens is the text; `n` of them.                           */
static void check_back(const rwkv_model *model, const ref_text *ref, const uint8_t *text,
                       size_t length, const int *tokens, int n)
{
    size_t should, at = 0;
    uint8_t *same = ref_normalize(ref, text, length, &should);
    int i, size;
    for (i = 0; i < n; i++, at += (size_t)size) {
        const char *bytes = rwkv_token_bytes(model, tokens[i], &size);
        FUZZ_CHECK(bytes && size > 0 && at + (size_t)size <= should);
        FUZZ_CHECK(memcmp(same + at, bytes, (size_t)size) == 0);
    }
    FUZZ_CHECK(at == should);
    free(same);
}

static void check(const rwkv_model *model, const ref_text *ref, const uint8_t *text, size_t length,
                  int special)
{
    int *expected, should = ref_tokenize(ref, text, length, special, &expected), n, i;
    int *tokens = (int *)test_alloc(sizeof *tokens * (3 * length + 1)), room;
    int (*call)(const rwkv_model *, const char *, size_t, int *, int) =
        special ? rwkv_tokenize_special : rwkv_tokenize;
    n = call(model, (const char *)text, length, tokens, (int)(3 * length));
    FUZZ_CHECK(n == should);
    FUZZ_CHECK(call(model, (const char *)text, length, NULL, 0) == n);
    for (i = 0; i < n; i++) FUZZ_CHECK(tokens[i] == expected[i]);
    if (n >= 0 && !special) check_back(model, ref, text, length, tokens, n);
    if (n > 0) { /* too little room */
        room = n / 2;
        tokens[room] = -7;
        FUZZ_CHECK(call(model, (const char *)text, length, tokens, room) == n);
        FUZZ_CHECK(tokens[room] == -7);
    }
    free(tokens);
    free(expected);
}

/* Whole characters come out, the same ones however the text is cut.          */
static void check_stream(const uint8_t *text, size_t length)
{
    const int room = 3 * ((int)length + 3);
    char *once = (char *)test_alloc((size_t)room);
    uint32_t *points = (uint32_t *)test_alloc((size_t)room * sizeof *points);
    rwkv_utf8 stream = {{0, 0, 0}, 0};
    int n, m = 0, size;
    size_t at, step;
    n = rwkv_utf8_push(&stream, (const char *)text, (int)length, once, room);
    FUZZ_CHECK(n >= 0 && stream.n_tail <= 3);
    n += rwkv_utf8_push(&stream, NULL, 0, once + n, room - n);
    FUZZ_CHECK(stream.n_tail == 0 && n <= room);
    for (at = 0; at < length; at += step) {
        char out[3 * (7 + 3)];
        step = 1 + text[at] % 7u;
        if (step > length - at) step = length - at;
        size = rwkv_utf8_push(&stream, (const char *)text + at, (int)step, out, (int)sizeof out);
        FUZZ_CHECK(size >= 0 && m + size <= n && memcmp(once + m, out, (size_t)size) == 0);
        m += size;
    }
    FUZZ_CHECK(m + rwkv_utf8_push(&stream, NULL, 0, once + m, room - m) == n);
    for (at = 0, size = (int)ref_decode((uint8_t *)once, (size_t)n, points); size-- > 0; at++)
        FUZZ_CHECK(points[at] < REF_BAD_BYTE);
    for (at = 0, size = (int)ref_decode(text, length, points); size-- > 0; at++)
        if (points[at] >= REF_BAD_BYTE) break;
    if (size < 0) FUZZ_CHECK(n == (int)length && memcmp(once, text, length) == 0);
    free(points);
    free(once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t times, length, i;
    uint8_t *text;
    int which;
    if (!vocabularies[0].model) load();
    if (size < 1) return 0;
    which = data[0] & 3 ? (data[0] & 3) - 1 : 2;
    times = (size_t)1 << (data[0] >> 2 & 7);
    length = size - 1;
    if (length > LONGEST) length = LONGEST;
    while (times > 1 && times * length > LONGEST) times /= 2;
    text = (uint8_t *)test_alloc(length * times); /* nothing after it */
    for (i = 0; i < times; i++) memcpy(text + i * length, data + 1, length);
    check_stream(text, length * times);
    check(vocabularies[which].model, &vocabularies[which].ref, text, length * times,
          data[0] >> 5 & 1);
    free(text);
    return 0;
}
