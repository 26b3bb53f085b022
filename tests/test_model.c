/* test_model.c: what rwkv_model_info says, and the options of a model. */
#include "../rwkv.h"
#include "test.h"
#include "model.h"

static const shape shapes[] = {
    {1, 1, 1, 1, 1, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {2, 1, 1, 4, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 2},
    {37, 20, 24, 33, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 3},
    {37, 20, 24, 33, 2, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 3},
    {37, 20, 24, 33, 2, RWKV_TYPE_BF16, TOKENIZER_NONE, PLAIN, 3},
    {256, 64, 64, 256, 3, RWKV_TYPE_BF16, TOKENIZER_BYTES, PLAIN, 4},
    {400, 17, 31, 5, 4, RWKV_TYPE_F16, TOKENIZER_WORLD, PLAIN, 5},
    {5, 3, 300, 2, 40, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 6},
    {1500, 257, 16, 1000, 1, RWKV_TYPE_F16, TOKENIZER_NONE, PLAIN, 7},
    {1, 1, 1, 1, 1, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 8},
    {37, 20, 24, 33, 2, RWKV_TYPE_Q8, TOKENIZER_NONE, PLAIN, 9},
    {2, 33, 31, 65, 3, RWKV_TYPE_Q4, TOKENIZER_NONE, PLAIN, 10},
    {400, 257, 96, 1000, 2, RWKV_TYPE_Q4, TOKENIZER_WORLD, PLAIN, 11},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void info_of_many_shapes(void)
{
    int i;
    for (i = 0; i < N_SHAPES; i++) {
        const shape *s = &shapes[i];
        model_image m = model_image_new(s);
        rwkv_model *model = load_image(&m, NULL);
        rwkv_info info = rwkv_model_info(model);
        CHECK_INT(info.version, 4);
        CHECK_INT(info.n_vocab, s->V);
        CHECK_INT(info.n_embd, s->D);
        CHECK_INT(info.n_att, s->A);
        CHECK_INT(info.n_ffn, s->F);
        CHECK_INT(info.n_layer, s->L);
        CHECK_INT(info.type, s->type);
        CHECK_INT(info.model_bytes, m.size);
        CHECK(info.isa != NULL);
        rwkv_free(model);
        model_image_free(&m);
    }
}

static void info_of_null(void)
{
    rwkv_info info = rwkv_model_info(NULL);
    CHECK_INT(info.version, 0);
    CHECK_INT(info.n_vocab, 0);
    CHECK_INT(info.n_embd, 0);
    CHECK_INT(info.n_att, 0);
    CHECK_INT(info.n_ffn, 0);
    CHECK_INT(info.n_layer, 0);
    CHECK_INT(info.type, 0);
    CHECK_INT(info.model_bytes, 0);
    CHECK_INT(info.state_bytes, 0);
    CHECK_INT(info.save_bytes, 0);
    CHECK(info.isa == NULL);
    rwkv_free(NULL);
}

/* Such a machine needs a copy of the model, with its bytes swapped.          */
static int big_endian(void)
{
    uint8_t bytes[4];
    uint32_t one = 1;
    memcpy(bytes, &one, 4);
    return bytes[0] == 0;
}

/* A saved state holds at least the recurrence and the hidden vector, from which
 * the logits can be made again; a live state these, the logits and its scratch,
 * and state_new asks for no more.                                            */
static void sizes_are_consistent(void)
{
    int i;
    for (i = 0; i < N_SHAPES; i++) {
        const shape *s = &shapes[i];
        model_image m = model_image_new(s);
        test_heap heap;
        rwkv_options o = options_isa(NULL);
        rwkv_model *model;
        rwkv_state *state;
        rwkv_info info;
        size_t model_live;
        size_t least = 4 * ((size_t)s->L * (2 * (size_t)s->D + 3 * (size_t)s->A) + (size_t)s->D);
        memset(&heap, 0, sizeof heap);
        o.allocator.alloc = heap_alloc;
        o.allocator.free = heap_free;
        o.allocator.user = &heap;
        model = load_image(&m, &o);
        model_live = heap.live_bytes;
        info = rwkv_model_info(model);
        CHECK_MSG(info.save_bytes >= least, "%lu, at least %lu", (unsigned long)info.save_bytes,
                  (unsigned long)least);
        CHECK_MSG(info.save_bytes <= least + 256, "%lu, at least %lu",
                  (unsigned long)info.save_bytes, (unsigned long)least);
        CHECK_MSG(info.state_bytes >= least + 4 * (size_t)s->V, "%lu, at least %lu",
                  (unsigned long)info.state_bytes, (unsigned long)least);
        CHECK_MSG(model_live < 4096 + (big_endian() ? m.size : 0), "the model took %lu bytes",
                  (unsigned long)model_live);
        state = rwkv_state_new(model);
        CHECK(state != NULL);
        CHECK_MSG(heap.live_bytes - model_live <= info.state_bytes + 64, "took %lu, said %lu",
                  (unsigned long)(heap.live_bytes - model_live), (unsigned long)info.state_bytes);
        CHECK_INT(rwkv_state_save(state, NULL, 0), info.save_bytes);
        rwkv_state_free(state);
        CHECK_INT(heap.live_bytes, model_live);
        rwkv_free(model);
        CHECK_INT(heap.live, 0);
        CHECK_INT(heap.errors, 0);
        model_image_free(&m);
    }
}

/* More rows in a pass need more scratch; nothing else depends on them.       */
static void chunk_sets_the_scratch(void)
{
    static const int chunks[] = {1, 2, 16, 64, 1000, 65536};
    model_image m = model_image_new(&shapes[2]);
    rwkv_options o = options_isa(NULL);
    rwkv_model *model = load_image(&m, NULL);
    rwkv_info usual = rwkv_model_info(model);
    size_t last = 0, i;
    rwkv_free(model);
    for (i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        rwkv_info info;
        o.chunk = chunks[i];
        model = load_image(&m, &o);
        info = rwkv_model_info(model);
        CHECK_MSG(info.state_bytes > last, "chunk %d: %lu bytes", chunks[i],
                  (unsigned long)info.state_bytes);
        last = info.state_bytes;
        CHECK_INT(info.save_bytes, usual.save_bytes);
        if (chunks[i] <= 2) CHECK(info.state_bytes < usual.state_bytes);
        if (chunks[i] >= 1000) CHECK(info.state_bytes > usual.state_bytes);
        rwkv_free(model);
    }
    model_image_free(&m);
}

static void check_bad_option(int value, int threads)
{
    model_image m = model_image_new(&shapes[2]);
    const char *name = threads ? "n_threads" : "chunk";
    rwkv_options o = options_isa(NULL);
    rwkv_error error;
    char number[16];
    *(threads ? &o.n_threads : &o.chunk) = value;
    CHECK_MSG(rwkv_load_memory(m.data, m.size, &o, &error) == NULL, "%s %d", name, value);
    CHECK_INT(error.code, RWKV_ERR_ARGUMENT);
    snprintf(number, sizeof number, "%d", value);
    CHECK_MSG(strstr(error.message, number) && strstr(error.message, name), "%d: %s", value,
              error.message);
    CHECK_INT(error.offset, 0);
    model_image_free(&m);
}

static void bad_chunks(void)
{
    static const int bad[] = {-1, -2147483647, 65537, 2147483647};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) check_bad_option(bad[i], 0);
}

static void bad_threads(void)
{
    static const int bad[] = {-1, -2147483647, 257, 2147483647};
    size_t i;
    for (i = 0; i < sizeof bad / sizeof *bad; i++) check_bad_option(bad[i], 1);
}

static void unknown_flags(void)
{
    model_image m = model_image_new(&shapes[2]);
    rwkv_options o = options_isa(NULL);
    rwkv_error error;
    o.flags = 0x80000000u;
    CHECK(rwkv_load_memory(m.data, m.size, &o, &error) == NULL);
    CHECK_INT(error.code, RWKV_ERR_ARGUMENT);
    o.flags = RWKV_FLAG_NO_MMAP | 2;
    CHECK(rwkv_load_memory(m.data, m.size, &o, &error) == NULL);
    CHECK_INT(error.code, RWKV_ERR_ARGUMENT);
    CHECK(strstr(error.message, "3") != NULL);
    CHECK_INT(error.offset, 0);
    o.flags = 0;
    o.isa = "none";
    CHECK(rwkv_load_memory(m.data, m.size, &o, &error) == NULL);
    CHECK_INT(error.code, RWKV_ERR_UNSUPPORTED);
    CHECK(strstr(error.message, "\"none\"") != NULL);
    CHECK_INT(error.offset, 0);
    model_image_free(&m);
}

/* A model borrows the bytes and does not write to them.                      */
static void check_image_stays(const shape *s)
{
    model_image m = model_image_new(s), copy = model_image_new(s);
    rwkv_model *model = load_image(&m, NULL);
    rwkv_state *state = rwkv_state_new(model);
    int i;
    for (i = 0; i < 30; i++) CHECK(rwkv_eval(i, state) != NULL);
    rwkv_state_free(state);
    rwkv_free(model);
    CHECK_SAME(m.data, copy.data, m.size);
    model_image_free(&m);
    model_image_free(&copy);
}

static void image_stays_as_it_is(void)
{
    check_image_stays(&shapes[6]);
    check_image_stays(&shapes[12]);
}

int main(int argc, char **argv)
{
    test_begin(argc, argv);
    RUN(info_of_many_shapes);
    RUN(info_of_null);
    RUN(sizes_are_consistent);
    RUN(chunk_sets_the_scratch);
    RUN(bad_chunks);
    RUN(bad_threads);
    RUN(unknown_flags);
    RUN(image_stays_as_it_is);
    return test_end();
}
