/* fuzz_state.c: any bytes as a saved state: refused, and the state is as it was, or taken up
 * and saved again to the same bytes.
 *
 * Input: byte 0: bits 0-1 the model; bit 2: the rest is a saved state as it is; bit 3 puts its
 * checksum right. Otherwise the rest changes the bytes of a real one: {u16 where, u8 xor}.  */
#include "fuzz.h"

enum { MODELS = 3 };

static const shape shapes[MODELS] = {
    {40, 5, 7, 9, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {3, 1, 1, 1, 1, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 2},
    {40, 20, 33, 17, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 3},
};

static struct {
    model_image image; /* stays as long as the program                         */
    rwkv_model *model;
    rwkv_state *state;
    uint8_t    *blob; /* of that state                                         */
    size_t      size;
} known[MODELS];

static void prepare(void)
{
    rwkv_options o;
    int i;
    memset(&o, 0, sizeof o);
    o.chunk = 1;
    for (i = 0; i < MODELS; i++) {
        known[i].image = model_image_new(&shapes[i]);
        known[i].model = load_image(&known[i].image, &o);
        known[i].state = rwkv_state_new(known[i].model);
        FUZZ_CHECK(known[i].state && rwkv_eval(1, known[i].state));
        known[i].blob = saved(known[i].state, &known[i].size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s;
    uint32_t mode;
    int which, i, loaded = 0;
    uint8_t *blob, *after;
    size_t length, at;
    rwkv_state *state;
    rwkv_result result;
    if (!known[0].model) prepare();
    s.at = data;
    s.end = data + size;
    mode = next_byte(&s);
    which = (int)(mode & 3) % MODELS;
    length = mode & 4 ? (size_t)(s.end - s.at) : known[which].size;
    blob = (uint8_t *)test_alloc(length ? length : 1);
    if (mode & 4) {
        memcpy(blob, s.at, length);
    } else {
        memcpy(blob, known[which].blob, length);
        while (s.at < s.end) {
            at = next_half(&s) % length;
            blob[at] ^= (uint8_t)next_byte(&s);
        }
    }
    if (mode & 8 && length > SAVE_HEADER) saved_fix(blob, length);
    for (i = 0; i < MODELS; i++) { /* at most one can own it                        */
        state = rwkv_state_clone(known[i].state);
        FUZZ_CHECK(state);
        result = rwkv_state_load(state, blob, length);
        after = saved(state, &at);
        if (result == RWKV_OK) {
            FUZZ_CHECK(at == length && memcmp(after, blob, length) == 0);
            FUZZ_CHECK(rwkv_eval(0, state) && rwkv_logits(state));
            loaded++;
        } else {
            FUZZ_CHECK(result == RWKV_ERR_FORMAT || result == RWKV_ERR_MISMATCH);
            FUZZ_CHECK(at == known[i].size && memcmp(after, known[i].blob, at) == 0);
        }
        free(after);
        rwkv_state_free(state);
    }
    FUZZ_CHECK(loaded <= 1);
    if (length == known[which].size && memcmp(blob, known[which].blob, length) == 0)
        FUZZ_CHECK(loaded == 1);
    free(blob);
    return 0;
}
