/* test_utf8.c: bytes in pieces to whole characters, against a decoder made from the
 * table of the Unicode standard (3-7, well-formed UTF-8 byte sequences). */
#include "../rwkv.h"
#include "test.h"
#include "model.h"
#include <limits.h>

enum { MOST = 64, ROOM = 3 * (MOST + 3) };

/* ---- the table ------------------------------------------------------------ */

static const struct { unsigned char first[2], second[2]; int n; } table[] = {
    {{0x00, 0x7F}, {0x00, 0x00}, 1}, {{0xC2, 0xDF}, {0x80, 0xBF}, 2},
    {{0xE0, 0xE0}, {0xA0, 0xBF}, 3}, {{0xE1, 0xEC}, {0x80, 0xBF}, 3},
    {{0xED, 0xED}, {0x80, 0x9F}, 3}, {{0xEE, 0xEF}, {0x80, 0xBF}, 3},
    {{0xF0, 0xF0}, {0x90, 0xBF}, 4}, {{0xF1, 0xF3}, {0x80, 0xBF}, 4},
    {{0xF4, 0xF4}, {0x80, 0x8F}, 4},
};

/* How many of the n bytes are a character, or the beginning of one; *whole: it is
 * not just a beginning. 0: neither.                                          */
static int table_match(const unsigned char *s, int n, int *whole)
{
    size_t k;
    for (k = 0; k < sizeof table / sizeof *table; k++) {
        int i = 1;
        if (s[0] < table[k].first[0] || s[0] > table[k].first[1]) continue;
        if (table[k].n > 1 && n > 1 && s[1] >= table[k].second[0] && s[1] <= table[k].second[1]) {
            for (i = 2; i < table[k].n && i < n && s[i] >= 0x80 && s[i] <= 0xBF; i++) {}
        }
        *whole = i == table[k].n;
        return i;
    }
    return 0;
}

/* The whole text at once, as it must come out; returns its length. `*held` is how
 * many bytes at the end wait; they are not written.                          */
static int table_decode(const unsigned char *s, int n, unsigned char *out, int *held)
{
    int at = 0, written = 0;
    *held = 0;
    while (at < n) {
        int whole = 0, length = table_match(s + at, n - at, &whole);
        if (length && !whole && at + length == n) {
            *held = length;
            return written;
        }
        if (whole) {
            memcpy(out + written, s + at, (size_t)length);
            written += length;
        } else {
            memcpy(out + written, "\xEF\xBF\xBD", 3);
            written += 3;
        }
        at += length ? length : 1;
    }
    return written;
}

/* ---- checks --------------------------------------------------------------- */

/* Push s in pieces that end where the bits of `cuts` are set.                */
static int push_pieces(const unsigned char *s, int n, uint64_t cuts, char *out, rwkv_utf8 *stream)
{
    int from = 0, i, written = 0;
    for (i = 1; i <= n; i++) {
        int more;
        if (i < n && !(cuts >> (i - 1) & 1)) continue;
        more = rwkv_utf8_push(stream, (const char *)s + from, i - from, out + written,
                              3 * (i - from + 3));
        if (!CHECK_MSG(more >= 0 && more <= 3 * (i - from + 3), "wrote %d", more)) return -1;
        written += more;
        from = i;
    }
    return written;
}

static int check_text(const unsigned char *s, int n, uint64_t cuts)
{
    unsigned char expected[ROOM];
    char out[3 * (4 * MOST + 3)];
    int held, length = table_decode(s, n, expected, &held), is, k, good;
    rwkv_utf8 stream = {{0, 0, 0}, 0};
    is = push_pieces(s, n, cuts, out, &stream);
    good = is == length && memcmp(out, expected, (size_t)length) == 0 && stream.n_tail == held &&
           memcmp(stream.tail, s + n - held, (size_t)held) == 0;
    is = rwkv_utf8_push(&stream, NULL, 0, out, 9);
    good = good && is == (held ? 3 : 0) && memcmp(out, "\xEF\xBF\xBD", (size_t)is) == 0 &&
           stream.n_tail == 0 && rwkv_utf8_push(&stream, NULL, 0, out, 9) == 0;
    if (!good) {
        char hex[3 * MOST + 1] = "";
        for (k = 0; k < n; k++) sprintf(hex + 3 * k, "%02x ", s[k]);
        CHECK_MSG(good, "%s, cuts %lx", hex, (unsigned long)cuts);
    }
    return good;
}

static void every_one_to_three_bytes(void)
{
    unsigned i;
    for (i = 0; i < 1u << 24; i += TEST_SLOW_MACHINE ? 13 : 1) {
        unsigned char s[3];
        s[0] = (unsigned char)(i >> 16);
        s[1] = (unsigned char)(i >> 8);
        s[2] = (unsigned char)i;
        if (i < 256 && !check_text(s + 2, 1, 0)) break;
        if (i < 65536 && !(check_text(s + 1, 2, 0) && check_text(s + 1, 2, 1))) break;
        if (!check_text(s, 3, i % 4)) break;
    }
}

/* Every first and second byte that matter, and all around the borders of the others. */
static void four_bytes(void)
{
    static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0,
                                          0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xF5, 0xFF};
    enum { N = sizeof edges };
    int a, b, c, d;
    for (a = 0xC0; a < 256; a++) {
        for (b = 0; b < 256; b++) {
            for (c = 0; c < N; c++) {
                for (d = 0; d < N; d++) {
                    unsigned char s[4];
                    s[0] = (unsigned char)a;
                    s[1] = (unsigned char)b;
                    s[2] = edges[c];
                    s[3] = edges[d];
                    if (!check_text(s, 4, (unsigned)(a + b + c + d) % 8)) return;
                }
            }
        }
    }
}

/* Every code point comes out as it went in, byte by byte.                    */
static void every_code_point(void)
{
    unsigned c;
    for (c = 0; c <= 0x10FFFF; c++) {
        rwkv_utf8 stream = {{0, 0, 0}, 0};
        unsigned char s[4];
        char out[16];
        int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i, written = 0;
        for (i = n - 1; i > 0; i--) s[i] = (unsigned char)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3F));
        s[0] = (unsigned char)(n == 1 ? c : (0xF00u >> n & 0xFF) | c >> (6 * (n - 1)));
        for (i = 0; i < n; i++) {
            written = rwkv_utf8_push(&stream, (const char *)s + i, 1, out, 12);
            if (i < n - 1 && !(c >= 0xD800 && c < 0xE000) && !CHECK_INT(written, 0)) return;
        }
        if (c >= 0xD800 && c < 0xE000) continue;
        if (!CHECK_MSG(written == n && memcmp(out, s, (size_t)n) == 0, "U+%04X", c)) return;
    }
}

/* The examples of the standard, and others, at every one or two splits.      */
static void every_split(void)
{
    static const char *const texts[][2] = {
        {"\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41", "????????A"},      /* table 3-8 */
        {"\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41", "????????A"},      /* table 3-9 */
        {"\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42", "?????A??B"},      /* table 3-10 */
        {"\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41", "????A"},          /* table 3-11 */
        {"a\xF1\x80\x80\xE1\x80\xC2" "b\x80" "c\x80\xBF" "d", "a???b?c??d"},
        {"na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x99\x82!", NULL},
        {"\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\xEF\xBF\xBF\xE0\xA0\x80\xDF\xBF\xC2\x80\x7F", NULL},
        {"\xEF\xBB\xBF\xED\x9F\xBF\xEE\x80\x80", NULL},
    };
    size_t k;
    for (k = 0; k < sizeof texts / sizeof *texts; k++) {
        const unsigned char *s = (const unsigned char *)texts[k][0];
        int n = (int)strlen(texts[k][0]), i, j, held, length;
        unsigned char out[ROOM];
        char plain[ROOM];
        length = table_decode(s, n, out, &held);
        CHECK_INT(held, 0);
        for (i = j = 0; i < length; j++) { /* U+FFFD as ? */
            int mark = i + 3 <= length && memcmp(out + i, "\xEF\xBF\xBD", 3) == 0;
            plain[j] = mark ? '?' : (char)out[i];
            i += mark ? 3 : 1;
        }
        plain[j] = 0;
        CHECK_STR(plain, texts[k][1] ? texts[k][1] : texts[k][0]);
        for (i = 0; i < n; i++) {
            for (j = i; j < n; j++) check_text(s, n, (uint64_t)1 << i | (uint64_t)1 << j);
        }
        check_text(s, n, 0);
        check_text(s, n, ~(uint64_t)0);
        for (i = 0; i <= n; i++) check_text(s, i, 0); /* and cut off anywhere */
    }
}

static void random_bytes(void)
{
    static const unsigned char some[] = {0x41, 0x80, 0x90, 0xA0, 0xBF, 0xC2, 0xE0, 0xE1, 0xED, 0xF0,
                                         0xF1, 0xF4, 0xF5, 0xC1, 0xFF, 0x00};
    uint64_t seed = 1;
    int round;
    for (round = 0; round < 100000; round++) {
        unsigned char s[MOST];
        int n = random_below(&seed, MOST + 1), i;
        for (i = 0; i < n; i++) {
            s[i] = (unsigned char)(round % 2 ? some[random_below(&seed, 16)] : random_below(&seed, 256));
        }
        if (!check_text(s, n, random_bits(&seed) & random_bits(&seed))) break;
    }
}

static void arguments(void)
{
    rwkv_utf8 stream = {{0xE6, 0x97, 0}, 2}, before = stream;
    char out[64];
    memset(out, 'x', sizeof out);
    CHECK_INT(rwkv_utf8_push(NULL, "a", 1, out, 64), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, NULL, 64), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", -1, out, 64), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, out, 11), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, out, 0), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, out, -12), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, out, INT_MIN), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", INT_MAX, out, INT_MAX), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, "a", INT_MAX / 3, out, 64), -RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_utf8_push(&stream, NULL, 0, out, 8), -RWKV_ERR_ARGUMENT);
    CHECK_SAME(&stream, &before, sizeof stream);
    CHECK(out[0] == 'x' && out[63] == 'x');
    stream.n_tail = 4;
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, out, 64), -RWKV_ERR_ARGUMENT);
    stream = before;
    CHECK_INT(rwkv_utf8_push(&stream, "", 0, out, 9), 0); /* nothing is not the end */
    CHECK_SAME(&stream, &before, sizeof stream);
    CHECK_INT(rwkv_utf8_push(&stream, "\xA5" "a", 2, out, 15), 4);
    CHECK_SAME(out, "\xE6\x97\xA5" "ax", 5);
    stream = before;
    CHECK_INT(rwkv_utf8_push(&stream, NULL, 99, out, 9), 3); /* the length of NULL is 0 */
    CHECK_SAME(out, "\xEF\xBF\xBD", 3);
    memset(&stream, 0xFF, sizeof stream); /* a tail that cannot be: still UTF-8 comes out */
    stream.n_tail = 3;
    CHECK_INT(rwkv_utf8_push(&stream, "a", 1, out, 12), 10);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(every_one_to_three_bytes);
    RUN(four_bytes);
    RUN(every_code_point);
    RUN(every_split);
    RUN(random_bytes);
    RUN(arguments);
    return test_end();
}
