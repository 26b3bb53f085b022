// story.cpp: hello.c in C++11. What the library hands out is owned by unique_ptr, which gives it back,
// the state before the model.
//     c++ -std=c++11 -O2 -o story examples/cpp/story.cpp -lm
#define RWKV_IMPLEMENTATION
#define RWKV_STATIC
#include "../../rwkv.h"

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct free_model {
    void operator()(rwkv_model *model) const { rwkv_free(model); }
};
struct free_state {
    void operator()(rwkv_state *state) const { rwkv_state_free(state); }
};

class story {
public:
    explicit story(const std::string &path)
    {
        rwkv_error error;
        model_.reset(rwkv_load(path.c_str(), nullptr, &error));
        if (!model_) throw std::runtime_error(error.message);
        state_.reset(rwkv_state_new(model_.get()));
        if (!state_) throw std::bad_alloc();
        rwkv_eval(0, state_.get()); // begins a text
    }

    void read(const std::string &text)
    {
        std::vector<int> tokens(3 * text.size());
        const int n = rwkv_tokenize(model_.get(), text.data(), text.size(), tokens.data(),
                                    static_cast<int>(tokens.size()));
        if (n == -RWKV_ERR_UNSUPPORTED) throw std::runtime_error("no vocabulary in the model");
        if (n < 0) throw std::runtime_error(rwkv_result_string(static_cast<rwkv_result>(-n)));
        rwkv_eval_sequence(tokens.data(), n, state_.get());
    }

    // What comes next, in whole characters; false at the end of the text.
    bool write(rwkv_sampler &sampler, std::string &text)
    {
        int size = 0;
        const int token = rwkv_sample(&sampler, state_.get());
        const char *bytes = rwkv_token_bytes(model_.get(), token, &size);
        text.resize(3 * (static_cast<std::size_t>(size) + 3));
        if (token == 0) bytes = nullptr; // nothing more: what is held back is replaced
        text.resize(static_cast<std::size_t>(
            rwkv_utf8_push(&stream_, bytes, size, &text[0], static_cast<int>(text.size()))));
        return token != 0 && rwkv_eval(token, state_.get());
    }

private:
    std::unique_ptr<rwkv_model, free_model> model_;
    std::unique_ptr<rwkv_state, free_state> state_;
    rwkv_utf8 stream_ = {{0, 0, 0}, 0};
};

} // namespace

int main(int argc, char **argv)
try {
    const std::string beginning = "Once upon a time";
    rwkv_sampler sampler = rwkv_sampler();
    sampler.temperature = 0.7f;
    sampler.top_p = 0.9f;
    sampler.seed = 3;

    story tale(argc > 1 ? argv[1] : "examples/story.rwkv");
    tale.read(beginning);
    std::cout << beginning;
    std::string text;
    for (int n = 0; n < 200; n++) {
        const bool more = tale.write(sampler, text);
        std::cout << text << std::flush;
        if (!more) break;
    }
    std::cout << std::endl;
    return std::cout ? 0 : 1;
} catch (const std::exception &problem) {
    std::cerr << "story: " << problem.what() << std::endl;
    return 1;
}
