// How threads wait for each other.
#pragma once

namespace mettle::command {

/// Lets OpenMP's threads sleep where they wait, unless the environment says how they should:
/// started with all cores beside other programs, threads that spin take ten times as long. OpenMP
/// reads this while the program is loaded, so the program starts itself again, once. `arguments`
/// are main()'s.
void let_threads_sleep(char** arguments);

}  // namespace mettle::command
