#pragma once

#include "attune/methods/learner.h"

namespace attune {

/// What methods tell that make a prompt for every picture (SPG, DPSPG, CoCoOp, DPL).
class GeneratesPrompts {
 public:
  virtual ~GeneratesPrompts() = default;
  /// Prompts [B, draws, M, width] without gradients; the first draws are those that prediction uses. Equal draws where
  /// a method has no noise.
  virtual Tensor generated_prompts(const Batch& batch, std::int64_t draws) = 0;
  /// Do draws for the same picture differ?
  virtual bool draws_differ() const { return false; }
  /// The generator's learned numbers.
  virtual TensorMap generator_state() const = 0;
};

}  // namespace attune
