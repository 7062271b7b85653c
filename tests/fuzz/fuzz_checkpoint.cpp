// Fuzzes the reader of checkpoints and of the training state in them. The checksum, which no
// mutation would hit, is mended first. Whatever else the bytes are, the outcome is a FileError or a
// state that training can go on from.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/check.h"
#include "engine/safetensors.h"
#include "recsys/neural/trainer_state.h"
#include "tests/fuzz/safetensors_input.h"

namespace {

void require(bool promise) {
  if (!promise) std::abort();
}

const std::string kIdentity = R"({"dim":2,"stage":"joint"})";

mettle::Learned initial() {
  mettle::Learned learned;
  learned.weights.add("w", mettle::Variable(mettle::Tensor::zeros({2}), true));
  learned.adaptation.add("slope", mettle::Variable(mettle::Tensor::zeros({}), true));
  return learned;
}

void check(const mettle::TrainerState& state) {
  require(state.epoch >= 0 && state.step >= 0 && state.bad_epochs >= 0);
  require(std::isfinite(state.loss_sum) && std::isfinite(state.best_loss));
  for (const mettle::Learned* learned : {&state.current, &state.best}) {
    require(learned->weights["w"].shape() == mettle::Shape({2}));
    require(learned->adaptation["slope"].shape().rank() == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string file =
      mettle::fuzz::as_safetensors({reinterpret_cast<const char*>(data), size});
  try {
    mettle::TensorFile content = mettle::parse_safetensors(std::as_bytes(std::span(file)));
    if (content.metadata.contains("checksum"))
      content.metadata["checksum"] = mettle::checkpoint_checksum(content);
    const mettle::Checkpoint saved = mettle::parse_checkpoint(content, "checkpoint");
    require(saved.step >= 0);
    static const mettle::Learned start = initial();
    mettle::TrainerState state(start, {}, 1);
    mettle::restore_state(state, saved, kIdentity, "checkpoint");
    check(state);
  } catch (const mettle::FileError&) {  // NOLINT(bugprone-empty-catch)
    // The only refusal that is allowed; anything else ends the run.
  }
  return 0;
}
