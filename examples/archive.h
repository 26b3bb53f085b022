/* archive.h: an archive of a text, made and read: what of it is tokens and what bytes
 * as they are, and what stands before and after. The format is told in coder.h.
 * Include it after that.                                                      */
#ifndef ARCHIVE_H
#define ARCHIVE_H

#define PIECE 16384   /* bytes of text that are made tokens of at once; at most 65536 */
#define AHEAD 2048    /* of these, what follows a token that is kept: more than any has */
#define STEP 84       /* tokens evaluated at once, unless that needs more than   */
#define ROOM 16777216 /* logits in memory                                        */

typedef struct archive {
    const rwkv_model *model;
    rwkv_state *state, *before;    /* now, and before the last step                */
    float      *p;                 /* probabilities of V tokens, for each of a step */
    int         V, step;
    FILE       *in, *out;
    const char *in_name, *out_name;
    range_coder coder;
    buffer      bytes;             /* to be coded as they are, before what comes next */
    uint32_t    crc;               /* of the text so far                           */
    void      (*report)(const struct archive *, void *user); /* called now and then */
    void       *user;
} archive;

static inline void archive_init(archive *a, const rwkv_model *model)
{
    a->model = model;
    a->V = rwkv_model_info(model).n_vocab;
    a->step = a->V < ROOM / STEP ? STEP : ROOM / a->V > 1 ? ROOM / a->V : 1;
    a->p = (float *)grab((size_t)a->V * (size_t)a->step, sizeof *a->p);
    a->state = new_state(model);
    a->before = new_state(model);
}

static inline void archive_free(archive *a)
{
    rwkv_state_free(a->state);
    rwkv_state_free(a->before);
    free(a->p);
    free(a->bytes.bytes);
    free(a->coder.out.bytes);
}

static inline void archive_write(const archive *a, const char *bytes, size_t size)
{
    if (size && fwrite(bytes, 1, size, a->out) != size)
        fail(1, "%s: %s", a->out_name, strerror(errno));
}

/* ---- making one ------------------------------------------------------------ */

/* The bytes that wait, as they are. They are not forgotten. */
static inline void code_bytes(archive *a)
{
    size_t i;
    if (a->bytes.size == 0) return;
    rwkv_softmax(a->model, rwkv_logits(a->state), a->p);
    encode_symbol(&a->coder, a->p, a->V, a->V + BYTES);
    encode_number(&a->coder, (uint32_t)a->bytes.size - 1, MOST_BYTES);
    for (i = 0; i < a->bytes.size; i++)
        encode_number(&a->coder, (unsigned char)a->bytes.bytes[i], 256);
}

static inline void wait_bytes(archive *a, const char *text, size_t size)
{
    if (a->bytes.size + size > MOST_BYTES) {
        code_bytes(a);
        a->bytes.size = 0;
    }
    add_text(&a->bytes, text, size);
}

/* n tokens, at most a step, that are this text; or, if that is smaller, the text. */
static inline void code_tokens(archive *a, const int *tokens, int n, const char *text, size_t size)
{
    range_coder *c = &a->coder, old = *c;
    size_t begin;
    int    i;
    rwkv_state_copy(a->before, a->state);
    code_bytes(a);
    begin = c->out.size;
    rwkv_softmax(a->model, rwkv_logits(a->state), a->p);
    encode_symbol(c, a->p, a->V, tokens[0]);
    rwkv_eval_all(tokens, n, a->state, a->p); /* the same bits as one by one, and faster */
    for (i = 1; i < n; i++) {
        float *p = a->p + (size_t)(i - 1) * (size_t)a->V;
        rwkv_softmax(a->model, p, p);
        encode_symbol(c, p, a->V, tokens[i]);
    }
    /* 6 bytes are what BYTES costs. They must have been saved before it costs them
     * again, so that no text, however its tokens and bytes alternate, grows by more. */
    if (c->out.size - begin + (a->bytes.size ? 6 : 0) <= size) {
        a->bytes.size = 0;
        return;
    }
    c->low = old.low;
    c->range = old.range;
    c->out.size = old.out.size;
    rwkv_state_copy(a->state, a->before);
    wait_bytes(a, text, size);
}

/* The tokens of as much of a text as has tokens; they need not have its bytes, if the
 * tokenizer normalizes. */
static inline int tokenize(const archive *a, const char *text, size_t size, int *tokens)
{
    int    n;
    size_t i;
    while ((n = rwkv_tokenize(a->model, text, size, tokens, 3 * PIECE)) < 0) {
        for (i = 0; i < size && rwkv_tokenize(a->model, text + i, 1, NULL, 0) >= 0;) i++;
        size = i < size ? i : size / 2;
    }
    return n;
}

/* Code a piece of text up to a token that ends at `limit` or after it; returns how many
 * bytes that is. */
static inline size_t code_piece(archive *a, const char *text, size_t size, size_t limit)
{
    static int tokens[3 * PIECE];
    size_t     used = 0, begin, at;
    int        n, i, m, length = 0;
    while (used < limit) {
        n = tokenize(a, text + used, size - used, tokens);
        for (begin = used, i = 0; i < n; i += m, used = at) {
            for (at = used, m = 0; m < a->step && i + m < n && at < limit; m++, at += (size_t)length) {
                const char *bytes = rwkv_token_bytes(a->model, tokens[i + m], &length);
                if ((size_t)length > size - at || memcmp(bytes, text + at, (size_t)length)) break;
            }
            if (m == 0) break;
            code_tokens(a, tokens + i, m, text + used, at - used);
            a->coder.text += (double)(at - used);
            a->report(a, a->user);
        }
        for (at = used; used < size && at == begin && (used == at || text[used] & 0x80);) used++;
        wait_bytes(a, text + at, used - at);
        a->coder.text += (double)(used - at);
    }
    return used;
}

static inline void archive_flush(archive *a)
{
    archive_write(a, a->coder.out.bytes, a->coder.out.size);
    a->coder.bytes += (double)a->coder.out.size;
    a->coder.out.size = 0;
}

static inline void compress(archive *a)
{
    static char text[PIECE];
    char        frame[HEADER + TRAILER];
    size_t      have = 0, used;
    int         last, i;
    a->coder = coder_new(NULL, a->out_name);
    put_header(frame, a->state);
    add_text(&a->coder.out, frame, HEADER);
    begin_text(a->model, a->state, 1);
    do {
        have += fread(text + have, 1, sizeof text - have, a->in);
        if (ferror(a->in)) fail(1, "%s: %s", a->in_name, strerror(errno));
        last = have < sizeof text;
        used = code_piece(a, text, have, last ? have : have - AHEAD);
        a->crc = crc32_of(a->crc, text, used);
        memmove(text, text + used, have -= used);
        archive_flush(a);
    } while (!last);
    code_bytes(a);
    rwkv_softmax(a->model, rwkv_logits(a->state), a->p);
    encode_symbol(&a->coder, a->p, a->V, a->V + END);
    for (i = 0; i < 8; i++) coder_shift(&a->coder);
    put_number(frame, (uint64_t)a->coder.text, 8);
    put_number(frame + 8, a->crc, 4);
    add_text(&a->coder.out, frame, TRAILER);
    archive_flush(a);
}

/* ---- reading one ----------------------------------------------------------- */

static inline void read_header(archive *a)
{
    char is[HEADER], expected[HEADER];
    int  i;
    put_header(expected, a->state);
    for (i = 0; i < HEADER; i++) {
        is[i] = coder_byte(&a->coder);
        if (i == 7 && memcmp(is, expected, 8) != 0)
            fail(1, "%s: is no archive that compress made", a->in_name);
    }
    if (memcmp(is + 8, expected + 8, 4) != 0)
        fail(1, "%s: has format %lu, expected 1", a->in_name, (unsigned long)get_number(is + 8, 4));
    if (memcmp(is + 12, expected + 12, 8) != 0)
        fail(1, "%s: needs the model file with the checksums %08lX %08lX; this one has %08lX %08lX",
             a->in_name, (unsigned long)get_number(is + 12, 4),
             (unsigned long)get_number(is + 16, 4), (unsigned long)get_number(expected + 12, 4),
             (unsigned long)get_number(expected + 16, 4));
}

/* What the archive says of its text must be true, and nothing may follow. */
static inline void read_trailer(archive *a)
{
    char     is[TRAILER];
    uint32_t crc;
    double   size;
    int      i;
    for (i = 0; i < TRAILER; i++) is[i] = coder_byte(&a->coder);
    size = (double)get_number(is, 8);
    crc = (uint32_t)get_number(is + 8, 4);
    if (size < a->coder.text || size > a->coder.text)
        fail(1, "%s: damaged: %.0f bytes of text, expected %.0f", a->in_name, a->coder.text, size);
    if (crc != a->crc)
        fail(1, "%s: damaged: the checksum of the text is %08lX, expected %08lX", a->in_name,
             (unsigned long)a->crc, (unsigned long)crc);
    if (getc(a->in) != EOF) coder_fail(&a->coder, "damaged: it goes on after its end");
}

static inline void take_text(archive *a, const char *bytes, size_t size)
{
    a->crc = crc32_of(a->crc, bytes, size);
    a->coder.text += (double)size;
    archive_write(a, bytes, size);
}

static inline void decompress(archive *a)
{
    range_coder *c = &a->coder;
    int    symbol, length, i;
    *c = coder_new(a->in, a->in_name);
    read_header(a);
    begin_text(a->model, a->state, 1);
    for (i = 0; i < 8; i++) c->code = c->code << 8 | (unsigned char)coder_byte(c);
    for (;;) {
        rwkv_softmax(a->model, rwkv_logits(a->state), a->p);
        symbol = decode_symbol(c, a->p, a->V);
        if (symbol == a->V + END) break;
        if (symbol == a->V + BYTES) {
            for (i = 1 + (int)decode_number(c, MOST_BYTES); i > 0; i--) {
                char byte = (char)decode_number(c, 256);
                take_text(a, &byte, 1);
            }
        } else {
            const char *bytes = rwkv_token_bytes(a->model, symbol, &length);
            if (length == 0) coder_fail(c, "damaged: a token without text");
            take_text(a, bytes, (size_t)length);
            rwkv_eval(symbol, a->state);
        }
        a->report(a, a->user);
    }
    if (c->code != c->low) coder_fail(c, "damaged: the text ends");
    read_trailer(a);
}
#endif
