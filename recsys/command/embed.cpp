// mettle embed: texts in, vectors of a pretrained encoder out.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "engine/file.h"
#include "engine/progress.h"
#include "engine/safetensors.h"
#include "models/sentence_encoder.h"
#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/options.h"
#include "recsys/work.h"

namespace mettle::command {
namespace {

struct EmbedOptions {
  MachineOptions machine;
  std::string model, input, out, pooling, dtype;
  std::vector<std::string> texts;
  std::int64_t max_tokens = 0;  // 0: what the model's folder says
};

constexpr std::string_view kStandardStream = "-";

// A text for each line; the end of the last one need not be there.
std::vector<std::string> lines_of(const std::string& file) {
  std::string all;
  if (file == kStandardStream)
    all.assign(std::istreambuf_iterator<char>(std::cin), {});
  else
    all = reading_input([&] { return read_file(file); });
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end = std::min(all.find('\n', at), all.size());
    std::string line = all.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

SentenceEncoder load_model(const EmbedOptions& options, Device device) {
  return reading_input([&] {
    SentenceEncoder encoder(options.model, dtype_named(options.dtype), device);
    SentenceOptions chosen = encoder.options();
    if (options.max_tokens > 0) chosen.max_tokens = options.max_tokens;
    if (!options.pooling.empty())
      chosen.pooling = options.pooling == "mean" ? SentenceOptions::Pooling::mean
                                                 : SentenceOptions::Pooling::first_token;
    encoder.set_options(chosen);
    return encoder;
  });
}

// {"text":...,"vector":[...]}, a line for each.
std::string as_lines(const std::vector<std::string>& texts, const Tensor& vectors) {
  std::string out;
  const auto width = static_cast<std::size_t>(vectors.size(1));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::span row(vectors.data<float>() + i * width, width);
    out += fmt::format(
        "{{\"text\":{},\"vector\":[{}]}}\n",
        nlohmann::json(texts[i]).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
        fmt::join(row, ","));
  }
  return out;
}

void write(const EmbedOptions& options, const std::vector<std::string>& texts,
           const Tensor& vectors) {
  if (options.out == kStandardStream)
    fmt::print("{}", as_lines(texts, vectors));
  else if (options.out.ends_with(".safetensors"))
    write_safetensors(options.out, {.tensors = {{"vectors", vectors}}, .metadata = {}});
  else
    write_file(options.out, as_lines(texts, vectors));
}

ExitCode run(const EmbedOptions& options) {
  const InterruptScope interrupt;
  const Device device = apply(options.machine);
  METTLE_CHECK(InputError, options.texts.empty() != options.input.empty(),
               "give texts, or --input FILE with a text for each line");
  const std::vector<std::string> texts =
      options.input.empty() ? options.texts : lines_of(options.input);
  METTLE_CHECK(InputError, !texts.empty(), "--input {}: no line in it", options.input);
  const SentenceEncoder encoder = load_model(options, device);
  try {
    Progress progress(std::cerr, terminal_of(2), "texts", std::ssize(texts));
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    const Tensor vectors = encoder.embed(views, [&](std::int64_t done) {
      if (interrupt.interrupted()) throw Interrupted("embedding");
      progress.update(done);
    });
    progress.finish();
    write(options, texts, vectors);
  } catch (const Interrupted&) {
    fmt::print(stderr, "interrupted: nothing was written\n");
    return signal_exit(interrupt.signal());
  }
  return ExitCode::success;
}

}  // namespace

Subcommand add_embed(CLI::App& program) {
  auto options = std::make_shared<EmbedOptions>();
  options->out = kStandardStream;
  CLI::App* app = program.add_subcommand(
      "embed", "Turn texts into vectors with a pretrained encoder (BERT, MiniLM, RoBERTa, ...)");
  add_config_option(*app);
  app->add_option("--model", options->model,
                  "folder with config.json, model.safetensors and tokenizer.json or vocab.txt, as "
                  "transformers and sentence-transformers write it")
      ->required()
      ->type_name("FOLDER");
  app->add_option("texts", options->texts, "what to embed")->type_name("TEXT");
  app->add_option("--input", options->input, "a text for each line; - reads the standard input")
      ->type_name("FILE");
  app->add_option("--out", options->out,
                  "JSON, a line for each text; the tensor `vectors` when the name ends in "
                  ".safetensors; - prints")
      ->capture_default_str()
      ->type_name("FILE");
  app->add_option("--pooling", options->pooling,
                  "mean of the tokens, or first token; default: what the folder says, else mean")
      ->check(CLI::IsMember({"mean", "first"}));
  app->add_option("--max-tokens", options->max_tokens,
                  "longer texts lose their end; default: what the folder says")
      ->check(CLI::Range(std::int64_t{3}, std::int64_t{1} << 20))
      ->type_name("N");
  add_dtype_option(*app, options->dtype, {"f32", "bf16"}, "what the encoder computes in");
  add_machine_options(*app, options->machine);
  app->footer(
      examples("  mettle embed --model all-MiniLM-L6-v2 \"A heist film in Los Angeles\"\n"
               "  mettle embed --model all-MiniLM-L6-v2 --input plots.txt --out "
               "plots.safetensors\n"));
  return {app, [options] { return run(*options); }};
}

}  // namespace mettle::command
