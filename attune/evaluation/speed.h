#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/base/json.h"
#include "attune/clip/model.h"
#include "attune/evaluation/speed_timing.h"

namespace attune {

/// One piece of work and how fast it is.
struct SpeedFigure {
  std::string part;  // as in SpeedQuestion::parts
  std::string name;  // what of the part: "fc1 forward", "batch 8", "coop"
  Timing timing = {};
  double items = 0;                 // pictures or prompts of a round; 0: nothing that is counted
  bool counts = true;               // are the timing's operations all of the work, so that a share means something?
  std::string skipped = {};         // why nothing was measured
  double share(double peak) const;  // of `peak` operations a second; 0 where it means nothing
};

/// What is measured.
struct SpeedQuestion {
  /// frozen_linear: the text tower's frozen layers, forward and backward, for the rows of 100 classes. image_tower:
  /// batches of 1, 8 and 32. text_tower: prompts of the class names, without gradients. training_step: one step of each
  /// stage of each method, on random image features.
  std::vector<std::string> parts = speed_parts();
  std::vector<std::string> methods;  // as users write them; empty: every registered one with its defaults
  std::int64_t classes = 100;
  std::uint64_t seed = 1;
  TimeBudget budget;

  static std::vector<std::string> speed_parts();
  /// Throws UsageError for an unknown part or method.
  void check() const;
  bool asks(std::string_view part) const;
};

/// Measures part after part; `report` gets every figure when it is known. A method that cannot be measured on image
/// features alone is reported as skipped, with the reason. The question is checked first.
void measure_speed(const std::shared_ptr<const ClipModel>& model, const SpeedQuestion& question,
                   const std::function<void(const SpeedFigure&)>& report);

/// `count` class names: the 650 concepts of Emoji-DG, then the same with numbers behind them.
std::vector<std::string> speed_class_names(std::int64_t count);

/// {"part", "name", "ms", "fastest_ms", "total_ms", "rounds", "items_per_second", "gflop", "gflop_per_second",
/// "share_of_peak"}; what does not apply is left out.
Json to_json(const SpeedFigure& figure, double peak);

}  // namespace attune
