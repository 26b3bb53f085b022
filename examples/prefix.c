/* prefix.c: read a long beginning once, then go on from it many times. A copy of
 * the state costs next to nothing however long the text was.
 *     cc -O2 -o prefix examples/prefix.c -lm && ./prefix examples/story.rwkv */
#define PROGRAM "prefix"
#include "common.h"
#include "writer.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

static const char usage[] =
    "usage: prefix [options] MODEL [FILE | -]\n"
    "Continue the text of FILE, of standard input (without one newline at its end), or\n"
    "one of its own, several times.\n\n"
    "  --count N        continuations; the seed of each next one is one more (%d)\n"
    "  --length N       write at most N tokens in each (%d)\n" SAMPLER_USAGE("1");

static const char own_text[] =
    "Once upon a time there was an old miller who had a mill by the river, and a daughter "
    "named Anna. Every day the wheel went round and round, and every day the miller said, "
    "\"The river does all the work, and we eat the bread.\" One summer no rain fell. The "
    "river grew small, and then it was only a little water between the stones, and the "
    "wheel stood still. \"What shall we eat now?\" said the miller. Anna took a loaf of bread "
    "and went up the river to see where the water had gone. She walked all day. In the "
    "evening she met a fox whose foot was caught under a stone. \"Help me,\" said the fox, "
    "\"and I will help you.\" So Anna lifted the stone, and she gave the fox a piece of her "
    "bread. The next day they came to a high hill. At the top sat a giant, and he was so "
    "big that he had stopped the river with his back. \"He sleeps, and he will not wake for "
    "a hundred years,\" said the fox. Anna was afraid, but she thought of her father and of "
    "the mill. She went up to the giant, and she said in his ear,";

static int *prefix_tokens(const char *file, const rwkv_model *model, int *n)
{
    size_t size = sizeof own_text - 1;
    char  *text = file ? read_prompt_file(file, &size) : NULL;
    const char *name = file ? file_name(file) : "its own text";
    int   *tokens = tokens_of(model, name, text ? text : own_text, size, n);
    if (*n == 0) fail(1, "%s: no text in it", name);
    free(text);
    return tokens;
}

static void read_prefix(const rwkv_model *model, const int *tokens, int n, rwkv_state *state)
{
    begin_text(model, state, 1);
    rwkv_eval_sequence(tokens, n, state);
}

static void write_text(const rwkv_model *model, rwkv_sampler *sampler, int number, int length,
                       rwkv_state *state)
{
    writer out = writer_to(stdout);
    int    end = end_of_text(model), n, token;
    char   mark[32];
    sprintf(mark, "%d. ...", number);
    writer_put(&out, mark, strlen(mark));
    for (n = 0; n < length && (token = rwkv_sample(sampler, state)) != end; n++) {
        if (!writer_token(&out, model, token)) break;
        rwkv_eval(token, state);
    }
    if (!writer_end(&out)) writer_quit(&out);
}

int main(int argc, char **argv)
{
    rwkv_sampler sampler = {.temperature = 0.7f, .top_p = 0.9f, .decay = 0.996f, .seed = 1}, s;
    const char  *words[2] = {NULL, NULL};
    int          count = 4, length = 60, help = 0, *tokens, n, i, equal = 0;
    double       begin, reading, copying = 0, again = 0;
    rwkv_model  *model;
    rwkv_state  *prefix, *state;
    size_t       V;
    const option options[] = {SAMPLER_OPTIONS(sampler), {"--count", 'i', &count, 1, 1000000},
                              {"--length", 'i', &length, 0, INT_MAX}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 2);
    if (help) return printf(usage, count, length, SAMPLER_DEFAULTS(sampler)), all_said();
    model = open_model(words[0], NULL);
    V = (size_t)rwkv_model_info(model).n_vocab * sizeof(float);
    sampler.counts = (float *)grab(1, V);
    tokens = prefix_tokens(words[1], model, &n);
    prefix = new_state(model);
    state = new_state(model);

    begin = seconds();
    read_prefix(model, tokens, n, prefix);
    reading = seconds() - begin;
    for (i = 0; i < count; i++) {
        begin = seconds();
        rwkv_state_copy(state, prefix);
        copying += seconds() - begin;
        s = sampler;
        s.seed += (uint64_t)i;
        memset(s.counts, 0, V);
        write_text(model, &s, i + 1, length, state);

        /* What it would cost without a copy, and that it would be the same. */
        begin = seconds();
        read_prefix(model, tokens, n, state);
        again += seconds() - begin;
        equal += memcmp(rwkv_logits(state), rwkv_logits(prefix), V) == 0;
    }
    fprintf(stderr, "\n%d continuations of %d tokens: read once and copied %.2f ms, "
            "read each time %.2f ms; %.1f times as fast, %s\n", count, n,
            1e3 * (reading + copying), 1e3 * again, again / (reading + copying),
            equal == count ? "and the same to the bit" : "but NOT EQUAL");
    rwkv_state_free(prefix);
    rwkv_state_free(state);
    rwkv_free(model);
    free(tokens);
    free(sampler.counts);
    return equal == count ? 0 : 1;
}
