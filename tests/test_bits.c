/* test_bits.c: the definition of the arithmetic. A checksum of all logits and of the
 * final state for each model and type, the same for every compiler, instruction set,
 * thread and machine; `make same` runs this on all it can find. A tiny program, for
 * microcontrollers too.
 *
 * If the arithmetic is changed on purpose, change the table.                 */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

enum { TOKENS = 220 };

/* Defined as 1 for a processor that has no floats: there, a minute is saved. */
#ifndef TEST_NO_FLOATS
#define TEST_NO_FLOATS 0
#endif

/* The first has no dimension that is a multiple of 16, and two layers. In the second the
 * sums of att.output and of ffn.value go over two blocks of 256 columns, att.receptance and
 * its like have more panels than a kernel takes at once, and with floats keys are so large
 * that exp overflows unless it is done as in the stable form. In the third a column of
 * codes of ffn.value is longer than a vector, but no multiple of it; in the last, the sums of
 * the layer norms go over two blocks. `bytes` is the checksum of the weights. */
typedef struct known {
    shape    s;
    uint32_t bytes;
    uint64_t result;
} known;

static const known table[] = {
    {{61, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
     0x643E6A43u, 0xA9A40A13A45D55CCu},
    {{61, 20, 24, 33, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 2},
     0x02040CEDu, 0x9EE4C1D3EB588B59u},
    {{61, 20, 24, 33, 2, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 3},
     0xD7072405u, 0x17991A27F0569B5Bu},
    {{61, 20, 24, 33, 2, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 4},
     0xFDFCC085u, 0xDF2B2459C0E45183u},
    {{61, 20, 24, 33, 2, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 5},
     0x4201E4CFu, 0x1D8CFDC8B5C7D0E8u},
    {{45, 21, 260, 272, 1, RWKV_TYPE_F32, TOKENIZER_NONE, KEYS, 6},
     0xDC8BA8E5u, 0x40C37A4B96832741u},
    {{45, 21, 260, 272, 1, RWKV_TYPE_F16, TOKENIZER_NONE, KEYS, 7},
     0xE95D10ACu, 0xA8CF1D287629247Bu},
    {{45, 21, 260, 272, 1, RWKV_TYPE_BF16, TOKENIZER_NONE, KEYS, 8},
     0x34E65F51u, 0x10C0068F97F39299u},
    {{45, 21, 260, 272, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 9},
     0x0F3CCA0Fu, 0xF1A3AFC03499432Au},
    {{45, 21, 260, 272, 1, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 10},
     0x04CE5A14u, 0xE9E1358EC6222CF6u},
    {{20, 137, 17, 40, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 11},
     0x47E38496u, 0xAFB7917FC9D5DC17u},
    {{20, 137, 17, 40, 1, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 12},
     0x7E935BE2u, 0x5BD5DFAD096346A3u},
    {{20, 262, 17, 40, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 13},
     0x4FA1F21Bu, 0xF44450A272A0312Bu},
};

static uint64_t hash_floats(uint64_t hash, const float *x, size_t n)
{
    uint8_t number[4];
    size_t i;
    for (i = 0; i < n; i++) {
        put32(number, float_bits(x[i]));
        hash = hash_bytes(hash, number, 4);
    }
    return hash;
}

/* Of the numbers of a saved state, which are little-endian everywhere.       */
static uint64_t hash_state(uint64_t hash, const rwkv_state *state, const shape *s)
{
    size_t bytes, numbers = (size_t)(s->L * (2 * s->D + 3 * s->A) + s->D);
    uint8_t *is = saved(state, &bytes);
    hash = hash_bytes(hash, is + bytes - 4 * numbers, 4 * numbers);
    free(is);
    return hash;
}

/* One line of the table, and what it is checked with.                        */
typedef struct subject {
    const known *k;
    model_image  m;
    int          tokens[TOKENS];
    uint64_t     end; /* of the last logits and the final state alone           */
} subject;

static void check(const subject *u, uint64_t result, const char *isa, const char *what, int with)
{
    CHECK_MSG(result == u->k->result, "model %d, %s, %s %d: 0x%08lX%08lX", (int)(u->k - table), isa,
              what, with, (unsigned long)(result >> 32), (unsigned long)(result & 0xFFFFFFFFu));
}

static uint64_t hash_end(const rwkv_state *state, const shape *s)
{
    return hash_state(hash_floats(0, rwkv_logits(state), (size_t)s->V), state, s);
}

static uint64_t one_by_one(const subject *u, const char *isa, uint64_t *end)
{
    const shape *s = &u->k->s;
    rwkv_options o = options_isa(isa);
    rwkv_model *model = load_image(&u->m, &o);
    rwkv_state *state = rwkv_state_new(model);
    uint64_t hash = 0;
    int t;
    CHECK_INT(rwkv_verify(model, NULL), RWKV_OK);
    for (t = 0; t < TOKENS; t++) {
        const float *logits = rwkv_eval(u->tokens[t], state);
        if (!CHECK(logits != NULL)) break;
        hash = hash_floats(hash, logits, (size_t)s->V);
    }
    hash = hash_state(hash, state, s);
    *end = hash_end(state, s);
    rwkv_state_free(state);
    rwkv_free(model);
    return hash;
}

/* All at once; neither the state nor the logits, the weights nor the tokens lie at a
 * multiple of more than `offset`, a power of two.                            */
static uint64_t all_at_once(const subject *u, const rwkv_options *o, size_t offset)
{
    const shape *s = &u->k->s;
    const size_t V = (size_t)s->V, word = offset > 4 ? offset : 4;
    model_image m = u->m;
    uint8_t *file = (uint8_t *)test_alloc(m.size + 128), *memory;
    uint8_t *all = (uint8_t *)test_alloc(TOKENS * V * sizeof(float) + 128), *p;
    int *tokens;
    rwkv_model *model;
    rwkv_state *state;
    uint64_t hash;
    p = file + (64 - (uintptr_t)file % 64) % 64 + word % 64;
    memcpy(p, m.data, m.size);
    m.data = p;
    model = load_image(&m, o);
    memory = (uint8_t *)test_alloc(rwkv_model_info(model).state_bytes + 128);
    state = rwkv_state_init(model, memory + (64 - (uintptr_t)memory % 64) % 64 + offset % 64,
                            rwkv_model_info(model).state_bytes);
    p = all + (64 - (uintptr_t)all % 64) % 64 + word % 64;
    tokens = (int *)test_alloc((TOKENS + 1) * sizeof *tokens);
    memcpy(tokens + 1, u->tokens, TOKENS * sizeof *tokens);
    CHECK_INT(rwkv_eval_all(tokens + 1, TOKENS, state, (float *)(void *)p), RWKV_OK);
    hash = hash_floats(0, (float *)(void *)p, TOKENS * V);
    hash = hash_state(hash, state, s);
    rwkv_free(model);
    free(tokens);
    free(memory);
    free(all);
    free(file);
    return hash;
}

/* Some states, each on its own way through the tokens, by whatever may happen to it. */
static void mixed(const subject *u, const char *isa)
{
    enum { STATES = 5 };
    rwkv_options o = options_isa(isa);
    rwkv_model *model;
    rwkv_state *state[STATES], *ready[STATES], *other;
    int at[STATES] = {0}, next[STATES], i, j, n, done = 0;
    uint64_t seed = u->k->s.seed;
    uint8_t *bytes;
    size_t size;
    o.chunk = 16;
    model = load_image(&u->m, &o);
    for (i = 0; i < STATES; i++) state[i] = rwkv_state_new(model);
    while (done < STATES) {
        i = random_below(&seed, STATES);
        switch (random_below(&seed, 6)) {
        case 0:
            n = random_below(&seed, 40);
            n = n < TOKENS - at[i] ? n : TOKENS - at[i];
            CHECK(rwkv_eval_sequence(u->tokens + at[i], n, state[i]) != NULL);
            at[i] += n;
            break;
        case 1: /* all that are not done, some of them                          */
            for (n = j = 0; j < STATES; j++) {
                if (at[j] == TOKENS || random_below(&seed, 3) == 0) continue;
                next[n] = u->tokens[at[j]++];
                ready[n++] = state[j];
            }
            CHECK_INT(rwkv_eval_batch(next, ready, n), RWKV_OK);
            break;
        case 2:
            bytes = saved(state[i], &size);
            other = rwkv_state_new(model);
            CHECK(rwkv_eval(u->tokens[3], other) != NULL);
            CHECK_INT(rwkv_state_load(other, bytes, size), RWKV_OK);
            rwkv_state_free(state[i]);
            state[i] = other;
            free(bytes);
            break;
        case 3:
            other = rwkv_state_clone(state[i]);
            CHECK(rwkv_eval(u->tokens[5], state[i]) != NULL); /* astray          */
            rwkv_state_free(state[i]);
            state[i] = other;
            break;
        case 4:
            j = random_below(&seed, STATES);
            if (at[j] > at[i]) {
                rwkv_state_copy(state[i], state[j]);
                at[i] = at[j];
            }
            break;
        default:
            for (n = random_below(&seed, 12); n > 0 && at[i] < TOKENS; n--)
                CHECK(rwkv_eval(u->tokens[at[i]++], state[i]) != NULL);
        }
        for (done = j = 0; j < STATES; j++) done += at[j] == TOKENS;
    }
    for (i = 0; i < STATES; i++) {
        CHECK_MSG(hash_end(state[i], &u->k->s) == u->end, "model %d, %s: state %d differs",
                  (int)(u->k - table), isa, i);
        rwkv_state_free(state[i]);
    }
    rwkv_free(model);
}

static void each(void (*function)(const subject *))
{
    size_t i;
    for (i = 0; i < sizeof table / sizeof *table; i++) {
        subject u;
        u.k = &table[i];
        u.m = model_image_new(&u.k->s);
        random_tokens(i, u.k->s.V, u.tokens, TOKENS);
        function(&u);
        model_image_free(&u.m);
    }
}

static void isas_of(const subject *u)
{
    const uint32_t crc = get32(u->m.data + AT_DATA_CRC);
    const char *isa;
    uint64_t end;
    int i;
    CHECK_MSG(crc == u->k->bytes, "model %d has checksum 0x%08lX", (int)(u->k - table),
              (unsigned long)crc);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        o.chunk = 21;
        check(u, one_by_one(u, isa, &end), isa, "one by one", 1);
        if (!TEST_NO_FLOATS) check(u, all_at_once(u, &o, 64), isa, "chunk", 21);
    }
}

static void chunks_of(const subject *u)
{
    const char *isa;
    int i, chunk;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        /* the slow ones have the same code */
        const int step = isa_is_slow(isa) || TEST_SLOW_MACHINE ? 21 : 1;
        for (chunk = 1; chunk <= 64; chunk += step) {
            o.chunk = chunk;
            check(u, all_at_once(u, &o, 64), isa, "chunk", chunk);
        }
    }
}

static void threads_of(const subject *u)
{
    static const int threads[] = {1, 2, 3, 5, 8};
    rwkv_options o = options_isa(NULL);
    int i;
    o.chunk = TOKENS;
    for (i = 0; i < 5; i += TEST_SLOW_MACHINE ? 3 : 1) {
        o.n_threads = threads[i];
        o.parallel.run = NULL; /* OpenMP, if this is compiled with it             */
        check(u, all_at_once(u, &o, 64), "the widest", "threads", threads[i]);
        o.parallel.run = run_backwards;
        check(u, all_at_once(u, &o, 64), "the widest", "parts", threads[i]);
    }
}

static void places_of(const subject *u)
{
    const char *isa;
    size_t offset;
    int i;
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) {
        rwkv_options o = options_isa(isa);
        for (offset = 1; offset < 64; offset *= TEST_SLOW_MACHINE ? 4 : 2)
            check(u, all_at_once(u, &o, offset), isa, "misaligned by", (int)offset);
    }
}

static void mixed_of(const subject *u)
{
    subject with_end = *u;
    const char *isa;
    int i;
    (void)one_by_one(u, NULL, &with_end.end);
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) mixed(&with_end, isa);
}

static void every_isa(void)   { each(isas_of); }
static void any_chunk(void)   { each(chunks_of); }
static void any_threads(void) { each(threads_of); }
static void any_place(void)   { each(places_of); }
static void any_order(void)   { each(mixed_of); }

int main(int argc, char **argv)
{
    const char *isa;
    int i;
    test_begin(argc, argv);
    printf("kernels:");
    for (i = 0; (isa = rwkv_isa_available(i)) != NULL; i++) printf(" %s", isa);
    printf("\n");
    RUN(every_isa);
    RUN(any_chunk);
    RUN(any_threads);
    RUN(any_place);
    RUN(any_order);
    return test_end();
}
