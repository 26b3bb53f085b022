/* bench_text.c: how fast text becomes tokens.
 *
 *     bench_text [--rust PACKAGE TOKENIZER.json] [FILE.rwkv...]
 *
 * Texts of 1 MB are made on the spot: English prose, and many scripts mixed with
 * code. Without files the small vocabularies of the tests are used. --rust names
 * the folder of the npm package `tokenizers`, in which the Rust library of Hugging
 * Face is, and the vocabulary for it; it is run in turn with the 20B tokenizer on
 * the same text, round after round. Printed are medians.                     */
#include "bench.h"

enum { TEXT_BYTES = 1000000, ROUNDS = 5 };

/* ---- texts -------------------------------------------------------------- */

static const char *const words[] = { /* the commonest first */
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "was", "as", "with", "be", "on",
    "by", "he", "at", "this", "are", "not", "have", "from", "which", "but", "his", "an", "they",
    "you", "were", "had", "one", "their", "we", "has", "more", "been", "there", "would", "when",
    "who", "will", "no", "out", "time", "can", "its", "other", "about", "some", "people", "after",
    "first", "between", "many", "these", "government", "water", "because", "through", "small",
    "language", "different", "number", "found", "against", "children", "question", "research",
    "published", "university", "afternoon", "something", "important", "mountains", "information",
    "particular", "understand", "experiments", "development", "neighbouring", "temperature",
    "characteristic", "Mediterranean", "photosynthesis", "incomprehensible", "don't", "it's",
    "they're", "1984", "25", "100,000", "London", "Mr", "Shakespeare", "Wednesday", "zoology"
};

static const char *const lines[] = {
    "Der schnelle braune Fuchs springt über den faulen Hund. ",
    "Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis. ",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.\n",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ", "דג סקרן שט בים מאוכזב ולפתע מצא חברה. ",
    "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. ", "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा।\n",
    "いろはにほへと ちりぬるを、東京都に住んでいます。", "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。\n",
    "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ",
    "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ", "Tiếng Việt có nhiều dấu thanh; ", "e\xCC\x81te\xCC\x81, nai\xCC\x88ve. ",
    "for (int i = 0; i < n; i++) {\n    total += x[i] * 0.5;\n}\n", "\t\treturn a->b ? NULL : \"%d\\n\";\r\n",
    "👩‍👩‍👧‍👦 🎉🎉 — “quoted” … ", "https://example.org/path?q=1&r=abc_def#top\n", "3.14159 × 10²³ ≈ ∞; "
};

static char *english(void)
{
    enum { N = sizeof words / sizeof *words };
    char *text = (char *)test_alloc(TEXT_BYTES + 64), *p = text;
    uint64_t seed = 1;
    while (p < text + TEXT_BYTES) {
        double u = random_uniform(&seed, 0, 1);
        const char *word = words[(int)(u * u * N)];
        const int end = random_below(&seed, 12);
        p += sprintf(p, "%s%s", word, end == 0 ? ".\n" : end == 1 ? ". " : end == 2 ? ", " : " ");
    }
    return text;
}

static char *mixed(void)
{
    char *text = (char *)test_alloc(TEXT_BYTES + 256), *p = text;
    uint64_t seed = 2;
    while (p < text + TEXT_BYTES) {
        p += sprintf(p, "%s", lines[random_below(&seed, sizeof lines / sizeof *lines)]);
    }
    return text;
}

/* ---- runs --------------------------------------------------------------- */

/* Megabytes a second of the package, measured by itself; 0 if it cannot be run. */
static double rust_speed(const char *package, const char *json, const char *path)
{
    double speed = 0;
#if !defined(_WIN32)
    char command[2048];
    FILE *pipe;
    snprintf(command, sizeof command, "node tests/bench_text.cjs '%s' '%s' '%s'", package, json,
             path);
    pipe = popen(command, "r");
    if (pipe) {
        if (fscanf(pipe, "%lf", &speed) != 1) speed = 0;
        pclose(pipe);
    }
#else
    (void)package, (void)json, (void)path;
#endif
    return speed;
}

static void bench_text(const rwkv_model *model, const char *name, const char *text,
                       const char *package, const char *json)
{
    size_t length = strlen(text);
    int *tokens = (int *)test_alloc(sizeof *tokens * 3 * length), n = 0, i;
    double speed[ROUNDS], rust[ROUNDS], ratio[ROUNDS], start;
    const int compare = package && rwkv_model_info(model).tokenizer == RWKV_TOKENIZER_20B;
    char path[512];
    FILE *file = NULL;
    if (compare && (file = fopen(temporary_path(path), "wb")) != NULL) {
        fwrite(text, 1, length, file);
        fclose(file);
    }
    for (i = 0; i < ROUNDS; i++) {
        start = now();
        n = rwkv_tokenize(model, text, length, tokens, (int)(3 * length));
        speed[i] = (double)length / 1e6 / (now() - start);
        rust[i] = file ? rust_speed(package, json, path) : 0;
        ratio[i] = rust[i] > 0 ? speed[i] / rust[i] : 0;
    }
    if (file) remove(path);
    printf("%-10s %10d %8.1f", name, n, median(speed, ROUNDS));
    if (median(rust, ROUNDS) > 0) {
        printf(" %8.1f %7.1f", median(rust, ROUNDS), median(ratio, ROUNDS));
    }
    printf("\n");
    free(tokens);
}

static void bench_model(const rwkv_model *model, const char *name, const char *package,
                        const char *json)
{
    char *text;
    printf("%s\n%-10s %10s %8s %8s %7s\n", name, "text", "tokens", "MB/s", "Rust", "ratio");
    text = english();
    bench_text(model, "English", text, package, json);
    free(text);
    text = mixed();
    bench_text(model, "mixed", text, package, json);
    free(text);
}

static int bench_file(const char *path, const char *package, const char *json)
{
    rwkv_error error;
    rwkv_model *model = rwkv_load(path, NULL, &error);
    if (!model) {
        fprintf(stderr, "bench_text: %s\n", error.message);
        return 1;
    }
    bench_model(model, path, package, json);
    rwkv_free(model);
    return 0;
}

int main(int argc, char **argv)
{
    static const shape world = {600, 2, 2, 2, 1, RWKV_TYPE_F32, TOKENIZER_WORLD, PLAIN, 2};
    const char *package = NULL, *json = NULL;
    model_image image;
    rwkv_model *model;
    int i = 1, failed = 0;
    if (argc > 3 && strcmp(argv[1], "--rust") == 0) {
        package = argv[2];
        json = argv[3];
        i = 4;
    }
    if (i < argc) {
        for (; i < argc; i++) failed |= bench_file(argv[i], package, json);
        return failed;
    }
    printf("no models with the published vocabularies given: those of the tests\n");
    image = model_image_new(&world);
    model = load_image(&image, NULL);
    if (model) bench_model(model, "600 random tokens, longest match", NULL, NULL);
    rwkv_free(model);
    model_image_free(&image);
    return bench_file("tests/fixtures/bpe.rwkv", NULL, NULL);
}
