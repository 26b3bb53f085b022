/* fuzz_vocab.c: a hostile vocabulary in a model file that is right otherwise: it is
 * refused, or texts are tokenized to tokens that exist, and it ends.
 *
 * Input: byte 0: bits 0-1 the tokenizer, 20B for 0; bit 2: the rest is the vocabulary section
 * as it is, for a byte of n_vocab - 1 before it. Otherwise the rest says what is in a section
 * whose lengths fit: see make_section; what is left over is also tokenized.  */
#include "fuzz.h"

enum { MOST_WORDS = 1 << 15, BLOCK_WORDS = 8704 / 2, RAW = 4, UNSORTED = 8 };

/* ---- what the input says ------------------------------------------------ */

/* Mostly below `limit`; sometimes any number.                                */
static uint32_t next_number(source *s, uint32_t limit)
{
    uint32_t b = next_byte(s), low;
    if (b < 0xD0) return b % limit;
    low = next_byte(s);
    if (b < 0xF8) return ((b - 0xD0) << 8 | low) % limit;
    if (b < 0xFC) return low | (b & 3) << 30;
    if (b < 0xFE) return limit + low % 3 - 1;
    return 0xFFFFFFFFu;
}

/* ---- a section ---------------------------------------------------------- */

static uint32_t word[MOST_WORDS]; /* the section but for its bytes             */
static uint32_t n_words;

static uint32_t *take(uint32_t n)
{
    uint32_t *p = word + n_words;
    FUZZ_CHECK(n_words + n <= MOST_WORDS);
    n_words += n;
    memset(p, 0, sizeof *p * n);
    return p;
}

/* Entries of `step` words, by the first two (insertion sort).                */
static void sort_entries(uint32_t *p, uint32_t n, uint32_t step)
{
    uint32_t i, k, entry[3];
    for (i = 1; i < n; i++) {
        memcpy(entry, p + i * step, sizeof *p * step);
        for (k = i; k > 0 && (p[(k - 1) * step] > entry[0] || (p[(k - 1) * step] == entry[0] &&
                                                              p[(k - 1) * step + 1] > entry[1])); k--) {
            memcpy(p + k * step, p + (k - 1) * step, sizeof *p * step);
        }
        memcpy(p + k * step, entry, sizeof *p * step);
    }
}

/* Lengths of tokens from 0 to 3; returns where they end.                     */
static uint32_t make_offsets(source *s, uint32_t V)
{
    uint32_t *offset = take(V + 1), i;
    for (i = 0; i < V; i++) offset[i + 1] = offset[i] + (i % 4 ? 1 : next_byte(s) & 3);
    return offset[V];
}

/* All bytes but perhaps one are tokens; and some cells after them.           */
static void make_trie(source *s, uint32_t V, uint32_t n_cells)
{
    uint32_t *cell = take(3 * n_cells), i, missing = next_byte(s);
    for (i = 0; i < n_cells; i++) {
        cell[3 * i] = i ? 0xFFFFFFFFu : 1;
        cell[3 * i + 1] = i ? 0 : 0xFFFFFFFFu;
        if (i > 0 && i <= 256 && (i - 1 != missing || missing == 0)) cell[3 * i + 2] = 1 + i % V;
    }
    for (i = 257; i < n_cells; i++) { /* a child of another cell */
        uint32_t parent = next_number(s, i);
        cell[3 * i + 1] = parent;
        cell[3 * i + 2] = next_number(s, V + 1);
        if (parent > 0 && parent < n_cells) {
            cell[3 * parent] = i - (uint8_t)"the a\xCC\x81"[next_byte(s) % 7];
        }
    }
}

static void make_merges(source *s, uint32_t V, uint32_t n_pairs, int sorted)
{
    uint32_t *first = take(V + 1), *pair, list[3 * 256], i;
    for (i = 0; i < n_pairs; i++) {
        list[3 * i] = next_number(s, V) % V;
        list[3 * i + 1] = next_number(s, V);
        list[3 * i + 2] = next_number(s, V);
        for (pair = first + list[3 * i] + 1; pair <= first + V; pair++) ++*pair;
    }
    sort_entries(list, n_pairs, 3);
    pair = take(2 * n_pairs);
    for (i = 0; i < n_pairs; i++) {
        pair[2 * i] = list[3 * (sorted ? i : n_pairs - 1 - i) + 1];
        pair[2 * i + 1] = list[3 * i + 2];
    }
}

/* Block 0 is ASCII, block 1 marks, and both are changed here and there.      */
static void make_properties(source *s, uint32_t n_blocks)
{
    uint32_t *block = take(BLOCK_WORDS), *property = take(64 * n_blocks), i, n, c;
    for (i = 0; i < 128; i++) {
        n = i >= 'a' && i <= 'z' ? 1 : i >= '0' && i <= '9' ? 2 : i <= ' ' ? 3 : 0;
        property[i / 2] |= n << i % 2 * 16;
        if (n_blocks > 1) property[64 + i / 2] |= (i % 5 << 3 | 1) << i % 2 * 16;
    }
    for (i = 0; i < 40; i++) block[i] = n_blocks > 1 ? 0x00010001 : 0;
    block[0] = 0;
    block[3] = next_number(s, n_blocks) % 0xFFFF * 0x10001;
    for (n = next_byte(s) % 64; n > 0; n--) {
        c = next_byte(s) | next_byte(s) << 8;
        property[c % (64 * n_blocks)] = next_byte(s) | next_byte(s) << 8 | next_byte(s) << 16 |
                                        next_byte(s) << 24;
    }
}

static void make_tables(source *s, uint32_t n_decomposed, uint32_t n_sequence, uint32_t n_composed,
                        int sorted)
{
    uint32_t *p = take(2 * n_decomposed), i, begin, length;
    for (i = 0; i < n_decomposed; i++) {
        begin = next_number(s, n_sequence + 1);
        length = 1 + next_byte(s) % 7;
        p[2 * i] = 0x80 + next_number(s, 0x400);
        while (length > 1 && begin < n_sequence && begin + length > n_sequence) length--;
        p[2 * i + 1] = begin << 3 | length;
    }
    if (sorted) sort_entries(p, n_decomposed, 2);
    p = take(n_sequence);
    for (i = 0; i < n_sequence; i++) p[i] = next_number(s, 0x400);
    p = take(3 * n_composed);
    for (i = 0; i < 3 * n_composed; i++) p[i] = next_number(s, 0x400);
    if (sorted) sort_entries(p, n_composed, 3);
}

static void make_text_words(source *s, uint32_t V, uint32_t n_bytes, int sorted)
{
    uint32_t n_runs = next_byte(s) % 40, n_specials = next_byte(s) % 8, i, *p, *head = take(8);
    uint32_t n_blocks = 1 + next_byte(s) % 3, n_decomposed = next_byte(s) % 32;
    uint32_t n_sequence = next_byte(s), n_composed = next_byte(s) % 64;
    head[0] = n_runs;
    head[1] = n_specials;
    head[2] = n_blocks;
    head[3] = n_decomposed;
    head[4] = n_sequence;
    head[5] = n_composed;
    for (p = take(n_runs), i = 0; i < n_runs; i++) p[i] = next_number(s, V);
    for (p = take(3 * n_specials), i = 0; i < n_specials; i++, p += 3) {
        p[0] = next_number(s, V);
        p[1] = next_number(s, n_bytes + 1);
        p[2] = next_number(s, 5);
    }
    make_properties(s, n_blocks);
    make_tables(s, n_decomposed, n_sequence, n_composed, sorted);
}

/* Returns the bytes of the section; *V is the number of tokens.              */
static uint8_t *make_section(source *s, int tokenizer, int sorted, uint32_t *V, size_t *size)
{
    uint32_t n_cells = 257 + next_byte(s) % 64, n_bytes, n_pairs, i, text_words;
    uint8_t *section;
    *V = 1 + next_byte(s);
    n_pairs = tokenizer == TOKENIZER_20B ? 1 + next_byte(s) % 255 : 0;
    n_words = 0;
    take(4);
    n_bytes = make_offsets(s, *V);
    make_trie(s, *V, n_cells);
    text_words = 0;
    if (n_pairs) {
        make_merges(s, *V, n_pairs, sorted);
        n_bytes += 16;
        text_words = n_words;
        make_text_words(s, *V, n_bytes, sorted);
        text_words = n_words - text_words;
    }
    word[0] = n_cells;
    word[1] = n_bytes;
    word[2] = n_pairs;
    word[3] = text_words;
    for (i = next_byte(s) % 8; i > 0; i--) { /* any word becomes anything */
        uint32_t at = (next_byte(s) | next_byte(s) << 8) % n_words;
        word[at] = next_number(s, 0x110000);
    }
    *size = (size_t)round_up(4 * (uint64_t)n_words + n_bytes, 64);
    section = (uint8_t *)test_alloc(*size);
    memset(section, 0, *size);
    for (i = 0; i < n_words; i++) put32(section + 4 * i, word[i]);
    for (i = 0; i < n_bytes; i++) section[4 * n_words + i] = (uint8_t)"the a\xCC\x81"[i % 7];
    return section;
}

/* ---- what is done with it ----------------------------------------------- */

static void check_text(const rwkv_model *model, const void *text, size_t length)
{
    static int tokens[64 * 1024];
    int V = rwkv_model_info(model).n_vocab, n, special, i, size;
    for (special = 0; special <= (length < 300); special++) {
        int (*call)(const rwkv_model *, const char *, size_t, int *, int) =
            special ? rwkv_tokenize_special : rwkv_tokenize;
        n = call(model, (const char *)text, length, tokens, 64 * 1024);
        if (length < 300) FUZZ_CHECK(call(model, (const char *)text, length, NULL, 0) == n);
        FUZZ_CHECK(n <= 3 * (int)length);
        FUZZ_CHECK(n >= 0 || n == -RWKV_ERR_MISMATCH || n == -RWKV_ERR_UNSUPPORTED);
        for (i = 0; i < n && i < 64 * 1024; i++) {
            FUZZ_CHECK(tokens[i] >= 0 && tokens[i] < V);
            FUZZ_CHECK(rwkv_token_bytes(model, tokens[i], &size) != NULL);
            FUZZ_CHECK(size >= 0 && size <= 1024);
        }
    }
}

static void check_model(const rwkv_model *model, source *s)
{
    static const char prose[] = "The quick brown fox's  den:\r\n\t12 caf\xC3\xA9s, cafe\xCC\x81s";
    static const char marks[] = "  a\xCC\x81\xCC\x82\xCC\x83\xCC\x84\xCC\x85\xCC\x81\xCC\x87 \xCC\x88"
                                "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8\xC2\x80\xC2\x81\xC3\x80\xC3\xFF";
    static const char *const repeated[] = {"a", "the", " ", "\xCC\x81", "\xC2\x80\xCC\x82", "th"};
    static char text[2700];
    uint8_t bytes[256], *own;
    size_t left = (size_t)(s->end - s->at), i, k;
    check_text(model, prose, sizeof prose - 1);
    check_text(model, marks, sizeof marks - 1);
    for (i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    check_text(model, bytes, 256);
    for (i = 0; i < 6; i++) {
        for (k = 0; k < sizeof text; k++) text[k] = repeated[i][k % strlen(repeated[i])];
        check_text(model, text, sizeof text);
    }
    own = (uint8_t *)test_alloc(left);
    memcpy(own, s->at, left);
    check_text(model, own, left);
    free(own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shape form = {0, 1, 1, 1, 1, RWKV_TYPE_BF16, TOKENIZER_20B, PLAIN, 1};
    source s;
    uint8_t *section;
    uint32_t V;
    size_t bytes;
    model_image m;
    rwkv_model *model;
    rwkv_error error;
    if (size < 2) return 0;
    s.at = data + 1;
    s.end = data + size;
    if (data[0] & 3) form.tokenizer = data[0] & 3;
    if (data[0] & RAW) {
        V = 1 + next_byte(&s);
        bytes = (size_t)round_up((uint64_t)size - 2, 64);
        if (bytes == 0) return 0;
        section = (uint8_t *)test_alloc(bytes);
        memset(section, 0, bytes);
        memcpy(section, data + 2, size - 2);
    } else {
        section = make_section(&s, form.tokenizer, !(data[0] & UNSORTED), &V, &bytes);
    }
    form.V = (int)V;
    m = model_image_section(&form, section, bytes);
    free(section);
    model = rwkv_load_memory(m.data, m.size, NULL, &error);
    if (model) check_model(model, &s);
    else FUZZ_CHECK(error.code == RWKV_ERR_FORMAT && error.message[0]);
    rwkv_free(model);
    model_image_free(&m);
    return 0;
}
