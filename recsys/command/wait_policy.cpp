// One variable and one exec.
#include "recsys/command/wait_policy.h"

#include <unistd.h>

#include <cstdlib>

namespace mettle::command {
namespace {

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value && *value;
}

}  // namespace

void let_threads_sleep(char** arguments) {
  constexpr char kPolicy[] = "OMP_WAIT_POLICY";
  if (is_set(kPolicy) || is_set("GOMP_SPINCOUNT")) return;
  if (setenv(kPolicy, "passive", 1) != 0) return;
  execv("/proc/self/exe", arguments);
  // Still here: there is no /proc. Threads that spin are slower beside others, not wrong.
}

}  // namespace mettle::command
