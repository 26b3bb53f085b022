/* fuzz_api.c: a program of calls in any order, with arguments that are wrong in any way: they
 * fail as they say, and what fails changes nothing.
 *
 * Input: calls, each a byte for which one, and bytes for its arguments. There are two models and
 * four places for states of either.                                          */
#include "fuzz.h"

enum { STATES = 4, MODELS = 2, MOST = 12, LARGEST_V = 300, MOST_CALLS = 60 };

static const shape shapes[MODELS] = {
    {9, 5, 7, 9, 2, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1},
    {LARGEST_V, 20, 3, 17, 1, RWKV_TYPE_Q4, TOKENIZER_WORLD, PLAIN, 2},
};

static struct {
    model_image image; /* stays as long as the program                         */
    rwkv_model *model;
} known[MODELS];

static struct {
    rwkv_state *state; /* or NULL                                              */
    int         model;
    void       *memory; /* of yours, or NULL                                   */
    uint8_t    *before; /* saved, with the logits it had                       */
    float       logits[LARGEST_V];
} place[STATES];

static void place_clear(int i)
{
    rwkv_state_free(place[i].state);
    free(place[i].memory);
    place[i].state = NULL;
    place[i].memory = NULL;
}

static void place_put(int i, rwkv_state *state, int model)
{
    place_clear(i);
    place[i].state = state;
    place[i].model = model;
}

static void remember(void)
{
    size_t size;
    int i;
    for (i = 0; i < STATES; i++) {
        place[i].before = place[i].state ? saved(place[i].state, &size) : NULL;
        if (place[i].state)
            memcpy(place[i].logits, rwkv_logits(place[i].state),
                   sizeof(float) * (size_t)shapes[place[i].model].V);
    }
}

/* All states, or all but that at `but`, are as they were.                     */
static void check_unchanged(int but)
{
    size_t size;
    int i;
    for (i = 0; i < STATES; i++) {
        uint8_t *now;
        if (i == but || !place[i].state) continue;
        now = saved(place[i].state, &size);
        FUZZ_CHECK(memcmp(now, place[i].before, size) == 0);
        FUZZ_CHECK(memcmp(rwkv_logits(place[i].state), place[i].logits,
                          sizeof(float) * (size_t)shapes[place[i].model].V) == 0);
        free(now);
    }
}

static int next_int(source *s)
{
    static const int odd[8] = {0, -1, -2, 0x7FFFFFFF, -0x7FFFFFFF - 1, 65536, 256, 257};
    const uint32_t b = next_byte(s);
    return b < 0xE0 ? (int)(b % 16) : odd[b % 8];
}

static void call(source *s)
{
    const uint32_t which = next_byte(s) % 21;
    const int i = (int)next_byte(s) % STATES;
    int j = (int)next_byte(s) % STATES;
    const int nothing = next_byte(s) % 8 == 0; /* NULL for an argument              */
    rwkv_state *const state = nothing ? NULL : place[i].state;
    const int model = place[i].model, V = shapes[model].V;
    int tokens[MOST], n, k, good = 1, count = 7, result;
    float out[MOST * LARGEST_V], *view;
    remember();
    switch (which) {
    case 0: case 1: /* so that much is read                                     */
        tokens[0] = which ? (int)next_byte(s) % V : next_int(s);
        good = state && tokens[0] >= 0 && tokens[0] < V;
        FUZZ_CHECK((rwkv_eval(tokens[0], state) != NULL) == good);
        check_unchanged(good ? i : -1);
        break;
    case 2: case 3: case 4:
        n = next_byte(s) % 4 ? (int)next_byte(s) % (MOST + 1) : -1;
        for (k = 0; k < MOST; k++) {
            tokens[k] = next_byte(s) % 32 ? (int)next_byte(s) % V : next_int(s);
            if (k < n) good = good && tokens[k] >= 0 && tokens[k] < V;
        }
        good = good && state && n >= 0;
        for (k = 0; k < MOST * LARGEST_V; k++) out[k] = -7;
        if (which == 2) result = rwkv_eval_sequence(tokens, n, state) != NULL;
        else if (which == 3) result = rwkv_eval_all(tokens, n, state, out) == RWKV_OK;
        else result = rwkv_score(tokens, n, state, out) == RWKV_OK;
        FUZZ_CHECK(result == good);
        for (k = !good || which == 2 ? 0 : n * (which == 3 ? V : 1); k < MOST * LARGEST_V; k++)
            FUZZ_CHECK(out[k] == -7);
        check_unchanged(good ? i : -1);
        break;
    case 5: case 6: {
        rwkv_state *several[STATES];
        int used[STATES] = {0}, at[STATES];
        n = which == 5 ? 1 + (int)next_byte(s) % STATES : next_int(s) % (STATES + 1);
        for (k = 0; k < STATES; k++) {
            at[k] = (int)next_byte(s) % STATES;
            several[k] = place[at[k]].state;
            tokens[k] = next_byte(s) % 16 ? (int)next_byte(s) % 9 : next_int(s);
        }
        for (k = 0; k < n; k++) {
            good = good && several[k] && !used[at[k]] && place[at[k]].model == place[at[0]].model &&
                   tokens[k] >= 0 && tokens[k] < shapes[place[at[0]].model].V;
            used[at[k]] = 1;
        }
        good = good && n >= 0;
        FUZZ_CHECK((rwkv_eval_batch(tokens, several, n) == RWKV_OK) == good);
        if (!good) check_unchanged(-1);
        for (k = 0; good && k < STATES; k++) /* others stay as they are               */
            if (!used[k] && place[k].state) {
                size_t size;
                uint8_t *now = saved(place[k].state, &size);
                FUZZ_CHECK(memcmp(now, place[k].before, size) == 0);
                free(now);
            }
        break;
    }
    case 7:
        tokens[0] = next_int(s);
        out[0] = rwkv_logprob(state, tokens[0]);
        good = state && tokens[0] >= 0 && tokens[0] < V;
        FUZZ_CHECK(good ? out[0] <= 0 : out[0] != out[0]);
        out[V] = -7;
        FUZZ_CHECK((rwkv_softmax(nothing ? NULL : known[model].model, rwkv_logits(state), out) ==
                    RWKV_OK) == (state != NULL));
        FUZZ_CHECK(!state || (out[0] >= 0 && out[V - 1] <= 1 && out[V] == -7));
        check_unchanged(-1);
        break;
    case 8:
        if (i != j) place_put(j, rwkv_state_clone(state), model);
        FUZZ_CHECK(i == j || (place[j].state != NULL) == (state != NULL));
        check_unchanged(i == j ? -1 : j);
        break;
    case 9:
        rwkv_state_copy(place[j].state, state);
        check_unchanged(state && place[j].state && place[j].model == model ? j : -1);
        break;
    case 10:
        rwkv_state_reset(state);
        check_unchanged(state ? i : -1);
        break;
    case 11:
        place_clear(i);
        check_unchanged(-1);
        break;
    case 12: case 13: {
        const int to = (int)next_byte(s) % MODELS;
        place_put(i, rwkv_state_new(nothing ? NULL : known[to].model), to);
        FUZZ_CHECK((place[i].state != NULL) == !nothing);
        check_unchanged(i);
        break;
    }
    case 14: {
        const int to = (int)next_byte(s) % MODELS, less = next_byte(s) % 4 == 0;
        const size_t needs = rwkv_model_info(known[to].model).state_bytes, off = next_byte(s) % 64;
        uint8_t *memory = (uint8_t *)test_alloc(needs + off);
        rwkv_state *made = rwkv_state_init(nothing ? NULL : known[to].model, memory + off,
                                           needs - (size_t)less);
        FUZZ_CHECK((made != NULL) == (!nothing && !less));
        place_put(i, made, to);
        place[i].memory = memory;
        check_unchanged(i);
        break;
    }
    case 15: {
        const size_t size = rwkv_state_save(state, NULL, 0), cut = next_byte(s) % 4 ? 0 : 1;
        uint8_t *blob = (uint8_t *)test_alloc(size + 1);
        FUZZ_CHECK((size > 0) == (state != NULL));
        memset(blob, 0x55, size + 1);
        FUZZ_CHECK(rwkv_state_save(state, blob, size - (size ? cut : 0)) == size);
        FUZZ_CHECK(blob[size] == 0x55 && (!cut || blob[0] == 0x55));
        good = state && !cut && place[j].state && place[j].model == model;
        FUZZ_CHECK((rwkv_state_load(place[j].state, blob, size) == RWKV_OK) == good);
        check_unchanged(good ? j : -1);
        free(blob);
        break;
    }
    case 16:
        n = next_int(s);
        k = next_int(s);
        view = rwkv_state_view(state, (rwkv_part)(n & 7), k, next_byte(s) % 2 ? &count : NULL);
        FUZZ_CHECK((view != NULL) == (state && (n & 7) <= RWKV_PART_FFN_X && k >= 0 &&
                                      k < shapes[model].L));
        check_unchanged(-1);
        break;
    case 17: {
        rwkv_sampler sampler;
        memset(&sampler, 0, sizeof sampler);
        sampler.temperature = (float)(next_byte(s) % 3);
        sampler.n_bias = next_byte(s) % 8 ? 0 : next_int(s);
        n = rwkv_sample(next_byte(s) % 8 ? &sampler : NULL, state);
        FUZZ_CHECK(n >= -1 && n < LARGEST_V && (state || n == -1));
        check_unchanged(-1);
        break;
    }
    case 18: {
        const rwkv_model *of = nothing ? NULL : known[i % MODELS].model;
        char text[8];
        for (k = 0; k < 8; k++) text[k] = (char)next_byte(s);
        k = (int)next_byte(s) % (MOST + 1);
        j = (int)next_byte(s) % 9;
        n = rwkv_tokenize(of, next_byte(s) % 8 ? text : NULL, (size_t)j, tokens, k);
        FUZZ_CHECK(n <= 8 && (of || n < 0));
        k = next_int(s) % MOST;
        n = rwkv_tokenize_special(of, text, 8, next_byte(s) % 4 ? tokens : NULL, k);
        FUZZ_CHECK(n <= 8);
        (void)rwkv_token_bytes(of, next_int(s), &count);
        FUZZ_CHECK(count >= 0);
        FUZZ_CHECK(rwkv_model_info(of).n_vocab == (of ? shapes[i % MODELS].V : 0));
        FUZZ_CHECK((rwkv_verify(of, NULL) == RWKV_OK) == !nothing);
        FUZZ_CHECK(rwkv_result_string((rwkv_result)next_byte(s)) != NULL);
        (void)rwkv_isa_available(next_int(s));
        break;
    }
    case 19: /* some steps of a token, and then the rest, or not                    */
        tokens[0] = next_int(s);
        good = state && tokens[0] >= 0 && tokens[0] < V;
        FUZZ_CHECK((rwkv_eval_begin(tokens[0], state) == RWKV_OK) == good);
        FUZZ_CHECK(good || !rwkv_eval_end(state));
        for (k = (int)next_byte(s) % 8; good && k > 0; k--) FUZZ_CHECK(rwkv_eval_step(state) >= 0);
        FUZZ_CHECK(!good || (!rwkv_logits(state) && !rwkv_eval(0, state)));
        k = next_byte(s) % 4;
        if (good && k == 0) rwkv_state_reset(state);
        else if (good && k == 1 && i != j && place[j].state && place[j].model == model)
            rwkv_state_copy(state, place[j].state);
        else if (good) FUZZ_CHECK(rwkv_eval_end(state) != NULL);
        check_unchanged(good ? i : -1);
        break;
    default: {
        rwkv_options o;
        rwkv_error error;
        rwkv_model *made;
        memset(&o, 0, sizeof o);
        o.n_threads = next_int(s);
        o.chunk = next_int(s);
        o.flags = (uint32_t)next_int(s) % 4;
        o.isa = next_byte(s) % 4 ? NULL : next_byte(s) % 2 ? "scalar" : "none";
        good = o.n_threads >= 0 && o.n_threads <= 256 && o.chunk >= 0 && o.chunk <= 65536 &&
               o.flags <= 1 && (!o.isa || o.isa[0] == 's') && !nothing;
        made = rwkv_load_memory(nothing ? NULL : known[0].image.data, known[0].image.size, &o, &error);
        FUZZ_CHECK((made != NULL) == good && (error.code == RWKV_OK) == good);
        rwkv_free(made);
        check_unchanged(-1);
    }
    }
    for (k = 0; k < STATES; k++) free(place[k].before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    source s;
    int i;
    if (!known[0].model) {
        rwkv_options o;
        memset(&o, 0, sizeof o);
        o.chunk = 3;
        for (i = 0; i < MODELS; i++) {
            known[i].image = model_image_new(&shapes[i]);
            known[i].model = load_image(&known[i].image, &o);
            FUZZ_CHECK(known[i].model);
        }
    }
    s.at = data;
    s.end = data + size;
    for (i = 0; i < MOST_CALLS && s.at < s.end; i++) call(&s);
    for (i = 0; i < STATES; i++) place_clear(i);
    return 0;
}
