/* compress.c: make a text small by what a model expects, and bring it back on any
 * machine, because the model expects the same to the bit there.
 *     cc -O2 -o compress examples/compress.c -lm
 *     ./compress examples/story.rwkv tale.txt tale.rwkz
 *     ./compress --decompress examples/story.rwkv tale.rwkz tale.txt            */
#define PROGRAM "compress"
#include "common.h"
#include "writer.h"
#include "coder.h"
#include "archive.h"

#define RWKV_IMPLEMENTATION
#include "../rwkv.h"

#ifdef _WIN32
#include <fcntl.h>
#endif

static const char usage[] =
    "usage: compress [options] MODEL [IN | - [OUT | -]]\n"
    "Write IN, any bytes, as an archive OUT; with --decompress, the archive IN as what it\n"
    "was. The same MODEL file is needed at both ends, on whatever machines. Text of the kind\n"
    "that it was trained on gets smallest; what it does not expect grows by less than 0.1 %\n"
    "and 60 bytes. It takes the time of reading the text with the model, and of writing it\n"
    "when it comes back, and as much memory however long the text is.\n\n"
    "  --decompress     an archive that is cut or damaged is an error, and then there is no\n"
    "                   OUT (standard output has what came before)\n"
    "  --progress       on standard error (if that is a terminal)\n"
    "  --quiet          no progress\n"
    "  --isa NAME       kernels to use: scalar, avx2, ... (the widest that there are)\n"
    "  --threads N      threads to use, if built with OpenMP\n";

typedef struct progress {
    double size, begin, next; /* of IN, or 0; when it began; next report */
    int    width;             /* of the terminal that sees it, or 0 */
} progress;

static out_file out; /* OUT, if it is a file: not to be left behind unless it is complete */

static void discard(void)
{
    if (out.file) out_close(&out, 0);
}

static void show(const archive *a, const progress *p, int end)
{
    double time = seconds() - p->begin, text = a->coder.text, bytes = a->coder.bytes;
    char   line[512];
    int    n = sprintf(line, "%.0f bytes, archive %.0f, %.3f bits per byte, %.1f KB/s", text, bytes,
                       8 * bytes / fmax(text, 1), text / 1e3 / fmax(time, 1e-6));
    if (!end) add_left(line + n, p->size, a->coder.in ? bytes : text, time);
    fprintf(stderr, "\r%-*.*s%s", p->width - 1, p->width - 1, line, end ? "\n" : "");
}

static void report(const archive *a, void *user)
{
    progress *p = (progress *)user;
    if (interrupted) exit(128 + interrupted);
    if (!p->width || seconds() < p->next) return;
    show(a, p, 0);
    p->next = seconds() + 0.25;
}

static void binary(FILE *stream)
{
#ifdef _WIN32
    _setmode(_fileno(stream), _O_BINARY);
#endif
    (void)stream;
}

int main(int argc, char **argv)
{
    const char  *words[3] = {NULL, "-", "-"};
    int          help = 0, back = 0, shown = -1, to_file;
    rwkv_options load = {0, 0, STEP, NULL, {NULL, NULL, NULL}, {NULL, NULL}};
    rwkv_model  *model;
    rwkv_error   error;
    archive      a;
    progress     p = {0, 0, 0, 0};
    const option options[] = {{"--decompress", '1', &back, 0, 0}, {"--progress", '1', &shown, 0, 0},
                              {"--quiet", '0', &shown, 0, 0}, {"--isa", 's', &load.isa, 0, 0},
                              {"--threads", 'i', &load.n_threads, 1, 256}, HELP_OPTIONS(help)};
    parse_options(argc, argv, options, words, 3);
    if (help) return fputs(usage, stdout), all_said();
    to_file = strcmp(words[2], "-") != 0;
    if (!back && !to_file && is_terminal(stdout))
        fail(2, "expected the name of an archive: the terminal would be sent its bytes");
    model = open_model(words[0], &load);
    if (rwkv_verify(model, &error) != RWKV_OK) fail(1, "%s: %s", words[0], error.message);

    memset(&a, 0, sizeof a);
    archive_init(&a, model);
    p.width = writer_to(stderr).width;
    p.width = shown < 0 || p.width ? p.width * (shown != 0) : shown * 80;
    a.report = report;
    a.user = &p;
    binary(stdin);
    binary(stdout);
    a.in = open_text(&words[1]);
    if (!a.in) return 1;
    a.in_name = words[1];
    a.out_name = to_file ? words[2] : "standard output";
    a.out = stdout;
    atexit(discard);
    catch_interrupt();
    catch_signal(SIGTERM);
#ifdef SIGHUP
    catch_signal(SIGHUP);
#endif
    if (to_file && !out_open(&out, words[2])) fail(1, "%s: %s", words[2], strerror(errno));
    if (to_file) a.out = out.file;
    p.size = bytes_left(a.in);
    p.begin = seconds();
    if (back) decompress(&a);
    else compress(&a);
    if (fflush(a.out) || ferror(a.out) || (to_file && !out_close(&out, 1)))
        fail(1, "%s: %s", a.out_name, strerror(errno));
    if (p.width) show(&a, &p, 1);

    if (a.in != stdin) fclose(a.in);
    archive_free(&a);
    rwkv_free(model);
    return 0;
}
