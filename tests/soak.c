/* soak.c: a million tokens of every kind, of floats and of codes; soak.h says what is looked at.
 *
 *     soak [--tokens N] [--types f32,q8,q4] [--streams random,one,two,text] [--limit X] MODEL...
 *
 * MODEL is a file of 32 or 16 bits, which becomes f32 and from there Q8 and Q4, or one of these,
 * with random weights in 3 layers of 48: `small`; `keys`, up to 120; `decays`, down to e^-20. The
 * exit status is 1 if there is a fault: floats farther from the twin than X (1e-4), or another
 * that soak.h names. A state takes some thousand tokens to fill, and to forget in floats; with
 * fewer than 20000 that looks like growth.
 *
 * Two limits of floats show here. Nearly all of the difference comes from p, the exponent of the
 * sums: at each token w is added to it, and where it is from 8 to 16 each of these sums is off by
 * up to 5e-7, by the same every time, until a key is greater. That is forgotten with what it
 * belongs to, so it does not grow, but for the bundled model, whose memories are long, it comes
 * to up to 1.9e-4 in a million tokens (root mean square: 3e-6). And a w below half a unit in the
 * last place of p is lost altogether: `decays`, where w is down to -2e-9, differs more and more
 * for as long as such a memory lasts.                                        */
#include "../rwkv.h"
#include "quality.h"
#include "soak.h"

enum { TYPES = 3 };

static const struct { const char *name; rwkv_type type; } types[TYPES] = {
    {"f32", RWKV_TYPE_F32}, {"q8", RWKV_TYPE_Q8}, {"q4", RWKV_TYPE_Q4}};

typedef struct settings {
    const char *types, *streams;
    long        n;
    double      limit;
} settings;

static void fail(const char *what, const char *why)
{
    fflush(stdout);
    fprintf(stderr, "soak: %s: %s\n", what, why);
    exit(2);
}

static model_image model_named(const char *name)
{
    static const struct { const char *name; model_style style; } random[3] = {
        {"small", PLAIN}, {"keys", KEYS}, {"decays", DECAYS}};
    shape s = {96, 48, 48, 120, 3, RWKV_TYPE_F32, TOKENIZER_NONE, PLAIN, 1};
    model_image file, m;
    int i;
    for (i = 0; i < 3; i++) {
        s.style = random[i].style;
        if (strcmp(name, random[i].name) == 0) return model_image_new(&s);
    }
    file = image_from_file(name);
    if (!file.data || file.s.type < RWKV_TYPE_F32 || file.s.type > RWKV_TYPE_BF16) {
        fail(name, "no model of 32 or 16 bits");
    }
    m = image_as(&file, RWKV_TYPE_F32, NULL);
    model_image_free(&file);
    return m;
}

static model_image quantized(const model_image *from, rwkv_type type)
{
    char in[512], out[512];
    rwkv_error error = {RWKV_OK, 0, "cannot be written"};
    model_image m;
    temporary_path(in);
    temporary_path(out);
    if (write_file(in, from->data, from->size) != 0 ||
        rwkv_quantize(in, out, type, &error) != RWKV_OK) {
        remove(in);
        fail(out, error.message);
    }
    m = image_from_file(out);
    remove(in);
    remove(out);
    if (!m.data) fail(out, "cannot be read");
    return m;
}

/* One line of the table. Returns whether all is well.                        */
static int line(const settings *c, const model_image *m, const char *type, soak_stream stream)
{
    const clock_t begin = clock();
    soak_plan plan = {NULL, SOAK_RANDOM, 0, 1, NULL};
    soak_result r;
    const char *fault;
    int i;
    plan.image = m;
    plan.n = c->n;
    plan.stream = stream;
    r = soak(&plan);
    fault = soak_fault(&plan, &r, m->s.type == RWKV_TYPE_F32 ? c->limit : (double)INFINITY);
    printf("%-5s%-7s%10.2e%10.2e%+8.1f %%%8ld%10.1f%8ld%+6ld  %08lx%08lx%7.0f  %s\n     ", type,
           soak_names[stream], r.farthest, r.rms[SOAK_WINDOWS - 1], 100 * r.growth, r.top,
           r.largest, r.kilobytes, r.more, (unsigned long)(r.hash >> 32),
           (unsigned long)(r.hash & 0xFFFFFFFFu), (double)(clock() - begin) / CLOCKS_PER_SEC,
           fault ? fault : "well");
    for (i = 0; i < SOAK_WINDOWS; i++) printf(" %.2e", r.most[i]);
    printf("\n");
    fflush(stdout);
    return !fault;
}

static int table(const settings *c, const char *name)
{
    model_image m = model_named(name), q;
    int k, stream, well = 1;
    printf("%s: V %d, D %d, A %d, F %d, L %d; %ld tokens of each stream\n"
           "type stream  farthest  last rms   growth   other   largest      KB  more"
           "              hash  CPU s\n     farthest of each tenth of the tokens\n",
           name, m.s.V, m.s.D, m.s.A, m.s.F, m.s.L, c->n);
    for (k = 0; k < TYPES; k++) {
        if (!strstr(c->types, types[k].name)) continue;
        q = types[k].type == RWKV_TYPE_F32 ? m : quantized(&m, types[k].type);
        for (stream = 0; stream < SOAK_STREAMS; stream++) {
            if (!strstr(c->streams, soak_names[stream])) continue;
            well &= line(c, &q, types[k].name, (soak_stream)stream);
        }
        if (types[k].type != RWKV_TYPE_F32) model_image_free(&q);
    }
    model_image_free(&m);
    return well;
}

int main(int argc, char **argv)
{
    settings c = {"f32,q8,q4", "random,one,two,text", 1000000, 1e-4};
    int i, well = 1;
    for (i = 1; i + 1 < argc && argv[i][0] == '-'; i += 2) {
        if (strcmp(argv[i], "--tokens") == 0) c.n = atol(argv[i + 1]);
        else if (strcmp(argv[i], "--types") == 0) c.types = argv[i + 1];
        else if (strcmp(argv[i], "--streams") == 0) c.streams = argv[i + 1];
        else if (strcmp(argv[i], "--limit") == 0) c.limit = atof(argv[i + 1]);
        else fail(argv[i], "no such option");
    }
    c.n -= c.n % (SOAK_WINDOWS * SOAK_PIECE);
    if (i >= argc || c.n <= 0) {
        fprintf(stderr, "usage: soak [--tokens N] [--types f32,q8,q4] "
                "[--streams random,one,two,text] [--limit X] MODEL...\n");
        return 2;
    }
    for (; i < argc; i++) well &= table(&c, argv[i]);
    return !well;
}
