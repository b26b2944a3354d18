#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attune/methods/descent_stage.h"

namespace attune {

/// The frozen side of a concept search: what embeddings of concepts are searched for, over the samples of a data set.
class Task {
 public:
  virtual ~Task() = default;
  /// Samples to learn from.
  virtual std::int64_t samples() const = 0;
  /// Called before the loss of each step: what is random in it is drawn by the step's number.
  virtual void begin_step(std::int64_t) {}
  /// The loss of some samples under the embeddings [concepts, d], with a gradient to these.
  virtual Objective loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) = 0;
};

}  // namespace attune
