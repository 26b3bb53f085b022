/* bench.c: how near rwkv.h comes to this machine's own limits.
 *
 *     bench [--models LIST] [--types LIST] [--threads LIST] [--seconds N]
 *           [--parts table,batch,linear,layers] [--batch MODEL] [--linear MODEL]
 *           [--tokens N] [--peer PROGRAM] [--json FILE]
 *
 * A model is `story` (the bundled one), 169M, 430M or 1.5B (random weights in the
 * paper's shapes, made on the spot in a temporary file; TMPDIR says where), or a
 * file. Types are f32, f16, bf16, q8 and q4; a file has its own, and q8 and q4
 * are made of it. Every measurement is a process of its own. The parts:
 *
 *   table    Each model, type and number of threads. Writing a token reads every
 *            weight once, so its limit is the read bandwidth, measured on as many
 *            bytes as the token reads: of a cache, if the model fits into one.
 *            What ffn.value need not read, because its inputs are zero, counts
 *            as read. Reading a prompt of 512 tokens is matrix multiplication,
 *            so its limit is the peak of fused multiply-adds or, for q8 and q4,
 *            of exact products of 8-bit integers summed in 32 bits. Limits are
 *            measured in turn with what they limit, round after round, and what
 *            is printed are medians: on a shared machine only the ratios mean
 *            something, and not even they, if others had much of a core. N
 *            seconds are spent on each line, more if three rounds take longer.
 *   batch    Tokens per second of rwkv_eval_batch for 1 to 64 states of --batch.
 *   linear   The time and memory of --tokens tokens of --linear, one by one.
 *   layers   Where the time of a token of the bundled model goes.
 *
 * --peer: another program that is measured in turn with this one, on each line of
 * the table. PROGRAM is given to sh with four words after it: the model as it is
 * named here (169M), the type, the number of threads, and how many tokens to read
 * at once and then to write one by one. The last line that it prints begins with
 * two numbers: tokens per second of writing, and of reading.
 *
 * --json: all figures, one object a line; tests/plot.py draws them.          */
#include "bench.h"
#include "bench_limits.h"
#include "bench_models.h"
#include "bench_curves.h"
#include "bench_layers.h"

enum { MOST_ROUNDS = 64, PREFILL = 512, TEXT = 256, PEER_TOKENS = 256, PEER_ROUNDS = 3 };

typedef struct settings {
    const char *models, *types, *threads, *parts, *batch, *linear, *peer;
    double      seconds;
    int         tokens;
    FILE       *json; /* or NULL                                               */
} settings;

/* ---- a line of the table ------------------------------------------------ */

typedef struct line_of {
    const char *name, *path, *peer; /* peer: or NULL                             */
    rwkv_type   type;
    int         n_threads;
    double      seconds;
} line_of;

typedef struct line {
    double decode, decode_rate, read, of_read; /* tokens/s, GB/s, GB/s, %          */
    double prompt, prompt_rate, peak, of_peak; /* tokens/s, GFLOP/s, GFLOP/s, %    */
    double zeros, load, resident;              /* %, ms, MB                        */
    double others;                             /* % of a core that others used     */
    double peer_decode, peer_prompt, own_decode, own_prompt; /* tokens/s           */
    char   isa[16];
} line;

/* What a model writes by itself, for as long as a second; random tokens, if it is
 * random itself.                                                             */
static int write_text(const rwkv_info *info, rwkv_state *state, int *tokens)
{
    rwkv_sampler sampler;
    double start = now();
    int n, token = 0;
    if (info->tokenizer == RWKV_TOKENIZER_NONE) {
        random_tokens(2, info->n_vocab, tokens, TEXT);
        return TEXT;
    }
    memset(&sampler, 0, sizeof sampler);
    sampler.temperature = 1;
    for (n = 0; n < TEXT && (n < 8 || now() - start < 1); n++) {
        tokens[n] = token;
        rwkv_eval(token, state);
        token = rwkv_sample(&sampler, state);
    }
    rwkv_state_reset(state);
    return n;
}

typedef struct zero_count {
    const rwkv_model *model;
    int               layer;
    double            zeros, all;
} zero_count;

static void count_zeros(void *watcher, const rwkv__matmul *product)
{
    zero_count *count = (zero_count *)watcher;
    size_t k;
    if (product->exponent != rwkv__weights(count->model, RWKV__FFN_V, count->layer)) return;
    for (k = 0; k < product->n_in; k++) count->zeros += product->x[k] == 0;
    count->all += (double)product->n_in;
    count->layer = (count->layer + 1) % rwkv__L(count->model);
}

/* How many of the inputs of ffn.value are zero in this text, in %.           */
static double zero_share(const rwkv_model *model, rwkv_state *state, const int *tokens, int n)
{
    const double start = now();
    zero_count count = {NULL, 0, 0, 0};
    rwkv__pass pass;
    int i;
    count.model = model;
    memset(&pass, 0, sizeof pass);
    pass.m = model;
    pass.state = state;
    pass.T = 1;
    pass.watch = count_zeros;
    pass.watcher = &count;
    for (i = 0; i < n && (i < 8 || now() - start < 1); i++) rwkv__forward(&pass, &tokens[i]);
    return count.all > 0 ? 100 * count.zeros / count.all : 0;
}

/* Rounds of writing tokens between two looks at the read bandwidth.          */
static void measure_decode(const line_of *in, rwkv_state *state, const int *text, int n_text,
                           line *out)
{
    const double bytes = matrix_bytes(state->model), slice = in->seconds < 2 ? 0.02 : 0.2;
    double decode[MOST_ROUNDS], limit[MOST_ROUNDS], share[MOST_ROUNDS], end, start, used;
    reading pool;
    int n, k, at = 0;
    reading_init(&pool, bytes, in->n_threads);
    read_limit(&pool);
    for (n = 0, end = now() + in->seconds / 2; n < MOST_ROUNDS && (n < 3 || now() < end); n++) {
        limit[n] = read_limit(&pool);
        start = now();
        for (k = 0, used = 0; used < slice; k++, used = now() - start)
            rwkv_eval(text[at++ % n_text], state);
        decode[n] = k / used;
        limit[n] = 0.5 * (limit[n] + read_limit(&pool));
        share[n] = 100 * decode[n] * bytes / 1e9 / limit[n];
    }
    reading_free(&pool);
    out->decode = median(decode, n);
    out->decode_rate = out->decode * bytes / 1e9;
    out->read = median(limit, n);
    out->of_read = median(share, n);
}

/* Rounds of reading a prompt between two looks at the peak.                  */
static void measure_prompt(const line_of *in, const rwkv_info *info, rwkv_state *state, line *out)
{
    const double operations = 2 * (layer_products(info) * PREFILL + head_products(info));
    const chains run = info->type >= RWKV_TYPE_Q8 ? dot_chains() : fma_chains();
    const double slice = in->seconds < 2 ? 0.01 : 0.05;
    double prompt[MOST_ROUNDS], limit[MOST_ROUNDS], share[MOST_ROUNDS], end, start, used;
    int tokens[PREFILL], n, k;
    random_tokens(1, info->n_vocab, tokens, PREFILL);
    rwkv_eval_sequence(tokens, PREFILL / 4, state); /* to warm up                   */
    for (n = 0, end = now() + in->seconds / 2; n < MOST_ROUNDS && (n < 3 || now() < end); n++) {
        limit[n] = peak_limit(run, in->n_threads);
        start = now();
        for (k = 0, used = 0; used < slice; k++, used = now() - start)
            rwkv_eval_sequence(tokens, PREFILL, state);
        prompt[n] = k / used;
        limit[n] = 0.5 * (limit[n] + peak_limit(run, in->n_threads));
        share[n] = 100 * prompt[n] * operations / 1e9 / limit[n];
    }
    out->prompt = median(prompt, n) * PREFILL;
    out->prompt_rate = out->prompt / PREFILL * operations / 1e9;
    out->peak = median(limit, n);
    out->of_peak = median(share, n);
}

/* What the peer says of itself.                                              */
static void ask_peer(const line_of *in, double *decode, double *prompt)
{
#if defined(_WIN32)
    fail(in->peer, "is not run on Windows");
    *decode = *prompt = 0;
#else
    char command[1024], text[512], last[512] = "";
    FILE *pipe_of;
    snprintf(command, sizeof command, "%s %s %s %d %d", in->peer, in->name, type_names[in->type],
             in->n_threads, PEER_TOKENS);
    pipe_of = popen(command, "r");
    if (!pipe_of) fail(command, "cannot be run");
    while (fgets(text, sizeof text, pipe_of))
        if (strspn(text, " \t\r\n") != strlen(text)) memcpy(last, text, sizeof last);
    if (pclose(pipe_of) != 0) fail(command, "failed");
    if (sscanf(last, "%lf %lf", decode, prompt) != 2 || *decode <= 0 || *prompt <= 0)
        fail(command, "its last line is not two numbers of tokens per second");
#endif
}

static void measure_peer(const line_of *in, const rwkv_info *info, rwkv_state *state, line *out)
{
    double decode[2][PEER_ROUNDS], prompt[2][PEER_ROUNDS], start;
    int tokens[PEER_TOKENS], n, i;
    random_tokens(3, info->n_vocab, tokens, PEER_TOKENS);
    for (n = 0; n < PEER_ROUNDS; n++) {
        ask_peer(in, &decode[0][n], &prompt[0][n]);
        rwkv_state_reset(state);
        start = now();
        rwkv_eval_sequence(tokens, PEER_TOKENS, state);
        prompt[1][n] = PEER_TOKENS / (now() - start);
        start = now();
        for (i = 0; i < PEER_TOKENS; i++) rwkv_eval(tokens[i], state);
        decode[1][n] = PEER_TOKENS / (now() - start);
    }
    out->peer_decode = median(decode[0], n);
    out->own_decode = median(decode[1], n);
    out->peer_prompt = median(prompt[0], n);
    out->own_prompt = median(prompt[1], n);
}

static void measure_line(const void *input, void *output)
{
    const line_of *in = (const line_of *)input;
    line *out = (line *)output;
    double start = now(), all[2], own[2], began = start;
    rwkv_model *model = load(in->path, in->n_threads, 0);
    rwkv_state *state;
    rwkv_info info;
    int text[TEXT], n_text;
    out->load = 1e3 * (now() - start);
    worked(&all[0], &own[0]);
    state = new_state(model);
    info = rwkv_model_info(model);
    n_text = write_text(&info, state, text);
    out->zeros = zero_share(model, state, text, n_text);
    measure_prompt(in, &info, state, out);
    out->resident = peak_megabytes(); /* before the memory that is only read        */
    measure_decode(in, state, text, n_text, out);
    worked(&all[1], &own[1]);
    out->others = 100 * (all[1] - all[0] - (own[1] - own[0])) / (now() - began);
    if (in->peer) measure_peer(in, &info, state, out);
    snprintf(out->isa, sizeof out->isa, "%s", info.isa);
    rwkv_state_free(state);
    rwkv_free(model);
}

static void print_line(const line_of *in, const line *l, FILE *json)
{
    char resident[16] = "-";
    if (l->resident >= 0) snprintf(resident, sizeof resident, "%.0f", l->resident);
    printf("%-12s %-4s %3d %9.1f %6.1f %6.1f %4.0f%% %5.0f%% %8.0f %7.1f %7.1f %4.0f%% %7.2f %7s",
           in->name, type_names[in->type], in->n_threads, l->decode, l->decode_rate, l->read,
           l->of_read, l->zeros, l->prompt, l->prompt_rate, l->peak, l->of_peak, l->load,
           resident);
    if (l->others > 12) printf("  others: %.0f%%", l->others);
    printf("\n");
    if (l->peer_decode > 0)
        printf("%21s peer: decode %.1f, here %.1f: %.2f times; "
               "prompt %.0f, here %.0f: %.2f times\n",
               "", l->peer_decode, l->own_decode, l->own_decode / l->peer_decode, l->peer_prompt,
               l->own_prompt, l->own_prompt / l->peer_prompt);
    if (!json) return;
    fprintf(json, "{\"part\": \"table\", \"model\": \"%s\", \"type\": \"%s\", \"threads\": %d, ",
            in->name, type_names[in->type], in->n_threads);
    fprintf(json, "\"isa\": \"%s\", \"decode\": %.4g, \"decode_rate\": %.4g, \"read\": %.4g, ",
            l->isa, l->decode, l->decode_rate, l->read);
    fprintf(json, "\"of_read\": %.4g, \"zeros\": %.4g, \"prompt\": %.5g, \"prompt_rate\": %.5g, ",
            l->of_read, l->zeros, l->prompt, l->prompt_rate);
    fprintf(json, "\"peak\": %.5g, \"of_peak\": %.4g, \"load\": %.4g, \"resident\": %s, ", l->peak,
            l->of_peak, l->load, l->resident >= 0 ? resident : "null");
    fprintf(json, "\"others\": %.3g", l->others);
    if (l->peer_decode > 0)
        fprintf(json, ", \"peer_decode\": %.4g, \"peer_prompt\": %.5g, \"own_decode\": %.4g, "
                "\"own_prompt\": %.5g",
                l->peer_decode, l->peer_prompt, l->own_decode, l->own_prompt);
    fprintf(json, "}\n");
}

/* The types of a model that are to be measured: those asked for, or those it is
 * known with, or a file's own.                                               */
static const char *types_of(const char *name, const char *types)
{
    if (types) return types;
    return known(name) ? known(name)->types : type_names[look(name).type];
}

static void table(const settings *s)
{
    char names[512], *name, *rest = names;
    printf("%-12s %-4s %3s %9s %6s %6s %5s %6s %8s %7s %7s %5s %7s %7s\n", "model", "type", "thr",
           "decode/s", "GB/s", "of", "", "zeros", "prompt/s", "GFLOP/s", "of", "", "load ms",
           "RSS MB");
    snprintf(names, sizeof names, "%s", s->models);
    while ((name = next_word(&rest)) != NULL) {
        const char *types = types_of(name, s->types);
        while (*types) {
            line_of in;
            line out;
            const char *threads = s->threads;
            in.name = name;
            in.type = next_type(&types);
            in.path = model_path(name, in.type);
            in.peer = s->peer;
            in.seconds = s->seconds;
            while (in.path && (in.n_threads = next_number(&threads)) > 0) {
                in_child(measure_line, &in, &out, sizeof out);
                print_line(&in, &out, s->json);
                fflush(stdout);
            }
        }
    }
    printf("decode/s, prompt/s: tokens per second written one by one, read %d at once\n"
           "GB/s: as if all matrices were read; zeros: inputs of ffn.value that need no reading\n"
           "GFLOP/s: for q8, q4 of integers; others: what else ran meanwhile, in %% of a core\n\n",
           PREFILL);
}

/* ---- the program -------------------------------------------------------- */

static void batch(const settings *s)
{
    const char *types = s->types ? s->types : is_shape(s->batch) ? "bf16,q8,q4" : NULL;
    int first = 1;
    for (types = types_of(s->batch, types); *types;) {
        const rwkv_type type = next_type(&types);
        const char *path = model_path(s->batch, type), *threads = s->threads;
        int n_threads;
        while (path && (n_threads = next_number(&threads)) > 0) {
            batch_line(s->batch, path, type, n_threads, s->seconds, first, s->json);
            first = 0;
        }
    }
    printf("\n");
}

static void linear(const settings *s)
{
    const char *types = types_of(s->linear, s->types), *path = NULL;
    rwkv_type type = RWKV_TYPE_DEFAULT;
    while (!path && *types) path = model_path(s->linear, type = next_type(&types));
    if (path) linear_curve(s->linear, path, type, s->tokens, s->json);
}

static void layers(const settings *s)
{
    const char *types = types_of("story", s->types);
    int n_threads = 1, n;
    const char *threads = s->threads;
    while ((n = next_number(&threads)) > 0)
        if (n > n_threads) n_threads = n;
    while (*types) {
        const rwkv_type type = next_type(&types);
        const char *path = model_path("story", type);
        if (path) layers_of("story", path, type, n_threads, s->seconds, s->json);
    }
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench [--models LIST] [--types LIST] [--threads LIST] [--seconds N]\n"
            "             [--parts table,batch,linear,layers] [--batch MODEL] [--linear MODEL]\n"
            "             [--tokens N] [--peer PROGRAM] [--json FILE]\n"
            "a model is story, 169M, 430M, 1.5B or a file; a type f32, f16, bf16, q8 or q4\n");
    return 2;
}

static int valid(const settings *s)
{
    const char *types = s->types ? s->types : "", *threads = s->threads;
    while (*types)
        if (next_type(&types) == RWKV_TYPE_DEFAULT) return 0;
    while (*threads) {
        const int n = next_number(&threads);
        if (n < 1 || n > MOST_THREADS) return 0;
    }
    return s->seconds > 0 && s->tokens >= 2;
}

int main(int argc, char **argv)
{
    settings s = {"story,169M,430M,1.5B", NULL, "1", "table,batch,linear,layers", "169M", "story",
                  NULL, 3, 16384, NULL};
    const char *json = NULL;
    int i;
#if defined(_OPENMP)
    s.threads = "1,2";
#endif
    for (i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--models") == 0) s.models = argv[i + 1];
        else if (strcmp(argv[i], "--types") == 0) s.types = argv[i + 1];
        else if (strcmp(argv[i], "--threads") == 0) s.threads = argv[i + 1];
        else if (strcmp(argv[i], "--seconds") == 0) s.seconds = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--parts") == 0) s.parts = argv[i + 1];
        else if (strcmp(argv[i], "--batch") == 0) s.batch = argv[i + 1];
        else if (strcmp(argv[i], "--linear") == 0) s.linear = argv[i + 1];
        else if (strcmp(argv[i], "--tokens") == 0) s.tokens = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--peer") == 0) s.peer = argv[i + 1];
        else if (strcmp(argv[i], "--json") == 0) json = argv[i + 1];
        else return usage();
    }
    if (i < argc || !valid(&s)) return usage();
    if (s.seconds / 10 < limit_seconds) limit_seconds = s.seconds / 10;
    if (json && !(s.json = fopen(json, "w"))) fail(json, strerror(errno));
    catch_signals();
    if (strstr(s.parts, "table")) table(&s);
    if (strstr(s.parts, "batch")) batch(&s);
    if (strstr(s.parts, "linear")) linear(&s);
    if (strstr(s.parts, "layers")) layers(&s);
    remove_temporary();
    if (s.json && fclose(s.json) != 0) fail(json, "cannot be written");
    return 0;
}
