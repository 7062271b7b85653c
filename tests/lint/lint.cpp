// The rules, one function each. They read a file line by line, with comments and string literals
// taken out where only code counts.
#include "tests/lint/lint.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace mettle::lint {
namespace {

namespace fs = std::filesystem;

// Each folder may include itself and those before it.
constexpr std::array<std::string_view, 5> layers = {"engine", "kernels", "autograd", "models",
                                                    "recsys"};

// The command-line program: the one place in the layers that talks to a terminal.
constexpr std::string_view program_folder = "recsys/command/";

// What device code may know of the engine.
constexpr std::array<std::string_view, 7> plain_data_headers = {
    "engine/check.h",       "engine/device.h", "engine/dtype.h", "engine/half.h",
    "engine/host_device.h", "engine/random.h", "engine/view.h"};

constexpr int max_lines = 600;

// The programs that hold the C++ of all pages.
constexpr std::string_view snippet_sources[] = {
    "examples/snippets/main.cpp", "tests/emulation/example.cpp", "tests/cuda/laboratory.cu",
    "tests/models/captured_step_test.cpp"};

int layer_of(std::string_view path) {
  const auto found = std::find(layers.begin(), layers.end(), path.substr(0, path.find('/')));
  return found == layers.end() ? -1 : static_cast<int>(found - layers.begin());
}

bool is_header(std::string_view path) { return path.ends_with(".h") || path.ends_with(".cuh"); }

bool is_device_code(std::string_view path) {
  return path.ends_with(".cu") || path.ends_with(".cuh");
}

// Kernels, which the emulation must be able to run: all device code but the vocabulary itself.
bool is_kernel(std::string_view path) {
  return is_device_code(path) && path.starts_with("kernels/") &&
         !path.starts_with("kernels/cuda/device");
}

bool is_source(std::string_view path) {
  return is_header(path) || is_device_code(path) || path.ends_with(".cpp");
}

// Installed for users: everything but a kernel back end and Highway's re-included files.
bool is_public_header(std::string_view path) {
  const bool backend = path.starts_with("kernels/") && path.find('/', 8) != std::string_view::npos;
  return layer_of(path) >= 0 && path.ends_with(".h") && !path.ends_with("-inl.h") && !backend &&
         !path.starts_with(program_folder);
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Without indentation, and with one blank for several.
std::string squeezed(std::string_view line) {
  std::string out;
  for (const char c : line)
    if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
  return out;
}

// A source file in two layers of the same length: code without comments and literals, and comments
// alone. What is taken out becomes blanks, so that places stay the same.
struct Layered {
  std::string code;
  std::string comments;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text), out_{blanks(text), blanks(text)} {}

  Layered run() {
    while (at_ < text_.size()) {
      if (starts("//")) {
        keep_comment(std::min(text_.find('\n', at_), text_.size()));
      } else if (starts("/*")) {
        keep_comment(after("*/", at_ + 2));
      } else if (starts("R\"")) {
        const auto open = std::min(text_.find('(', at_), text_.size());
        at_ = after(")" + std::string(text_.substr(at_ + 2, open - at_ - 2)) + "\"", open);
      } else if (text_[at_] == '"' || (text_[at_] == '\'' && !digit_before())) {
        skip_literal(text_[at_]);
      } else {
        out_.code[at_] = text_[at_];
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  static std::string blanks(std::string_view text) {
    std::string out(text);
    std::replace_if(
        out.begin(), out.end(), [](char c) { return c != '\n'; }, ' ');
    return out;
  }
  bool starts(std::string_view token) const { return text_.substr(at_).starts_with(token); }
  // 1'000 is a number, 'a' a literal.
  bool digit_before() const {
    return at_ > 0 && std::isxdigit(static_cast<unsigned char>(text_[at_ - 1])) != 0;
  }
  std::size_t after(std::string_view token, std::size_t from) const {
    const auto found = text_.find(token, from);
    return found == std::string_view::npos ? text_.size() : found + token.size();
  }
  void keep_comment(std::size_t end) {
    std::copy(text_.begin() + static_cast<std::ptrdiff_t>(at_),
              text_.begin() + static_cast<std::ptrdiff_t>(end),
              out_.comments.begin() + static_cast<std::ptrdiff_t>(at_));
    at_ = end;
  }
  void skip_literal(char quote) {
    for (++at_; at_ < text_.size() && text_[at_] != quote && text_[at_] != '\n'; ++at_)
      if (text_[at_] == '\\') ++at_;
    ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Layered out_;
};

// Collects what is wrong with one file.
class File {
 public:
  File(std::string_view path, std::string_view text)
      : path_(path), text_(text), lines_(split_lines(text)) {}

  std::vector<Violation> check() {
    check_whitespace();
    if (!is_source(path_)) return std::move(found_);
    const Layered layered = Scanner(text_).run();
    const auto code = split_lines(layered.code);
    check_shape(code);
    for (std::size_t i = 0; i < code.size(); ++i) {
      check_include(static_cast<int>(i) + 1, lines_[i], code[i]);
      check_calls(static_cast<int>(i) + 1, code[i]);
      if (is_kernel(path_)) check_kernel(static_cast<int>(i) + 1, code[i]);
    }
    const auto comments = split_lines(layered.comments);
    for (std::size_t i = 0; i < comments.size(); ++i)
      for (const std::string_view word : {"TODO", "FIXME", "XXX"})
        if (comments[i].find(word) != std::string_view::npos)
          report(static_cast<int>(i) + 1,
                 std::string(word) + " in a comment: finish it, or file an issue");
    return std::move(found_);
  }

 private:
  void report(int line, std::string what) {
    found_.push_back({std::string(path_), line, std::move(what)});
  }

  void check_whitespace() {
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const std::string_view line = lines_[i];
      if (line.ends_with(' ') || line.ends_with('\t') || line.ends_with('\r'))
        report(static_cast<int>(i) + 1, "blanks at the end of the line");
      if (line.find('\t') != std::string_view::npos)
        report(static_cast<int>(i) + 1, "a tab: indent with spaces");
    }
    if (!text_.empty() && !text_.ends_with('\n'))
      report(static_cast<int>(lines_.size()), "no newline at the end of the file");
  }

  // The file as a whole: opening comment, include guard, length.
  void check_shape(const std::vector<std::string_view>& code) {
    if (!text_.starts_with("//"))
      report(1, "no opening comment: say in two or three lines what lives here");
    const auto once = std::count_if(code.begin(), code.end(), [](std::string_view line) {
      return line.starts_with("#pragma once");
    });
    const bool reincluded = text_.find("HWY_TARGET_TOGGLE") != std::string_view::npos;
    if (is_header(path_) && once != 1 && !reincluded) report(1, "a header needs #pragma once");
    if (!is_header(path_) && once != 0) report(1, "#pragma once outside of a header");
    if (lines_.size() > max_lines)
      report(max_lines + 1, std::to_string(lines_.size()) + " lines, at most " +
                                std::to_string(max_lines) + ": split the file by ideas");
  }

  void check_include(int number, std::string_view line, std::string_view code) {
    if (!code.starts_with("#include")) return;
    const auto open = line.find('"');
    if (open == std::string_view::npos) return;  // <system> headers
    const std::string_view included = line.substr(open + 1, line.find('"', open + 1) - open - 1);
    const std::string quoted = '"' + std::string(included) + '"';
    const int from = layer_of(path_), to = layer_of(included);
    if (from >= 0 && to < 0 && !included.starts_with("hwy/"))
      report(number, quoted + ": include by the path from the root, and only from the layers");
    if (from >= 0 && to > from)
      report(number, std::string(layers[static_cast<std::size_t>(from)]) + "/ must not include " +
                         quoted + ": engine <- kernels <- autograd <- models <- recsys");
    if (is_device_code(path_) && to == 0 &&
        std::find(plain_data_headers.begin(), plain_data_headers.end(), included) ==
            plain_data_headers.end())
      report(number,
             "device code must not include " + quoted + ": only kernels/ and plain-data headers");
    if (is_public_header(path_) && to >= 0 && !is_public_header(included))
      report(number, "a public header must not include " + quoted + ", which is not installed");
  }

  // Words that library code must not use: (word, only as a call, reason).
  void check_calls(int number, std::string_view code) {
    if (layer_of(path_) < 0) return;
    if (code.starts_with("#pragma omp") && code.find("simd") == std::string_view::npos &&
        path_ != "engine/parallel.cpp")
      report(number, "OpenMP outside of engine/parallel.cpp: use parallel_for");
    if (path_.starts_with(program_folder)) return;
    struct Word {
      std::string_view name;
      bool call;
      std::string_view why;
    };
    constexpr std::string_view ends = "the library never ends the process: throw an Error";
    constexpr std::string_view prints = "the library never prints: throw, or use the log";
    static constexpr Word words[] = {
        {"abort", true, ends},     {"exit", true, ends},       {"_Exit", true, ends},
        {"_exit", true, ends},     {"quick_exit", true, ends}, {"terminate", true, ends},
        {"assert", true, ends},    {"printf", true, prints},   {"fprintf", true, prints},
        {"puts", true, prints},    {"putchar", true, prints},  {"print", true, prints},
        {"println", true, prints}, {"cout", false, prints},    {"cerr", false, prints},
        {"stdout", false, prints}, {"stderr", false, prints},
    };
    for (const Word& word : words)
      if (uses(code, word.name, word.call))
        report(number, std::string(word.name) + ": " + std::string(word.why));
  }

  // Words that a kernel must not use, because only nvcc knows them: docs/cuda-emulation.md.
  void check_kernel(int number, std::string_view code) {
    static constexpr std::string_view words[] = {
        "asm",    "__asm__", "__shared__", "__CUDACC__", "__CUDA_ARCH__", "cooperative_groups",
        "nvcuda", "cub"};
    static constexpr std::string_view fragments[] = {"<<<", "<cuda/", "<mma.h>"};
    const auto forbid = [&](std::string_view word) {
      report(number, std::string(word) +
                         " in a kernel: use the vocabulary of kernels/cuda/device.cuh, which the "
                         "emulation knows");
    };
    for (const std::string_view word : words)
      if (uses(code, word, false)) forbid(word);
    for (const std::string_view fragment : fragments)
      if (code.find(fragment) != std::string_view::npos) forbid(fragment);
  }

  static bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

  // Whether `name` stands in the code as a whole word, not as a member, and called if `call`.
  static bool uses(std::string_view code, std::string_view name, bool call) {
    for (auto at = code.find(name); at != std::string_view::npos; at = code.find(name, at + 1)) {
      const std::string_view before = code.substr(0, at), after = code.substr(at + name.size());
      const bool starts = before.empty() || !is_word(before.back());
      const bool ends = after.empty() || !is_word(after.front());
      const bool member = before.ends_with('.') || before.ends_with("->");
      if (starts && ends && !member && (!call || after.starts_with('('))) return true;
    }
    return false;
  }

  std::string_view path_;
  std::string_view text_;
  std::vector<std::string_view> lines_;
  std::vector<Violation> found_;
};

bool has_rules(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  for (const std::string_view extension : {".md", ".sh", ".cmake", ".in", ".json", ".yml"})
    if (name.ends_with(extension)) return true;
  return is_source(path) || name == "CMakeLists.txt";
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

std::string to_string(const Violation& violation) {
  return violation.file + ":" + std::to_string(violation.line) + ": " + violation.what;
}

std::vector<Violation> check_file(std::string_view path, std::string_view text) {
  return File(path, text).check();
}

std::vector<Violation> check_snippets(std::string_view page, std::string_view text,
                                      std::string_view source) {
  std::string program = "\n";
  for (const std::string_view line : split_lines(source)) program += squeezed(line) + '\n';
  std::vector<Violation> found;
  std::string paragraph;
  int number = 0, begin = 0;
  bool is_code = false;
  const auto end_paragraph = [&] {
    if (!paragraph.empty() && program.find('\n' + paragraph) == std::string::npos) {
      std::string sources;
      for (const std::string_view name : snippet_sources)
        sources += (sources.empty() ? "" : ", ") + std::string(name);
      found.push_back({std::string(page), begin,
                       "this code is in none of " + sources +
                           ": put it there, where the tests compile and run it"});
    }
    paragraph.clear();
  };
  for (const std::string_view line : split_lines(text)) {
    ++number;
    if (line.starts_with("```") || squeezed(line).empty()) {
      end_paragraph();
      if (line.starts_with("```")) is_code = line == "```cpp";
    } else if (is_code) {
      if (paragraph.empty()) begin = number;
      paragraph += squeezed(line) + '\n';
    }
  }
  end_paragraph();
  return found;
}

std::vector<Violation> check_tree(const fs::path& root, int* files_checked) {
  std::vector<std::string> paths;
  for (auto entry = fs::recursive_directory_iterator(root); entry != fs::end(entry); ++entry) {
    const std::string path = entry->path().lexically_relative(root).generic_string();
    const bool product = path.starts_with("build") || path == "out" || path == ".git";
    if (entry.depth() == 0 && product && entry->is_directory())
      entry.disable_recursion_pending();
    else if (entry->is_regular_file() && has_rules(path))
      paths.push_back(path);
  }
  std::sort(paths.begin(), paths.end());
  std::vector<Violation> all;
  std::string snippets;
  for (const std::string_view source : snippet_sources) snippets += read(root / source);
  const auto add = [&all](std::vector<Violation> found) {
    std::move(found.begin(), found.end(), std::back_inserter(all));
  };
  for (const std::string& path : paths) {
    const std::string text = read(root / path);
    add(check_file(path, text));
    if (path.ends_with(".md")) add(check_snippets(path, text, snippets));
  }
  *files_checked = static_cast<int>(paths.size());
  return all;
}

}  // namespace mettle::lint
