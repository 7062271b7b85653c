// mettle: train, evaluate and use recommenders for new users. Parses the command line, runs one
// subcommand and turns what went wrong into a message and an exit code.
#include <fmt/core.h>

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "recsys/command/command.h"
#include "recsys/command/suggest.h"
#include "recsys/command/versions.h"
#include "recsys/command/wait_policy.h"

namespace mettle::command {
namespace {

ExitCode complain(std::string_view message, ExitCode code) {
  fmt::print(stderr, "error: {}\n", message);
  return code;
}

// What CLI11 says, with the name that was probably meant.
std::string explain(const CLI::App& program, const std::vector<Subcommand>& subcommands,
                    const CLI::ParseError& error) {
  std::vector<std::string> names;
  for (const Subcommand& subcommand : subcommands) names.push_back(subcommand.app->get_name());
  const std::vector<std::string> strangers = program.remaining(true);
  const auto chosen = program.get_subcommands();
  if (strangers.empty()) {
    return chosen.empty()
               ? fmt::format("{}; `mettle --help` shows how to begin", error.what())
               : fmt::format("{}; see `mettle {} --help`", error.what(), chosen[0]->get_name());
  }
  const std::string& stranger = strangers.front();
  if (chosen.empty() && !stranger.starts_with('-'))
    return fmt::format("there is no subcommand '{}'{}; there are: {}", stranger,
                       did_you_mean(stranger, names), CLI::detail::join(names, ", "));
  if (!stranger.starts_with('-'))
    return fmt::format(
        "unexpected argument '{}'; a value follows its option, as in --data DIR; see "
        "`mettle {} --help`",
        stranger, chosen[0]->get_name());
  std::vector<std::string> flags;
  for (const CLI::Option* option : (chosen.empty() ? &program : chosen[0])->get_options())
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  return fmt::format("unexpected argument '{}'{}; see `mettle{} --help`", stranger,
                     did_you_mean(stranger.substr(0, stranger.find('=')), flags),
                     chosen.empty() ? "" : " " + chosen[0]->get_name());
}

ExitCode run(int count, char** arguments) {
  CLI::App program{
      "Recommends to people it has never met: meta-learned models on Mettle, a "
      "deep-learning engine with derivatives of every order.",
      "mettle"};
  program.set_version_flag("--version", program_version());
  program.require_subcommand(1);
  program.get_formatter()->column_width(34);
  program.footer(
      "Exit codes: 0 success, 1 failure while running, 2 bad input or usage, 130 "
      "interrupted.\n`mettle SUBCOMMAND --help` shows options and examples.");
  const std::vector<Subcommand> subcommands = {add_train(program),     add_evaluate(program),
                                               add_recommend(program), add_embed(program),
                                               add_import(program),    add_info(program)};
  try {
    program.parse(count, arguments);
  } catch (const CLI::Success& help) {
    program.exit(help);
    return ExitCode::success;
  } catch (const CLI::ParseError& error) {
    return complain(explain(program, subcommands, error), ExitCode::bad_input);
  }
  for (const Subcommand& subcommand : subcommands)
    if (subcommand.app->parsed()) return subcommand.run();
  return ExitCode::bad_input;
}

ExitCode run_guarded(int count, char** arguments) {
  try {
    return run(count, arguments);
  } catch (const InputError& error) {
    return complain(error.message(), ExitCode::bad_input);
  } catch (const mettle::Error& error) {
    return complain(error.message(), ExitCode::failure);
  } catch (const std::bad_alloc&) {
    return complain("out of memory", ExitCode::failure);
  } catch (const std::exception& error) {
    return complain(error.what(), ExitCode::failure);
  }
}

// Results that did not reach a full disk or a closed pipe are no success.
ExitCode run_and_flush(int count, char** arguments) {
  const ExitCode code = run_guarded(count, arguments);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  return complain("the standard output cannot be written", ExitCode::failure);
}

}  // namespace
}  // namespace mettle::command

int main(int count, char** arguments) {
  mettle::command::let_threads_sleep(arguments);
  return static_cast<int>(mettle::command::run_and_flush(count, arguments));
}
