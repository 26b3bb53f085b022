/* ref_text.h: the tokenizers once more, as slow and as plain as their definitions.
 *
 * Include after rwkv.h and model.h. It reads the vocabulary section by itself, and
 * does one step after the other on the whole text, in arrays from malloc:
 *
 *     ref_text r = ref_text_of(data, size);          a model file in memory
 *     int *tokens, n = ref_tokenize(&r, text, length, special, &tokens);
 *     uint8_t *same = ref_normalize(&r, text, length, &bytes);      what is encoded
 *
 * Of the properties of characters it uses class and combining class alone, and it
 * does not use the trie.                                                     */
#ifndef REF_TEXT_H_INCLUDED
#define REF_TEXT_H_INCLUDED

#include "model.h"

enum { REF_OTHER, REF_LETTER, REF_NUMBER, REF_SPACE };
#define REF_NONE 0xFFFFFFFFu
#define REF_BAD_BYTE 0x110000u /* + b: byte b is no part of a character */

typedef struct ref_text {
    int            tokenizer;
    uint32_t       V, n_runs, n_specials, n_decomposed, n_composed;
    const uint8_t *offset, *first_pair, *pair, *run, *special, *block, *property, *decomposed;
    const uint8_t *sequence, *composed, *bytes;
    int            of_byte[256]; /* token of one byte, or -1                   */
} ref_text;

static inline uint32_t ref_word(const uint8_t *p, uint32_t i)
{
    return get32(p + 4 * (size_t)i);
}

static inline ref_text ref_text_of(const uint8_t *data, size_t size)
{
    ref_text r;
    const uint8_t *at = data + size - get64(data + AT_VOCAB_BYTES), *words;
    uint32_t n_cells = ref_word(at, 0), n_pairs = ref_word(at, 2), n_words = ref_word(at, 3), i;
    memset(&r, 0, sizeof r);
    r.tokenizer = (int)get32(data + AT_TOKENIZER);
    r.V = get32(data + AT_VOCAB);
    r.offset = at + 16;
    r.first_pair = r.offset + 4 * ((size_t)r.V + 1) + 12 * (size_t)n_cells;
    r.bytes = r.first_pair;
    if (n_pairs) {
        r.pair = r.first_pair + 4 * ((size_t)r.V + 1);
        words = r.pair + 8 * (size_t)n_pairs;
        r.bytes = words + 4 * (size_t)n_words;
        r.n_runs = ref_word(words, 0);
        r.n_specials = ref_word(words, 1);
        r.n_decomposed = ref_word(words, 3);
        r.n_composed = ref_word(words, 5);
        r.run = words + 32;
        r.special = r.run + 4 * (size_t)r.n_runs;
        r.block = r.special + 12 * (size_t)r.n_specials;
        r.property = r.block + 2 * 8704;
        r.decomposed = r.property + 256 * (size_t)ref_word(words, 2);
        r.sequence = r.decomposed + 8 * (size_t)r.n_decomposed;
        r.composed = r.sequence + 4 * (size_t)ref_word(words, 4);
    }
    memset(r.of_byte, -1, sizeof r.of_byte);
    for (i = r.V; i-- > 0;) {
        uint32_t begin = ref_word(r.offset, i);
        if (ref_word(r.offset, i + 1) - begin == 1) r.of_byte[r.bytes[begin]] = (int)i;
    }
    return r;
}

/* ---- characters --------------------------------------------------------- */

/* The code points of a text, at most one for each byte.                      */
static inline size_t ref_decode(const uint8_t *text, size_t length, uint32_t *out)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = 0, i = 0, size, k;
    while (i < length) {
        uint32_t b = text[i], c;
        size = b < 0x80 ? 1 : (b & 0xE0) == 0xC0 ? 2 : (b & 0xF0) == 0xE0 ? 3
             : (b & 0xF8) == 0xF0 ? 4 : 0;
        c = size < 2 ? b : b & (0x7Fu >> size);
        for (k = 1; k < size; k++) {
            if (i + k >= length || (text[i + k] & 0xC0) != 0x80) break;
            c = c << 6 | (text[i + k] & 0x3F);
        }
        if (size == 0 || k < size || c < least[size] || c > 0x10FFFF || (c >> 11) == 0x1B) {
            c = REF_BAD_BYTE + b;
            size = 1;
        }
        out[n++] = c;
        i += size;
    }
    return n;
}

static inline size_t ref_encode_char(uint32_t c, uint8_t *out)
{
    if (c >= REF_BAD_BYTE) out[0] = (uint8_t)(c - REF_BAD_BYTE);
    else if (c < 0x80) out[0] = (uint8_t)c;
    if (c >= REF_BAD_BYTE || c < 0x80) return 1;
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

static inline uint32_t ref_property(const ref_text *r, uint32_t c)
{
    if (c >= REF_BAD_BYTE) return REF_OTHER;
    return get16(r->property + 256 * (size_t)get16(r->block + 2 * (size_t)(c / 128)) +
                 2 * (size_t)(c % 128));
}

static inline uint32_t ref_class(const ref_text *r, uint32_t c) { return ref_property(r, c) & 3; }
static inline uint32_t ref_combining(const ref_text *r, uint32_t c)
{
    return ref_property(r, c) >> 2 & 255;
}

/* ---- normalization ------------------------------------------------------ */

/* The first of n ascending entries of `step` words whose first word is `key` or more. */
static inline uint32_t ref_search(const uint8_t *table, uint32_t n, uint32_t step, uint32_t key)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (ref_word(table, step * middle) < key) low = middle + 1;
        else high = middle;
    }
    return low;
}

static inline uint32_t ref_compose(const ref_text *r, uint32_t a, uint32_t b)
{
    uint32_t i;
    if (a >= 0x1100 && a <= 0x1112 && b >= 0x1161 && b <= 0x1175) {
        return 0xAC00 + ((a - 0x1100) * 21 + (b - 0x1161)) * 28;
    }
    if (a >= 0xAC00 && a <= 0xD7A3 && (a - 0xAC00) % 28 == 0 && b >= 0x11A8 && b <= 0x11C2) {
        return a + (b - 0x11A7);
    }
    i = ref_search(r->composed, r->n_composed, 3, a);
    for (; i < r->n_composed && ref_word(r->composed, 3 * i) == a; i++) {
        if (ref_word(r->composed, 3 * i + 1) == b) return ref_word(r->composed, 3 * i + 2);
    }
    return REF_NONE;
}

/* The full canonical decomposition of c, up to 7 code points; returns how many. */
static inline size_t ref_decompose(const ref_text *r, uint32_t c, uint32_t out[7])
{
    uint32_t i, k, n;
    out[0] = c;
    if (c < 0x80) return 1;
    if (c >= 0xAC00 && c <= 0xD7A3) {
        out[0] = 0x1100 + (c - 0xAC00) / 588;
        out[1] = 0x1161 + (c - 0xAC00) % 588 / 28;
        out[2] = 0x11A7 + (c - 0xAC00) % 28;
        return out[2] == 0x11A7 ? 2 : 3;
    }
    i = ref_search(r->decomposed, r->n_decomposed, 2, c);
    if (i < r->n_decomposed && ref_word(r->decomposed, 2 * i) == c) {
        n = ref_word(r->decomposed, 2 * i + 1) % 8;
        for (k = 0; k < n; k++) {
            out[k] = ref_word(r->sequence, ref_word(r->decomposed, 2 * i + 1) / 8 + k);
        }
        return n;
    }
    return 1;
}

/* Marks in the order of their classes: insertion sort, which is stable.      */
static inline void ref_sort_marks(const ref_text *r, uint32_t *text, size_t n)
{
    size_t i, k;
    for (i = 1; i < n; i++) {
        uint32_t c = text[i], combining = ref_combining(r, c);
        for (k = i; combining && k > 0 && ref_combining(r, text[k - 1]) > combining; k--) {
            text[k] = text[k - 1];
        }
        text[k] = c;
    }
}

/* NFC in the words of the Unicode standard (D117): each character is composed with the
 * last starter, unless something between blocks it. Returns the new length.  */
static inline size_t ref_compose_all(const ref_text *r, uint32_t *text, size_t n)
{
    size_t out = 0, starter = 0, i;
    int has_starter = 0;
    for (i = 0; i < n; i++) {
        uint32_t c = text[i], combining = ref_combining(r, c), both;
        if (has_starter) {
            uint32_t last = ref_combining(r, text[out - 1]);
            int blocked = out - 1 > starter && (last == 0 || last >= combining);
            both = blocked ? REF_NONE : ref_compose(r, text[starter], c);
            if (both != REF_NONE) {
                text[starter] = both;
                continue;
            }
        }
        if (combining == 0) {
            starter = out;
            has_starter = 1;
        }
        text[out++] = c;
    }
    return out;
}

/* The code points of the normalized text; *out is to be freed.               */
static inline size_t ref_nfc(const ref_text *r, const uint8_t *text, size_t length, uint32_t **out)
{
    uint32_t *all = (uint32_t *)test_alloc(sizeof *all * length);
    size_t n = ref_decode(text, length, all), i, k = 0;
    *out = (uint32_t *)test_alloc(sizeof **out * 7 * n);
    for (i = 0; i < n; i++) k += ref_decompose(r, all[i], *out + k);
    ref_sort_marks(r, *out, k);
    free(all);
    return ref_compose_all(r, *out, k);
}

/* ---- merging ------------------------------------------------------------ */

typedef struct ref_tokens {
    int *at;
    int  n, failed; /* failed: 0, or an error                                  */
} ref_tokens;

static inline uint32_t ref_merged(const ref_text *r, uint32_t left, uint32_t right)
{
    uint32_t i;
    for (i = ref_word(r->first_pair, left); i < ref_word(r->first_pair, left + 1); i++) {
        if (ref_word(r->pair, 2 * i) == right) return ref_word(r->pair, 2 * i + 1);
    }
    return REF_NONE;
}

/* The lowest merge of the whole word, of equal ones the leftmost; and again.  */
static inline void ref_merge(const ref_text *r, const uint8_t *word, size_t n, ref_tokens *out)
{
    uint32_t *token = (uint32_t *)test_alloc(sizeof *token * n);
    uint32_t *merged = (uint32_t *)test_alloc(sizeof *merged * n);
    size_t i, best;
    for (i = 0; i < n; i++) {
        token[i] = (uint32_t)r->of_byte[word[i]];
        if (r->of_byte[word[i]] < 0) out->failed = -RWKV_ERR_MISMATCH;
    }
    for (i = 0; i < n && !out->failed; i++) {
        merged[i] = i + 1 < n ? ref_merged(r, token[i], token[i + 1]) : REF_NONE;
    }
    while (n > 1 && !out->failed) {
        for (i = best = 0; i < n; i++) {
            if (merged[i] < merged[best]) best = i;
        }
        if (merged[best] == REF_NONE) break;
        token[best] = merged[best];
        memmove(token + best + 1, token + best + 2, sizeof *token * (n - best - 2));
        memmove(merged + best + 1, merged + best + 2, sizeof *merged * (n - best - 2));
        n--;
        merged[best] = best + 1 < n ? ref_merged(r, token[best], token[best + 1]) : REF_NONE;
        if (best > 0) merged[best - 1] = ref_merged(r, token[best - 1], token[best]);
    }
    for (i = 0; i < n && !out->failed; i++) out->at[out->n++] = (int)token[i];
    free(token);
    free(merged);
}

/* ---- words -------------------------------------------------------------- */

/* Where ` ?X+` ends, X being a class; `at` if it does not match.             */
static inline size_t ref_match(const ref_text *r, const uint32_t *text, size_t at, size_t n,
                               uint32_t kind)
{
    size_t begin = at + (text[at] == ' '), end = begin;
    while (end < n && ref_class(r, text[end]) == kind) end++;
    return end > begin ? end : at;
}

/* Where the word at `at` ends, by the alternatives of the pattern in their order.  */
static inline size_t ref_word_end(const ref_text *r, const uint32_t *text, size_t at, size_t n)
{
    static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    size_t end, i, k;
    uint32_t kind;
    for (i = 0; i < 7; i++) {
        for (k = 0; contractions[i][k] && at + k < n; k++) {
            if (text[at + k] != (uint8_t)contractions[i][k]) break;
        }
        if (!contractions[i][k]) return at + k;
    }
    for (i = 0; i < 3; i++) {
        static const uint32_t kinds[] = {REF_LETTER, REF_NUMBER, REF_OTHER};
        kind = kinds[i];
        end = ref_match(r, text, at, n, kind);
        if (end > at) return end;
    }
    for (end = at; end < n && ref_class(r, text[end]) == REF_SPACE;) end++;
    return end < n && end > at + 1 ? end - 1 : end;
}

static inline void ref_words(const ref_text *r, const uint32_t *text, size_t n, ref_tokens *out)
{
    uint8_t *word = (uint8_t *)test_alloc(4 * n);
    size_t at = 0, end, size;
    for (; at < n && !out->failed; at = end) {
        size_t i;
        end = ref_word_end(r, text, at, n);
        for (i = at, size = 0; i < end; i++) size += ref_encode_char(text[i], word + size);
        ref_merge(r, word, size, out);
    }
    free(word);
}

/* How many spaces at `at` are one token, at least 2; 0 if they are none.      */
static inline size_t ref_run(const ref_text *r, const uint32_t *text, size_t at, size_t n)
{
    size_t run = 0;
    while (at + run < n && run < r->n_runs && text[at + run] == ' ') run++;
    while (run > 1 && ref_word(r->run, (uint32_t)run - 1) == REF_NONE) run--;
    return run > 1 ? run : 0;
}

/* A text without special tokens.                                             */
static inline void ref_piece(const ref_text *r, const uint8_t *text, size_t length, ref_tokens *out)
{
    uint32_t *all;
    size_t n = ref_nfc(r, text, length, &all), from = 0, at = 0;
    while (at < n) {
        size_t run = ref_run(r, all, at, n);
        if (!run) {
            at++;
            continue;
        }
        ref_words(r, all + from, at - from, out);
        if (!out->failed) out->at[out->n++] = (int)ref_word(r->run, (uint32_t)run - 1);
        from = at += run;
    }
    ref_words(r, all + from, n - from, out);
    free(all);
}

/* ---- whole texts -------------------------------------------------------- */

/* The special token at the beginning of a text, or NULL.                     */
static inline const uint8_t *ref_special(const ref_text *r, const uint8_t *text, size_t length)
{
    uint32_t i;
    for (i = 0; i < r->n_specials; i++) {
        const uint8_t *s = r->special + 12 * (size_t)i;
        if (get32(s + 8) <= length && memcmp(text, r->bytes + get32(s + 4), get32(s + 8)) == 0) {
            return s;
        }
    }
    return NULL;
}

/* Of all tokens that the text begins with, the longest; again and again.     */
static inline void ref_longest(const ref_text *r, const uint8_t *text, size_t length,
                               ref_tokens *out)
{
    while (length > 0) {
        uint32_t id, best = 0, longest = 0;
        for (id = 0; id < r->V; id++) {
            uint32_t begin = ref_word(r->offset, id), size = ref_word(r->offset, id + 1) - begin;
            if (size > longest && size <= length && memcmp(text, r->bytes + begin, size) == 0) {
                best = id;
                longest = size;
            }
        }
        if (longest == 0) {
            out->failed = -RWKV_ERR_MISMATCH;
            return;
        }
        out->at[out->n++] = (int)best;
        text += longest;
        length -= longest;
    }
}

/* The number of tokens, or an error as that of rwkv_tokenize; *tokens is to be freed. */
static inline int ref_tokenize(const ref_text *r, const uint8_t *text, size_t length, int special,
                               int **tokens)
{
    ref_tokens out = {NULL, 0, 0};
    size_t from = 0, at = 0;
    out.at = *tokens = (int *)test_alloc(sizeof(int) * 7 * length);
    if (r->tokenizer != TOKENIZER_20B) {
        ref_longest(r, text, length, &out);
        return out.failed ? out.failed : out.n;
    }
    while (special && at < length) {
        const uint8_t *s = ref_special(r, text + at, length - at);
        if (!s) {
            at++;
            continue;
        }
        ref_piece(r, text + from, at - from, &out);
        if (!out.failed) out.at[out.n++] = (int)get32(s);
        from = at += get32(s + 8);
    }
    ref_piece(r, text + from, length - from, &out);
    return out.failed ? out.failed : out.n;
}

/* The text that the tokens of a text are the text of, if it has no special tokens: itself,
 * or with 20B its NFC. To be freed.                                          */
static inline uint8_t *ref_normalize(const ref_text *r, const uint8_t *text, size_t length,
                                     size_t *bytes)
{
    uint8_t *out = (uint8_t *)test_alloc(28 * length);
    uint32_t *all;
    size_t n, i;
    *bytes = 0;
    if (r->tokenizer != TOKENIZER_20B) {
        memcpy(out, text, *bytes = length);
        return out;
    }
    n = ref_nfc(r, text, length, &all);
    for (i = 0; i < n; i++) *bytes += ref_encode_char(all[i], out + *bytes);
    free(all);
    return out;
}

#endif /* REF_TEXT_H_INCLUDED */
