// What every subcommand of `mettle` is made of, and how failures become exit codes.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

#include "engine/check.h"

namespace mettle::command {

/// Exit codes, as documented in docs/command.md.
enum class ExitCode : int {
  success = 0,
  failure = 1,        // something went wrong while running: full disk, no memory, diverged loss
  bad_input = 2,      // usage, configuration or data: nothing was written
  interrupted = 130,  // Ctrl-C (SIGTERM: 143): what is needed to go on was saved
};

/// The exit code of a program that ended because of a signal, as shells have it.
inline ExitCode signal_exit(int signal) { return static_cast<ExitCode>(128 + signal); }

/// Input given by the user that cannot be used: exit code bad_input.
class InputError : public Error {
  using Error::Error;
};

/// Runs `read()`; an Error in it is about what the user gave and becomes an InputError.
template <class Read> auto reading_input(const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    throw InputError(error.message(), error.where());
  }
}

/// A subcommand: its options, already added to the program, and what it does after parsing.
struct Subcommand {
  CLI::App* app;
  std::function<ExitCode()> run;
};

// One file each.
Subcommand add_train(CLI::App& program);
Subcommand add_evaluate(CLI::App& program);
Subcommand add_recommend(CLI::App& program);
Subcommand add_embed(CLI::App& program);
Subcommand add_import(CLI::App& program);
Subcommand add_info(CLI::App& program);

}  // namespace mettle::command
