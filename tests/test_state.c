/* test_state.c: making, copying, saving, restoring and looking at states. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape plain = {37, 20, 24, 33, 3, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
static const shape of_codes = {37, 40, 24, 33, 3, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 1};

/* A model whose allocator counts.                                            */
typedef struct scene {
    model_image m;
    test_heap   heap;
    rwkv_model *model;
    rwkv_info   info;
} scene;

static void scene_open(scene *c, const shape *s)
{
    rwkv_options o = options_isa(NULL);
    memset(c, 0, sizeof *c);
    c->m = model_image_new(s);
    o.allocator.alloc = heap_alloc;
    o.allocator.free = heap_free;
    o.allocator.user = &c->heap;
    c->model = load_image(&c->m, &o);
    c->info = rwkv_model_info(c->model);
}

static void scene_close(scene *c)
{
    rwkv_free(c->model);
    CHECK_INT(c->heap.live, 0);
    CHECK_INT(c->heap.errors, 0);
    model_image_free(&c->m);
}

static void read_tokens(rwkv_state *state, uint64_t seed, int n)
{
    int i;
    for (i = 0; i < n; i++) CHECK(rwkv_eval(random_below(&seed, plain.V), state) != NULL);
}

static void initial_values(void)
{
    scene c;
    rwkv_state *state;
    int l, i, n, part;
    scene_open(&c, &plain);
    state = rwkv_state_new(c.model);
    for (l = 0; l < plain.L; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *x = rwkv_state_view(state, (rwkv_part)part, l, &n);
            float empty = part == RWKV_PART_ATT_P ? -1e30f : 0.0f;
            for (i = 0; i < n; i++) CHECK(x[i] == empty);
        }
    }
    for (i = 0; i < plain.V; i++) CHECK(rwkv_logits(state)[i] == 0);
    for (i = 0; i < plain.D; i++) CHECK(rwkv_hidden(state)[i] == 0);
    rwkv_state_free(state);
    scene_close(&c);
}

static void views(void)
{
    static const int counts[] = {20, 24, 24, 24, 20}; /* D A A A D */
    scene c;
    rwkv_state *state, *other;
    int l, part, n;
    scene_open(&c, &plain);
    state = rwkv_state_new(c.model);
    other = rwkv_state_new(c.model);
    for (l = 0; l < plain.L; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            n = -5;
            CHECK(rwkv_state_view(state, (rwkv_part)part, l, &n) != NULL);
            CHECK_INT(n, counts[part]);
            CHECK(rwkv_state_view(state, (rwkv_part)part, l, NULL) != NULL);
        }
    }
    CHECK(rwkv_state_view(state, RWKV_PART_ATT_A, -1, &n) == NULL);
    CHECK(rwkv_state_view(state, RWKV_PART_ATT_A, plain.L, &n) == NULL);
    CHECK(rwkv_state_view(state, RWKV_PART_ATT_A, 0x7FFFFFFF, NULL) == NULL);
    CHECK(rwkv_state_view(state, (rwkv_part)5, 0, &n) == NULL);
    CHECK(rwkv_state_view(state, (rwkv_part)-1, 0, NULL) == NULL);
    CHECK(rwkv_state_view(NULL, RWKV_PART_ATT_A, 0, &n) == NULL);
    /* what is written through a view is what goes on */
    read_tokens(state, 3, 15);
    for (l = 0; l < plain.L; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *from = rwkv_state_view(state, (rwkv_part)part, l, &n);
            float *to = rwkv_state_view(other, (rwkv_part)part, l, NULL);
            memcpy(to, from, sizeof(float) * (size_t)n);
        }
    }
    read_tokens(state, 4, 1);
    read_tokens(other, 4, 1);
    same_states(other, state, &plain);
    rwkv_state_free(state);
    rwkv_state_free(other);
    scene_close(&c);
}

static void reset_is_new(void)
{
    scene c;
    rwkv_state *state, *fresh;
    scene_open(&c, &plain);
    state = rwkv_state_new(c.model);
    fresh = rwkv_state_new(c.model);
    read_tokens(state, 5, 20);
    rwkv_state_reset(state);
    same_states(state, fresh, &plain);
    read_tokens(state, 6, 5);
    read_tokens(fresh, 6, 5);
    same_states(state, fresh, &plain);
    rwkv_state_free(state);
    rwkv_state_free(fresh);
    scene_close(&c);
}

static void check_clones(const shape *s)
{
    scene c;
    long live;
    int n;
    scene_open(&c, s);
    live = c.heap.live; /* the model, and a copy of its data on a big-endian machine */
    for (n = 0; n < 25; n++) {
        rwkv_state *state = rwkv_state_new(c.model), *clone;
        read_tokens(state, 7, n);
        clone = rwkv_state_clone(state);
        if (!CHECK(clone != NULL)) break;
        same_states(clone, state, s);
        read_tokens(state, 8, 4);
        read_tokens(clone, 8, 4);
        same_states(clone, state, s);
        rwkv_state_free(state); /* the clone lives on its own */
        read_tokens(clone, 9, 1);
        rwkv_state_free(clone);
    }
    CHECK_INT(c.heap.live, live);
    scene_close(&c);
}

static void clone_goes_on(void)
{
    check_clones(&plain);
    check_clones(&of_codes);
}

static void copy_goes_on(void)
{
    scene c;
    rwkv_state *a, *b;
    long calls;
    scene_open(&c, &plain);
    a = rwkv_state_new(c.model);
    b = rwkv_state_new(c.model);
    read_tokens(a, 10, 12);
    read_tokens(b, 11, 30);
    calls = c.heap.calls;
    rwkv_state_copy(b, a);
    same_states(b, a, &plain);
    rwkv_state_copy(a, a);
    same_states(b, a, &plain);
    read_tokens(a, 12, 6);
    read_tokens(b, 12, 6);
    same_states(b, a, &plain);
    CHECK_INT(c.heap.calls, calls);
    rwkv_state_free(a);
    rwkv_state_free(b);
    scene_close(&c);
}

static void copy_between_models_does_nothing(void)
{
    scene c, other;
    rwkv_state *a, *b, *was;
    scene_open(&c, &plain);
    scene_open(&other, &plain); /* the same bytes, but another model */
    a = rwkv_state_new(c.model);
    b = rwkv_state_new(other.model);
    read_tokens(a, 13, 10);
    read_tokens(b, 14, 10);
    was = rwkv_state_clone(b);
    rwkv_state_copy(b, a);
    same_states(b, was, &plain);
    rwkv_state_copy(b, NULL);
    rwkv_state_copy(NULL, a);
    same_states(b, was, &plain);
    rwkv_state_free(a);
    rwkv_state_free(b);
    rwkv_state_free(was);
    scene_close(&c);
    scene_close(&other);
}

static void null_is_harmless(void)
{
    char byte;
    CHECK(rwkv_state_new(NULL) == NULL);
    CHECK(rwkv_state_clone(NULL) == NULL);
    CHECK(rwkv_state_init(NULL, &byte, 1) == NULL);
    rwkv_state_copy(NULL, NULL);
    rwkv_state_reset(NULL);
    rwkv_state_free(NULL);
    CHECK_INT(rwkv_state_save(NULL, NULL, 0), 0);
    CHECK_INT(rwkv_state_load(NULL, &byte, 1), RWKV_ERR_ARGUMENT);
    CHECK(rwkv_logits(NULL) == NULL);
    CHECK(rwkv_hidden(NULL) == NULL);
}

/* ---- memory of the caller ----------------------------------------------- */

static void init_at_any_address(void)
{
    enum { GUARD = 64 };
    scene c;
    rwkv_state *good;
    unsigned char *memory, *base;
    void *raw;
    size_t bytes, i;
    int off;
    scene_open(&c, &plain);
    bytes = c.info.state_bytes;
    base = aligned_bytes(bytes + 64 + 2 * GUARD, &raw);
    good = rwkv_state_new(c.model);
    read_tokens(good, 15, 9);
    for (off = 0; off < 64; off++) {
        rwkv_state *state;
        size_t n = bytes + 64 + 2 * GUARD;
        int spoilt = 0;
        memory = base + GUARD + off;
        memset(base, 0xA5, n);
        CHECK(rwkv_state_init(c.model, memory, bytes - 1) == NULL);
        CHECK(rwkv_state_init(c.model, memory, 0) == NULL);
        state = rwkv_state_init(c.model, memory, bytes);
        if (!CHECK_MSG(state != NULL, "offset %d", off)) continue;
        read_tokens(state, 15, 4);
        rwkv_state_reset(state);
        read_tokens(state, 15, 9);
        same_states(state, good, &plain);
        rwkv_state_free(state); /* does nothing */
        same_states(state, good, &plain);
        for (i = 0; i < n; i++) {
            int inside = i >= (size_t)(GUARD + off) && i < (size_t)(GUARD + off) + bytes;
            if (!inside && base[i] != 0xA5) spoilt = 1;
        }
        CHECK_MSG(!spoilt, "offset %d: wrote outside its memory", off);
    }
    CHECK(rwkv_state_init(c.model, NULL, bytes) == NULL);
    rwkv_state_free(good);
    free(raw);
    scene_close(&c);
}

/* A chunk read in such memory stays inside it too.                           */
static void check_chunks(const shape *s)
{
    static const int chunks[] = {1, 3, 16, 64, 100};
    model_image m = model_image_new(s);
    size_t k;
    for (k = 0; k < sizeof chunks / sizeof *chunks; k++) {
        rwkv_options o = options_isa(NULL);
        rwkv_model *model;
        rwkv_state *state;
        unsigned char *base;
        void *raw;
        size_t bytes, i;
        int tokens[150];
        o.chunk = chunks[k];
        model = load_image(&m, &o);
        bytes = rwkv_model_info(model).state_bytes;
        base = aligned_bytes(bytes + 256, &raw);
        memset(base, 0xA5, bytes + 256);
        state = rwkv_state_init(model, base + 77, bytes);
        random_tokens(1, s->V, tokens, 150);
        CHECK(rwkv_eval_sequence(tokens, 150, state) != NULL);
        for (i = 0; i < 77; i++) CHECK(base[i] == 0xA5);
        for (i = 77 + bytes; i < bytes + 256; i++) CHECK(base[i] == 0xA5);
        free(raw);
        rwkv_free(model);
    }
    model_image_free(&m);
}

static void init_with_a_chunk(void)
{
    check_chunks(&plain);
    check_chunks(&of_codes);
}

/* ---- saving ------------------------------------------------------------- */

static void save_asks_and_refuses(void)
{
    scene c;
    rwkv_state *state;
    unsigned char *out;
    size_t n, size;
    scene_open(&c, &plain);
    state = rwkv_state_new(c.model);
    read_tokens(state, 16, 5);
    n = c.info.save_bytes;
    CHECK_INT(rwkv_state_save(state, NULL, 0), n);
    CHECK_INT(rwkv_state_save(state, NULL, n), n);
    out = (unsigned char *)test_alloc(n + 16);
    for (size = 0; size < n; size++) {
        size_t i, touched = 0;
        memset(out, 0x77, n + 16);
        CHECK_INT(rwkv_state_save(state, out, size), n);
        for (i = 0; i < n + 16; i++) touched += out[i] != 0x77;
        CHECK_MSG(touched == 0, "size %lu wrote %lu bytes", (unsigned long)size,
                  (unsigned long)touched);
    }
    CHECK_INT(rwkv_state_save(state, out, n + 16), n);
    for (size = n; size < n + 16; size++) CHECK(out[size] == 0x77);
    free(out);
    rwkv_state_free(state);
    scene_close(&c);
}

/* At random points of a text, on every isa, at odd addresses.                */
static void check_saved(const shape *s)
{
    scene c;
    uint64_t seed = 17;
    int round, i, n_isa = 0;
    uint8_t *data, *memory;
    rwkv_model *model[16];
    scene_open(&c, s);
    while (n_isa < 16 && rwkv_isa_available(n_isa)) {
        rwkv_options o = options_isa(rwkv_isa_available(n_isa));
        model[n_isa++] = load_image(&c.m, &o);
    }
    memory = (uint8_t *)test_alloc(c.info.save_bytes + 64);
    for (round = 0; round < 60; round++) {
        rwkv_state *state = rwkv_state_new(c.model), *other;
        int from = random_below(&seed, 40);
        read_tokens(state, seed, from);
        data = memory + random_below(&seed, 64);
        CHECK_INT(rwkv_state_save(state, data, c.info.save_bytes), c.info.save_bytes);
        other = rwkv_state_new(model[round % n_isa]);
        read_tokens(other, seed, round % 3); /* loading replaces whatever was there */
        CHECK_INT(rwkv_state_load(other, data, c.info.save_bytes), RWKV_OK);
        same_states(other, state, s);
        for (i = 0; i < 5; i++) {
            read_tokens(other, seed + 1, 3);
            read_tokens(state, seed + 1, 3);
            same_states(other, state, s);
        }
        rwkv_state_free(state);
        rwkv_state_free(other);
    }
    for (i = 0; i < n_isa; i++) rwkv_free(model[i]);
    free(memory);
    scene_close(&c);
}

static void saved_states_go_on(void)
{
    check_saved(&plain);
    check_saved(&of_codes);
}

/* Little-endian floats in the order of rwkv_part, then the hidden vector.    */
static void saved_numbers_are_readable(void)
{
    scene c;
    rwkv_state *state;
    uint8_t *data;
    const uint8_t *p;
    size_t bytes;
    int l, part, n, i;
    scene_open(&c, &plain);
    state = rwkv_state_new(c.model);
    read_tokens(state, 18, 8);
    data = saved(state, &bytes);
    p = data + bytes - 4 * (size_t)(plain.L * (2 * plain.D + 3 * plain.A) + plain.D);
    for (l = 0; l < plain.L; l++) {
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *x = rwkv_state_view(state, (rwkv_part)part, l, &n);
            for (i = 0; i < n; i++, p += 4) CHECK_INT(get32(p), float_bits(x[i]));
        }
    }
    for (i = 0; i < plain.D; i++, p += 4) CHECK_INT(get32(p), float_bits(rwkv_hidden(state)[i]));
    free(data);
    rwkv_state_free(state);
    scene_close(&c);
}

static void refuse(rwkv_state *state, rwkv_state *was, const void *data, size_t size,
                   const char *what, size_t where)
{
    rwkv_result r = rwkv_state_load(state, data, size);
    CHECK_MSG(r == RWKV_ERR_FORMAT || r == RWKV_ERR_MISMATCH, "%s %lu: %s", what,
              (unsigned long)where, rwkv_result_string(r));
    if (r == RWKV_OK) rwkv_state_copy(state, was);
}

/* Every bit flipped and every length: refused, and the state is as it was.   */
static void corrupt_states_are_refused(void)
{
    static const shape tiny = {5, 2, 3, 2, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    scene c;
    rwkv_state *saved_one, *state, *was;
    uint8_t *data, *longer;
    size_t bytes, i;
    scene_open(&c, &tiny);
    saved_one = rwkv_state_new(c.model);
    state = rwkv_state_new(c.model);
    for (i = 0; i < 4; i++) CHECK(rwkv_eval((int)i, saved_one) != NULL);
    for (i = 0; i < 3; i++) CHECK(rwkv_eval(4, state) != NULL);
    was = rwkv_state_clone(state);
    data = saved(saved_one, &bytes);
    for (i = 0; i < 8 * bytes; i++) {
        data[i / 8] ^= (uint8_t)(1 << i % 8);
        refuse(state, was, data, bytes, "bit", i);
        data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (i = 0; i < bytes; i++) {
        uint8_t *cut = (uint8_t *)test_alloc(i); /* exactly so long, for sanitizers */
        memcpy(cut, data, i);
        refuse(state, was, cut, i, "length", i);
        free(cut);
    }
    longer = (uint8_t *)test_alloc(bytes + 1);
    memcpy(longer, data, bytes);
    longer[bytes] = 0;
    refuse(state, was, longer, bytes + 1, "length", bytes + 1);
    same_states(state, was, &tiny);
    CHECK_INT(rwkv_state_load(state, NULL, bytes), RWKV_ERR_ARGUMENT);
    CHECK_INT(rwkv_state_load(state, data, bytes), RWKV_OK); /* it was good all along */
    same_states(state, saved_one, &tiny);
    free(longer);
    free(data);
    rwkv_state_free(state);
    rwkv_state_free(was);
    rwkv_state_free(saved_one);
    scene_close(&c);
}

/* Each byte of the header, with a checksum that is right: of bytes 16 to 23 depends which model it
 * belongs to.                                                                 */
static void every_byte_of_the_header_counts(void)
{
    static const shape tiny = {5, 2, 3, 2, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    scene c;
    rwkv_state *state;
    uint8_t *data;
    size_t bytes, i;
    scene_open(&c, &tiny);
    state = rwkv_state_new(c.model);
    CHECK(rwkv_eval(1, state) != NULL);
    data = saved(state, &bytes);
    for (i = 0; i < AT_SAVE_CRC; i++) {
        data[i] ^= i == 12 ? 3 : 0x40; /* 12: whether there are logits, 1 or 0        */
        saved_fix(data, bytes);
        CHECK_MSG(rwkv_state_load(state, data, bytes) ==
                      (i >= 16 && i < 24 ? RWKV_ERR_MISMATCH : RWKV_ERR_FORMAT), "byte %lu", (unsigned long)i);
        data[i] ^= i == 12 ? 3 : 0x40;
    }
    saved_fix(data, bytes);
    CHECK_INT(rwkv_state_load(state, data, bytes), RWKV_OK);
    free(data);
    rwkv_state_free(state);
    scene_close(&c);
}

/* Of another file: other weights, another type, another shape.               */
static void foreign_states_are_refused(void)
{
    enum { OTHERS = 6 };
    shape others[OTHERS];
    scene c;
    rwkv_state *state, *was;
    int i;
    for (i = 0; i < OTHERS; i++) others[i] = plain;
    others[0].seed = 2;
    others[1].type = RWKV_TYPE_F16;
    others[2].L = 4;
    others[3].V = 36; /* a state of the same size */
    others[4].type = RWKV_TYPE_Q8;
    others[5].type = RWKV_TYPE_Q4;
    scene_open(&c, &plain);
    state = rwkv_state_new(c.model);
    read_tokens(state, 19, 5);
    was = rwkv_state_clone(state);
    for (i = 0; i < OTHERS; i++) {
        scene other;
        rwkv_state *foreign;
        uint8_t *data;
        size_t bytes;
        scene_open(&other, &others[i]);
        foreign = rwkv_state_new(other.model);
        CHECK(rwkv_eval(1, foreign) != NULL);
        data = saved(foreign, &bytes);
        CHECK_INT(rwkv_state_load(state, data, bytes), RWKV_ERR_MISMATCH);
        same_states(state, was, &plain);
        free(data);
        rwkv_state_free(foreign);
        scene_close(&other);
    }
    rwkv_state_free(state);
    rwkv_state_free(was);
    scene_close(&c);
}

/* A state saved before anything was read: zeros for logits, then and later.  */
static void empty_state_is_saved(void)
{
    scene c;
    rwkv_state *empty, *state;
    uint8_t *data;
    size_t bytes;
    scene_open(&c, &plain);
    empty = rwkv_state_new(c.model);
    state = rwkv_state_new(c.model);
    data = saved(empty, &bytes);
    read_tokens(state, 20, 5);
    CHECK_INT(rwkv_state_load(state, data, bytes), RWKV_OK);
    same_states(state, empty, &plain);
    free(data);
    rwkv_state_free(empty);
    rwkv_state_free(state);
    scene_close(&c);
}

/* ---- for a long time ---------------------------------------------------- */

/* 100,000 tokens: nothing grows, nothing is allocated, and a state that was saved
 * and restored now and then is the same as one that was not.                 */
static void a_long_run(void)
{
    enum { ALL = 100000, PIECE = 1000 };
    static const shape tiny = {16, 6, 6, 12, 1, RWKV_TYPE_F32, TOKENIZER_NONE, DECAYS, 3};
    scene c;
    rwkv_state *state, *other;
    uint64_t seed = 21;
    int tokens[PIECE], t, i, n, part;
    long calls;
    scene_open(&c, &tiny);
    state = rwkv_state_new(c.model);
    other = rwkv_state_new(c.model);
    calls = c.heap.calls;
    for (t = 0; t < ALL; t += PIECE) {
        random_tokens(random_bits(&seed), tiny.V, tokens, PIECE);
        if (t % (5 * PIECE) == 0) memset(tokens, 0, sizeof tokens); /* one token for long */
        for (i = 0; i < PIECE; i++) CHECK(rwkv_eval(tokens[i], state) != NULL);
        CHECK(rwkv_eval_sequence(tokens, PIECE, other) != NULL);
        if (t % (20 * PIECE) == 0) {
            size_t bytes;
            uint8_t *data = saved(other, &bytes);
            rwkv_state_reset(other);
            CHECK_INT(rwkv_state_load(other, data, bytes), RWKV_OK);
            free(data);
        }
        for (part = RWKV_PART_ATT_X; part <= RWKV_PART_FFN_X; part++) {
            const float *x = rwkv_state_view(state, (rwkv_part)part, 0, &n);
            for (i = 0; i < n; i++) CHECK_MSG(x[i] - x[i] == 0, "token %d part %d", t, part);
        }
        for (i = 0; i < tiny.V; i++) CHECK_MSG(fabsf(rwkv_logits(state)[i]) < 100, "token %d", t);
        if (!same_states(other, state, &tiny)) break;
    }
    CHECK_INT(c.heap.calls, calls);
    rwkv_state_free(state);
    rwkv_state_free(other);
    scene_close(&c);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(initial_values);
    RUN(views);
    RUN(reset_is_new);
    RUN(clone_goes_on);
    RUN(copy_goes_on);
    RUN(copy_between_models_does_nothing);
    RUN(null_is_harmless);
    RUN(init_at_any_address);
    RUN(init_with_a_chunk);
    RUN(save_asks_and_refuses);
    RUN(saved_states_go_on);
    RUN(saved_numbers_are_readable);
    RUN(corrupt_states_are_refused);
    RUN(every_byte_of_the_header_counts);
    RUN(foreign_states_are_refused);
    RUN(empty_state_is_saved);
    RUN(a_long_run);
    return test_end();
}
