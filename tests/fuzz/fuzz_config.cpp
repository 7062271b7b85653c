// Fuzzes configuration files. The first byte picks the subcommand, the rest is the TOML text.
// Whatever the bytes are, the outcome is an InputError that names the place or options that passed
// their checks.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>

#include "recsys/command/command.h"
#include "recsys/command/config_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  namespace command = mettle::command;
  constexpr command::Subcommand (*kAdd[])(CLI::App&) = {
      command::add_train, command::add_evaluate, command::add_recommend,
      command::add_info,  command::add_embed,    command::add_import};
  CLI::App program;
  const command::Subcommand chosen = kAdd[data[0] % std::size(kAdd)](program);
  try {
    command::apply_config(*chosen.app, {reinterpret_cast<const char*>(data) + 1, size - 1}, "file");
  } catch (const command::InputError& error) {
    if (!error.message().starts_with("file:")) std::abort();
  }
  return 0;
}
