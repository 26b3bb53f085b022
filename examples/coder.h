/* coder.h: what compress writes and reads: whole numbers for probabilities, a range
 * coder, and the frame around it. Include it after common.h.
 *
 * An archive, little-endian:
 *     u8[8] 'R' 'W' 'K' 'Z' 13 10 26 10    u32 format: 1
 *     u32[2] of the model file, as in a saved state: its checksums
 *     the symbols, coded; then
 *     u64 bytes of the text                u32 CRC-32 of them
 *
 * A symbol is a token, or one of two more after the last token: END, or BYTES, which
 * is followed by a u16 and as many bytes, and one more, that are coded as they are:
 * no model expects them. What is expected is what the model expects after the
 * tokens so far (bytes coded as they are do not count), at first after the end of
 * a text, if it has such a token.                                             */
#ifndef CODER_H
#define CODER_H

enum { END, BYTES, MORE }; /* symbols more than there are tokens */

#define HEADER 20
#define TRAILER 12
#define MOST_BYTES 65536

/* ---- checksums and numbers ------------------------------------------------- */

/* Begin with 0. */
static inline uint32_t crc32_of(uint32_t crc, const char *bytes, size_t size)
{
    int bit;
    for (crc = ~crc; size > 0; size--)
        for (crc ^= (unsigned char)*bytes++, bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xEDB88320u & (0 - (crc & 1)));
    return ~crc;
}

static inline void put_number(char *to, uint64_t number, int bytes)
{
    for (; bytes > 0; bytes--, number >>= 8) *to++ = (char)(number & 255);
}

static inline uint64_t get_number(const char *from, int bytes)
{
    uint64_t number = 0;
    while (bytes-- > 0) number = number << 8 | (unsigned char)from[bytes];
    return number;
}

/* The first bytes of every archive made with a model.                         */
static inline void put_header(char *header, const rwkv_state *state)
{
    size_t size = rwkv_state_save(state, NULL, 0);
    char  *saved = (char *)grab(size, 1);
    rwkv_state_save(state, saved, size);
    memcpy(header, "RWKZ\r\n\032\n", 8);
    put_number(header + 8, 1, 4);
    memcpy(header + 12, saved + 16, 8);
    free(saved);
}

/* ---- whole numbers for probabilities ---------------------------------------
 * The probabilities are the same floats on every machine. The product with a power
 * of two is exact, and so is what is cut off: so these are the same numbers. Each
 * is at least 1, because anything may come. Together they are some 2^30 (and the
 * number of tokens, at most 2^24), less than 2^31.                            */

static inline uint32_t frequency(float p)
{
    return p > 0 ? 1 + (uint32_t)(int32_t)(p * 1073741824.0f) : 1; /* of NaN too: 1 */
}

static inline uint32_t frequencies(const float *p, int n)
{
    uint32_t sum = 0;
    int      i;
    for (i = 0; i < n; i++) sum += frequency(p[i]);
    return sum;
}

/* ---- the range coder -------------------------------------------------------
 * All that may still come is a range of numbers of 64 bits, from low on. A symbol
 * narrows it to a part as large as the symbol is frequent. When all that is left
 * begins with the same byte, that byte is written, and 8 bits come in from the
 * right. If that does not happen until the range is less than 2^32, because it lies
 * across a number that ends in zeros, it is cut off there; this is so rare that it
 * costs nothing. To decode is to follow the ranges that a number, the archive, lies in. */
typedef struct range_coder {
    uint64_t    low, range;
    buffer      out;   /* encoding: written since it was last emptied            */
    FILE       *in;    /* decoding; else NULL                                    */
    const char *name;  /* of that file                                           */
    uint64_t    code;  /* 64 bits of it: they are from low on                    */
    double      bytes; /* read or written, those in `out` not counted            */
    double      text;  /* bytes of text on the other side                        */
} range_coder;

static inline void coder_fail(const range_coder *c, const char *what)
{
    fail(1, "%s: %s at byte %.0f of the archive, after %.0f bytes of text", c->name, what, c->bytes,
         c->text);
}

static inline char coder_byte(range_coder *c)
{
    int byte = getc(c->in);
    if (byte == EOF && ferror(c->in)) fail(1, "%s: %s", c->name, strerror(errno));
    if (byte == EOF) coder_fail(c, "cut off: it ends");
    c->bytes++;
    return (char)byte;
}

static inline void coder_shift(range_coder *c)
{
    char byte = (char)(c->low >> 56);
    if (c->in) c->code = c->code << 8 | (unsigned char)coder_byte(c);
    else add_text(&c->out, &byte, 1);
    c->low <<= 8;
    c->range <<= 8;
}

/* file: to decode from, or NULL */
static inline range_coder coder_new(FILE *file, const char *name)
{
    range_coder c;
    memset(&c, 0, sizeof c);
    c.in = file;
    c.name = name;
    c.range = ~(uint64_t)0;
    return c;
}

/* To `size` parts of those that the range is already divided into. */
static inline void coder_narrow(range_coder *c, uint32_t start, uint32_t size)
{
    c->low += c->range * start;
    c->range *= size;
    for (;;) {
        if ((c->low ^ (c->low + c->range)) >> 56) {
            if (c->range >> 32) break;
            c->range = (0 - c->low) & 0xFFFFFFFFu;
        }
        coder_shift(c);
    }
}

/* One of `total` numbers that are equally frequent. */
static inline void encode_number(range_coder *c, uint32_t number, uint32_t total)
{
    c->range /= total;
    coder_narrow(c, number, 1);
}

/* Which one is it? Divides the range, to be narrowed. */
static inline uint32_t decode_part(range_coder *c, uint32_t total)
{
    uint64_t part = (c->code - c->low) / (c->range /= total);
    if (part >= total) coder_fail(c, "damaged");
    return (uint32_t)part;
}

static inline uint32_t decode_number(range_coder *c, uint32_t total)
{
    uint32_t number = decode_part(c, total);
    coder_narrow(c, number, 1);
    return number;
}

/* A token, or V + END, V + BYTES; p are the probabilities of the V tokens. */
static inline void encode_symbol(range_coder *c, const float *p, int V, int symbol)
{
    int      more = symbol >= V ? symbol - V : 0, token = symbol - more;
    uint32_t start = frequencies(p, token);
    c->range /= start + frequencies(p + token, V - token) + MORE;
    coder_narrow(c, start + (uint32_t)more, symbol < V ? frequency(p[symbol]) : 1);
}

static inline int decode_symbol(range_coder *c, const float *p, int V)
{
    uint32_t part = decode_part(c, frequencies(p, V) + MORE), start = 0, size = 1;
    int      symbol = 0;
    for (; symbol < V && part - start >= (size = frequency(p[symbol])); symbol++) start += size;
    if (symbol == V) {
        symbol += (int)(part - start);
        start = part;
        size = 1;
    }
    coder_narrow(c, start, size);
    return symbol;
}
#endif
