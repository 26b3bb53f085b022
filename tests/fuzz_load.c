/* fuzz_load.c: any bytes as a model file, and as the bytes of a file that is right but for
 * them: refused with a message, or a model that works within its memory.
 *
 * Input: byte 0: bit 0 puts the checksum of the header right; bit 1: the rest is a file as it
 * is. Otherwise bytes 1 to 7 are a shape, its type and tokenizer; then come so many lies as
 * byte 8 says modulo 8, each {u16 where, u8 how, u32 value}, in the header mostly; then how much
 * is cut off or added; what is left fills the weights. A file of these bytes is loaded. */
#include "fuzz.h"

/* Whatever is in it, it works: two tokens, a sequence, a text, a saved state. The trie of a
 * hostile vocabulary may call bytes what it likes, a token without text too.  */
static void work(rwkv_model *model)
{
    static const char text[] = "ab\xFF a";
    const rwkv_info info = rwkv_model_info(model);
    rwkv_state *state = rwkv_state_new(model), *other = rwkv_state_new(model);
    int tokens[3 * sizeof text], n, length, V = info.n_vocab;
    size_t size = info.save_bytes;
    uint8_t *one = (uint8_t *)test_alloc(size), *two = (uint8_t *)test_alloc(size);
    FUZZ_CHECK(state && other && V > 0);
    FUZZ_CHECK(rwkv_eval(V - 1, state) && rwkv_eval(0, state));
    FUZZ_CHECK(!rwkv_eval(V, state) && !rwkv_eval(-1, state));
    FUZZ_CHECK(rwkv_state_save(state, one, size) == size);
    FUZZ_CHECK(rwkv_state_load(other, one, size) == RWKV_OK);
    tokens[0] = V / 2;
    tokens[1] = 0;
    tokens[2] = V - 1;
    FUZZ_CHECK(rwkv_eval_sequence(tokens, 3, state) && rwkv_eval_sequence(tokens, 3, other));
    FUZZ_CHECK(rwkv_state_save(state, one, size) == size && rwkv_state_save(other, two, size) == size);
    FUZZ_CHECK(memcmp(one, two, size) == 0);
    n = rwkv_tokenize(model, text, sizeof text - 1, tokens, (int)(3 * sizeof text));
    FUZZ_CHECK(n <= 3 * (int)sizeof text);
    while (n-- > 0) {
        FUZZ_CHECK(tokens[n] >= 0 && tokens[n] < V);
        FUZZ_CHECK(rwkv_token_bytes(model, tokens[n], &length) && length >= 0 && length <= 1024);
    }
    FUZZ_CHECK(!rwkv_token_bytes(model, V, &length) && length == 0);
    free(one);
    free(two);
    rwkv_state_free(state);
    rwkv_state_free(other);
}

/* From memory that ends where the file ends.                                 */
static void load(const uint8_t *file, size_t size)
{
    rwkv_options o;
    rwkv_error error;
    rwkv_model *model;
    uint8_t *copy = (uint8_t *)test_alloc(size ? size : 1);
    uint32_t crc;
    size_t length;
    memcpy(copy, file, size);
    memset(&error, 0xC3, sizeof error);
    memset(&o, 0, sizeof o);
    o.chunk = 2;
    model = rwkv_load_memory(copy, size, &o, &error);
    FUZZ_CHECK(memchr(error.message, 0, sizeof error.message));
    if (model) {
        FUZZ_CHECK(error.code == RWKV_OK && !error.message[0]);
        length = rwkv_model_info(model).model_bytes;
        crc = crc32_bytes(0, copy + HEADER_BYTES, length - HEADER_BYTES);
        FUZZ_CHECK((rwkv_verify(model, NULL) == RWKV_OK) == (crc == get32(copy + AT_DATA_CRC)));
        work(model);
    } else {
        FUZZ_CHECK(error.code != RWKV_OK && error.message[0] && error.offset <= (uint64_t)1 << 62);
    }
    rwkv_free(model);
    free(copy);
}

static void tell_lie(model_image *m, source *s)
{
    static const uint32_t extremes[24] = {
        0, 1, 2, 3, 4, 15, 16, 63, 64, 255, 4095, 4096, 4097, 65535, 65536, 0xFFFFFF, 0x1000000,
        0x1000001, 0x100000, 0x100001, 0x7FFFFFFF, 0x80000000u, 0xFFFFFFFEu, 0xFFFFFFFFu};
    const uint32_t where = next_half(s), how = next_byte(s), value = next_word(s);
    const size_t at = how & 64 ? where % (m->size - 3) : where % (HEADER_BYTES - 3);
    uint32_t is = get32(m->data + at);
    switch (how % 8) {
    case 0: is = value; break;
    case 1: is = extremes[value % 24]; break;
    case 2: is += 1; break;
    case 3: is -= 1; break;
    case 4: is ^= (uint32_t)1 << value % 32; break;
    case 5: is *= 2; break;
    case 6: is /= 2; break;
    default: is = (uint32_t)m->size + value % 5 - 2;
    }
    put32(m->data + at, is);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s;
    model_image m;
    shape form = {0, 0, 0, 0, 0, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    uint32_t mode, lies, kind, change, i;
    size_t length;
    s.at = data;
    s.end = data + size;
    mode = next_byte(&s);
    if (mode & 2) {
        length = (size_t)(s.end - s.at);
        m.data = (uint8_t *)test_alloc(length ? length : 1);
        memcpy(m.data, s.at, length);
        if (mode & 1 && length >= HEADER_BYTES) image_fix_header(&m);
        load(m.data, length);
        free(m.data);
        return 0;
    }
    form.V = 1 + (int)next_byte(&s) % 70;
    form.D = 1 + (int)next_byte(&s) % 40;
    form.A = 1 + (int)next_byte(&s) % 40;
    form.F = 1 + (int)next_byte(&s) % 40;
    form.L = 1 + (int)next_byte(&s) % 3;
    kind = next_byte(&s);
    form.type = (rwkv_type)(RWKV_TYPE_F32 + kind % 5);
    form.tokenizer = kind & 128 ? TOKENIZER_WORLD : TOKENIZER_NONE;
    if (form.tokenizer) form.V += 257;
    form.seed = next_byte(&s);
    m = model_image_new(&form);
    for (lies = next_byte(&s) % 8; lies > 0; lies--) tell_lie(&m, &s);
    change = next_byte(&s);
    for (i = 0; s.at < s.end && HEADER_BYTES + i < shape_tensor_bytes(&form); i++)
        m.data[HEADER_BYTES + i * 7919u % (uint32_t)shape_tensor_bytes(&form)] = *s.at++;
    if (mode & 1) image_fix(&m);
    if (change >= 128) { /* longer, which is no fault in memory                   */
        length = m.size + change % 128;
        data = (uint8_t *)memcpy(test_alloc(length), m.data, m.size);
        load(data, length);
        free((void *)(uintptr_t)data);
    } else {
        load(m.data, change % 64 && change < m.size ? m.size - change : m.size);
    }
    model_image_free(&m);
    return 0;
}
