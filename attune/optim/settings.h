#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attune/base/config.h"
#include "attune/optim/optimiser.h"

namespace attune {

/// How a stage descends, as the configuration says it.
struct OptimSettings {
  enum class Kind { kSgd, kAdam, kAdamW } kind = Kind::kSgd;
  Schedule schedule;
  double momentum = 0.9;
  double weight_decay = 5e-4;
  double epsilon = 1e-8;   // of adam and adamw
  double clip_norm = 0.0;  // 0: gradients are not clipped
  std::int64_t batch_size = 32;

  /// Defaults are Dassl's, as CoOp uses them, but for those given here by key.
  static Schema schema(const std::map<std::string, Json>& defaults = {});
  explicit OptimSettings(const Config& config);
};

/// One optimiser with its schedule: zero gradients, backward, guard, clip, update.
class Descent {
 public:
  Descent(const OptimSettings& settings, std::vector<ParameterGroup> groups);

  void begin_epoch(int epoch) { learning_rate_ = schedule_.at(epoch); }
  double learning_rate() const { return learning_rate_; }
  /// Updates so far.
  std::int64_t steps() const { return steps_; }
  /// One update from a scalar loss. Throws Error that names the tensor and the step where a number is not finite.
  void step(const Tensor& loss);
  /// The same where `backward` gives the parameters, whose gradients are zero before, other gradients than the loss's.
  void step(const Tensor& loss, const std::function<void()>& backward);

  TensorMap state() const;
  void load_state(const TensorMap& state);

 private:
  Schedule schedule_;
  double clip_norm_;
  std::unique_ptr<Optimiser> optimiser_;
  double learning_rate_ = 0.0;
  std::int64_t steps_ = 0;
};

}  // namespace attune
