// The handlers and the one variable that they may touch.
#include "engine/interrupt.h"

#include <array>
#include <atomic>
#include <csignal>

#include "engine/check.h"

namespace mettle {
namespace {

constexpr std::array<int, 2> kSignals = {SIGINT, SIGTERM};

std::atomic<int> noted_signal{0};
std::atomic<bool> scope_alive{false};
std::array<struct sigaction, kSignals.size()> earlier_actions;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may use nothing else");

// The second signal is raised anew for the default action, which takes effect on return.
extern "C" void mettle_note_signal(int signal) {
  if (noted_signal.exchange(signal) == 0) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

InterruptScope::InterruptScope() {
  METTLE_CHECK(ValueError, !scope_alive.exchange(true),
               "InterruptScope: one is alive already; pass it on instead of making a second");
  noted_signal = 0;
  struct sigaction action {};
  action.sa_handler = mettle_note_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &earlier_actions[i]);
    if (earlier_actions[i].sa_handler != SIG_IGN) sigaction(kSignals[i], &action, nullptr);
  }
}

InterruptScope::~InterruptScope() {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    sigaction(kSignals[i], &earlier_actions[i], nullptr);
  scope_alive = false;
}

int InterruptScope::signal() const { return noted_signal; }

}  // namespace mettle
