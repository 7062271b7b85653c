// mettle import: a folder of a pretrained encoder, checked and written as one file in the dtype
// that is wanted.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <memory>

#include "engine/file.h"
#include "models/sentence_encoder.h"
#include "recsys/command/command.h"
#include "recsys/command/config_file.h"
#include "recsys/command/options.h"
#include "recsys/command/run_folder.h"

namespace mettle::command {
namespace {

namespace fs = std::filesystem;

struct ImportOptions {
  MachineOptions machine;
  std::string model, out, dtype;
};

// What stands beside the weights and is taken over as it is, where it is there.
constexpr const char* kBeside[] = {
    "tokenizer.json",          "tokenizer_config.json", "vocab.txt",
    "special_tokens_map.json", "modules.json",          "sentence_bert_config.json",
    "1_Pooling/config.json"};
constexpr const char* kWritten[] = {"config.json", "model.safetensors"};
constexpr std::size_t kMostBytes = std::size_t{1} << 26;

void check_out(const ImportOptions& options) {
  for (const char* name : kWritten)
    METTLE_CHECK(InputError, !fs::exists(fs::path(options.out) / name),
                 "--out {}: there is a {} already; give a new folder", options.out, name);
  check_writable(options.out, kWritten);
}

std::string names_of(BertFamily family) {
  switch (family) {
    case BertFamily::roberta: return "RoBERTa";
    case BertFamily::distilbert: return "DistilBERT";
    default: return "BERT";
  }
}

ExitCode run(const ImportOptions& options) {
  apply(options.machine);
  check_out(options);
  const PretrainedBert model =
      reading_input([&] { return load_bert(options.model, dtype_named(options.dtype)); });
  const EncoderOptions& encoder = model.options.encoder;
  fmt::print("{}: {} layers of width {}, {} heads, a vocabulary of {}, {} weights in {}\n",
             names_of(model.family), encoder.layers, encoder.dim, encoder.heads,
             model.options.vocabulary, model.params.numel(), options.dtype);
  if (!model.unused.empty()) fmt::print("left out: {}\n", fmt::join(model.unused, ", "));
  const fs::path from(options.model), to(options.out);
  save_bert(to, model);
  for (const char* name : kBeside) {
    if (!fs::exists(from / name)) continue;
    const std::string bytes = reading_input([&] { return read_file(from / name, kMostBytes); });
    mettle::make_folder((to / name).parent_path());
    write_file(to / name, bytes);
  }
  fmt::print("written to {}\n", options.out);
  return ExitCode::success;
}

}  // namespace

Subcommand add_import(CLI::App& program) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App* app = program.add_subcommand(
      "import", "Check a pretrained encoder and write it as one file, in another dtype if wanted");
  add_config_option(*app);
  app->add_option("--model", options->model,
                  "folder with config.json and model.safetensors, in one file or several")
      ->required()
      ->type_name("FOLDER");
  app->add_option("--out", options->out, "new folder, in the same layout")
      ->required()
      ->type_name("FOLDER");
  add_dtype_option(*app, options->dtype, {"f32", "bf16", "f16"}, "of the weights");
  add_machine_options(*app, options->machine);
  app->footer(
      examples("  mettle import --model bert-large-uncased --out models/bert-large\n"
               "  mettle import --model all-MiniLM-L6-v2 --out models/minilm --dtype bf16\n"));
  return {app, [options] { return run(*options); }};
}

}  // namespace mettle::command
