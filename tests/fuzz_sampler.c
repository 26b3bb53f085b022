/* fuzz_sampler.c: any logits and settings: a token that exists and is not banned, the same for
 * the same seed, and everything else as it was.
 *
 * Input: byte 0: 1 to 64 tokens; byte 1: what is set; then temperature, top_p, min_p, presence,
 * frequency and decay, a byte each: small, exact or odd numbers; top_k; the seed; biases; then
 * the logits, a byte or four each, repeated to the end.                      */
#include "fuzz.h"

enum { LARGEST = 64, MOST_BIASES = 8, DRAWS = 3 };

static struct {
    model_image image; /* stays as long as the program                         */
    rwkv_model *model;
    rwkv_state *state;
} known[LARGEST + 1];

static rwkv_state *state_of(int V)
{
    if (!known[V].state) {
        shape s = {1, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
        rwkv_options o;
        memset(&o, 0, sizeof o);
        o.chunk = 1;
        s.V = V;
        known[V].image = model_image_new(&s);
        known[V].model = load_image(&known[V].image, &o);
        known[V].state = rwkv_state_new(known[V].model);
        FUZZ_CHECK(known[V].state);
    }
    return known[V].state;
}

static float next_float(source *s)
{
    static const float odd[16] = {0,     -0.0f, 1,     -1,     0.5f,  0.85f,    1e-30f,  1e30f,
                                  1e38f, -1e38f, 1e-45f, 100.0f, 2.0f, INFINITY, -INFINITY, NAN};
    const uint32_t b = next_byte(s);
    if (b < 0xB0) return (float)b / 100.0f;
    if (b < 0xE0) return odd[b % 16];
    return bits_float(next_word(s));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s;
    rwkv_sampler first, second;
    rwkv_bias bias[MOST_BIASES];
    rwkv_state *state;
    float *logits, before[LARGEST], counts[2][LARGEST];
    uint32_t set;
    int V, i, draw, wide, legal = 1, banned[LARGEST] = {0}, n_banned = 0;
    const uint8_t *begin;
    s.at = data;
    s.end = data + size;
    V = 1 + (int)next_byte(&s) % LARGEST;
    set = next_byte(&s);
    memset(&first, 0, sizeof first);
    first.temperature = next_float(&s);
    first.top_p = next_float(&s);
    first.min_p = next_float(&s);
    first.presence = next_float(&s);
    first.frequency = next_float(&s);
    first.decay = next_float(&s);
    first.top_k = set & 1 ? (int)next_word(&s) : (int)next_byte(&s) % 8;
    first.seed = next_word(&s);
    first.n_bias = set & 2 ? (int)(next_byte(&s) % MOST_BIASES) : 0;
    for (i = 0; i < first.n_bias; i++) {
        bias[i].token = (int)next_byte(&s) % (V + (set & 4 ? 1 : 0));
        bias[i].add = next_float(&s);
        legal = legal && bias[i].token < V;
        if (bias[i].token < V && (bias[i].add != bias[i].add || bias[i].add == -INFINITY)) {
            n_banned += !banned[bias[i].token];
            banned[bias[i].token] = 1;
        }
    }
    first.bias = bias;
    if (set & 8) {
        for (i = 0; i < V; i++) counts[0][i] = counts[1][i] = set & 16 ? next_float(&s) : 0;
        first.counts = counts[0];
    }
    state = state_of(V);
    logits = (float *)(uintptr_t)rwkv_logits(state);
    wide = set & 32;
    begin = s.at;
    for (i = 0; i < V; i++) {
        if (s.at >= s.end) s.at = begin; /* repeated                                 */
        logits[i] = wide ? bits_float(next_word(&s)) : ((float)next_byte(&s) - 128) / 8;
    }
    memcpy(before, logits, sizeof *before * (size_t)V);
    second = first;
    second.counts = first.counts ? counts[1] : NULL;
    for (draw = 0; draw < DRAWS; draw++) {
        const uint64_t seed = first.seed;
        const int token = rwkv_sample(&first, state);
        FUZZ_CHECK(token == rwkv_sample(&second, state) && first.seed == second.seed);
        FUZZ_CHECK(memcmp(before, logits, sizeof *before * (size_t)V) == 0);
        if (first.counts) FUZZ_CHECK(memcmp(counts[0], counts[1], sizeof **counts * (size_t)V) == 0);
        if (!legal || n_banned == V) {
            FUZZ_CHECK(token == -1 && first.seed == seed);
        } else {
            FUZZ_CHECK(token >= 0 && token < V && !banned[token]);
        }
    }
    return 0;
}
