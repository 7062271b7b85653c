// Hands the entries of a TOML file to the options of a CLI11 subcommand.
#include "recsys/command/config_file.h"

#include <string>
#include <string_view>
#include <vector>

#include "recsys/command/command.h"
#include "recsys/command/suggest.h"
#include "recsys/command/toml.h"
#include "recsys/text_file.h"

namespace mettle::command {
namespace {

constexpr char kConfigFlag[] = "--config";

std::string place(const std::string& file, const toml::source_region& source) {
  return fmt::format("{}:{}:{}", file, source.begin.line, source.begin.column);
}

// The text that a flag would be given.
std::string as_argument(const std::string& where, std::string_view key, const toml::node& value) {
  if (const auto text = value.value_exact<std::string>()) return *text;
  if (const auto flag = value.value_exact<bool>()) return *flag ? "true" : "false";
  if (const auto integer = value.value_exact<std::int64_t>()) return std::to_string(*integer);
  if (const auto number = value.value_exact<double>()) return fmt::format("{}", *number);
  fail<InputError>("{}: '{}' must be a text, a number, true, false or an array of these", where,
                   key);
}

std::vector<std::string> as_arguments(const std::string& where, std::string_view key,
                                      const toml::node& value) {
  std::vector<std::string> out;
  if (const toml::array* array = value.as_array())
    for (const toml::node& element : *array) out.push_back(as_argument(where, key, element));
  else
    out.push_back(as_argument(where, key, value));
  return out;
}

std::vector<std::string> option_names(const CLI::App& subcommand) {
  std::vector<std::string> out;
  for (const CLI::Option* option : subcommand.get_options())
    for (const std::string& name : option->get_lnames())
      if (name != "help" && name != "config") out.push_back(name);
  return out;
}

void apply_entry(CLI::App& subcommand, const std::string& where, const std::string& key,
                 const toml::node& value) {
  const std::vector<std::string> names = option_names(subcommand);
  METTLE_CHECK(InputError, !value.is_table(),
               "{}: [{}]: there are no tables in this file; keys stand alone, as in seed = 1",
               where, key);
  if (std::find(names.begin(), names.end(), key) == names.end())
    fail<InputError>("{}: unknown key '{}' for mettle {}{}", where, key, subcommand.get_name(),
                     did_you_mean(key, names));
  CLI::Option* option = subcommand.get_option("--" + key);
  const std::vector<std::string> arguments = as_arguments(where, key, value);
  if (option->count() > 0) return;  // given on the command line
  try {
    for (const std::string& argument : arguments) option->add_result(argument);
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    fail<InputError>("{}: {}", where, error.what());
  }
}

}  // namespace

void apply_config(CLI::App& subcommand, const std::string& text, const std::string& file) {
  toml::table table;
  try {
    table = toml::parse(text, file);
  } catch (const toml::parse_error& error) {
    fail<InputError>("{}: {}", place(file, error.source()), error.description());
  }
  for (const auto& [key, value] : table)
    apply_entry(subcommand, place(file, key.source()), std::string(key.str()), value);
}

void add_config_option(CLI::App& subcommand) {
  subcommand
      .add_option_function<std::string>(
          kConfigFlag,
          [&subcommand](const std::string& file) {
            apply_config(subcommand, reading_input([&] { return read_text_file(file); }), file);
          },
          "TOML file with any of these options as keys; flags override it")
      ->type_name("FILE");
}

}  // namespace mettle::command
