/* fuzz_quant.c: any bytes as weights, scales and exponents: every instruction set makes the same
 * logits of them, and no read leaves the file.
 *
 * Input: four dimensions, the type, how many tokens, a seed, and which tensor (or all, from 128
 * on), a byte each; the rest, repeated, is its bytes. What is NaN may have other bits. */
#include "fuzz.h"

enum { MOST = 20 };

/* NaN and infinity in ffn.value may count for nothing when times 0, with some kernels and not with
 * others, as the header says: so it has none.                                */
static void make_finite(model_image *m)
{
    tensor t = tensor_find(&m->s, FFN_VALUE, 0);
    uint8_t *p = m->data + t.offset, *end;
    if (t.bits) { /* a scale's exponent is at most 7 more than its panel's     */
        for (end = p + t.scales; p < end; p++) *p = *p < 247 ? *p : 247;
        return;
    }
    for (end = p + t.bytes; p < end; p += element_bytes(m->s.type)) {
        double x = element_at(m->s.type, p);
        if (x - x != 0) p[element_bytes(m->s.type) - 1] &= 0xbf; /* its largest power of 2 */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    shape form = {0, 0, 0, 0, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    source s;
    model_image m;
    tensor t;
    int tokens[MOST], n, i, k;
    float *first, *all;
    const char *isa;
    uint32_t target;
    size_t begin, end, at, V;
    s.at = data;
    s.end = data + size;
    form.V = 1 + (int)next_byte(&s) % 150;
    form.D = 1 + (int)next_byte(&s) % 150;
    form.A = 1 + (int)next_byte(&s) % 150;
    form.F = 1 + (int)next_byte(&s) * 2;
    form.type = (rwkv_type)(RWKV_TYPE_F32 + next_byte(&s) % 5);
    n = 1 + (int)next_byte(&s) % MOST;
    form.seed = next_byte(&s);
    target = next_byte(&s);
    V = (size_t)form.V;
    m = model_image_new(&form);
    t = tensor_find(&form, (tensor_role)(target % N_ROLES), 0);
    begin = target & 128 ? HEADER_BYTES : (size_t)t.offset;
    end = target & 128 ? m.size : (size_t)(t.offset + t.bytes);
    data = s.at;
    for (at = begin; at < end && data < s.end; at++) {
        m.data[at] = *s.at++;
        if (s.at == s.end) s.at = data;
    }
    make_finite(&m);
    random_tokens(form.seed, form.V, tokens, MOST);
    first = (float *)test_alloc(sizeof(float) * V * MOST);
    all = (float *)test_alloc(sizeof(float) * V * MOST);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        rwkv_model *model;
        rwkv_state *state;
        o.chunk = 1 + (int)(form.seed % 9);
        model = load_image(&m, &o);
        state = rwkv_state_new(model);
        FUZZ_CHECK(state && rwkv_eval_all(tokens, n, state, i ? all : first) == RWKV_OK);
        for (k = 0; i && k < n * form.V; k++)
            FUZZ_CHECK(memcmp(&all[k], &first[k], sizeof *all) == 0 ||
                       (all[k] != all[k] && first[k] != first[k]));
        rwkv_state_free(state);
        rwkv_free(model);
    }
    free(first);
    free(all);
    model_image_free(&m);
    return 0;
}
