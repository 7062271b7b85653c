// --config FILE: options from a TOML file, one key per option; flags on the command line win.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace mettle::command {

/// Adds --config to a subcommand. Must be its first option, because options are read in order. Keys
/// are the long names of options without the dashes; arrays give several values. InputError
/// "file:line:column: ..." for a syntax error, an unknown key or a value that the option refuses.
void add_config_option(CLI::App& subcommand);

/// Gives the options of a subcommand what TOML text says of them. Errors as above, begun by `file`.
void apply_config(CLI::App& subcommand, const std::string& text, const std::string& file);

}  // namespace mettle::command
