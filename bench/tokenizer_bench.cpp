// Times the tokenizer on the lines of a text, or writes their ids. bench/peers/tokenizers_lines.py
// runs it beside the reference and compares both.
//   tokenizer_bench time TOKENIZER.json TEXT THREADS    one JSON object: medians of 7 batches
//   tokenizer_bench ids TOKENIZER.json TEXT             a line of ids for each line, to stdout
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "engine/file.h"
#include "engine/parallel.h"
#include "models/tokenizer_files.h"

namespace {

using namespace mettle;

constexpr EncodeOptions kWhole{.max_length = EncodeOptions::kNoLimit};

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double elapsed_seconds() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

void time_batches(const Tokenizer& tokenizer, const std::vector<std::string_view>& lines) {
  std::array<double, 7> elapsed{}, processor{};
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < elapsed.size(); ++i) {
    const double start = elapsed_seconds(), processor_start = processor_seconds();
    const std::vector<Encoding> encodings = tokenizer.encode_batch(lines, kWhole);
    elapsed[i] = elapsed_seconds() - start;
    processor[i] = processor_seconds() - processor_start;
    tokens = 0;
    for (const Encoding& encoding : encodings) tokens += encoding.ids.size();
  }
  std::sort(elapsed.begin(), elapsed.end());
  std::sort(processor.begin(), processor.end());
  std::printf("{\"threads\":%d,\"lines\":%zu,\"tokens\":%zu,\"s\":%.4f,\"processor_s\":%.4f}\n",
              threads(), lines.size(), tokens, elapsed[elapsed.size() / 2],
              processor[processor.size() / 2]);
}

void print_ids(const Tokenizer& tokenizer, const std::vector<std::string_view>& lines) {
  for (const std::string_view line : lines) {
    const char* before = "";
    for (const std::int32_t id : tokenizer.encode(line, kWhole).ids) {
      std::printf("%s%d", before, id);
      before = " ";
    }
    std::printf("\n");
  }
}

int run(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (!(mode == "time" && argc == 5) && !(mode == "ids" && argc == 4)) {
    std::fprintf(stderr,
                 "usage: tokenizer_bench time TOKENIZER.json TEXT THREADS\n"
                 "       tokenizer_bench ids TOKENIZER.json TEXT\n");
    return 2;
  }
  const Tokenizer tokenizer = load_tokenizer_json(argv[2]);
  const std::string text = read_file(argv[3]);
  if (mode == "ids") {
    print_ids(tokenizer, lines_of(text));
  } else {
    set_threads(std::stoi(argv[4]));
    time_batches(tokenizer, lines_of(text));
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tokenizer_bench: %s\n", error.what());
    return 1;
  }
}
