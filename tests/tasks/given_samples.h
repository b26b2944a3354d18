#pragma once

#include <vector>

#include "attune/methods/learner.h"

namespace attune {

/// Batches that name these samples, one after the other.
class GivenSamples final : public BatchSource {
 public:
  explicit GivenSamples(std::vector<std::vector<std::int64_t>> batches) : batches_(std::move(batches)) {}
  Batch next() override {
    Batch batch;
    batch.samples = batches_.at(next_++);
    return batch;
  }

 private:
  std::vector<std::vector<std::int64_t>> batches_;
  std::size_t next_ = 0;
};

/// What a stage loses in a step with each of the batches.
inline std::vector<Losses> steps_of(Stage& stage, const std::vector<std::vector<std::int64_t>>& batches) {
  GivenSamples source(batches);
  stage.begin_epoch(0);
  std::vector<Losses> losses;
  for (std::size_t i = 0; i < batches.size(); ++i) losses.push_back(stage.step(source));
  return losses;
}

}  // namespace attune
