#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "attune/methods/registry.h"

namespace attune {

/// A CLIP of two small towers with random weights.
inline const std::string kSmallModel = std::string(ATTUNE_SOURCE_DIR) + "/tests/clip/data/hf_quick";

inline std::shared_ptr<const ClipModel> small_model() {
  static const auto loaded = std::make_shared<const ClipModel>(load_model(kSmallModel));
  return loaded;
}

/// A method on the small model with the seed 1.
inline std::unique_ptr<Classifier> make_small(const Method& method, const std::vector<std::string>& assignments,
                                              const ClassNames& classes) {
  Config config(method.schema);
  for (const std::string& one : assignments) config.set(one, "test");
  return method.make(small_model(), classes, config, 1);
}

/// Random features of the small model's width.
inline Batch small_batch(std::int64_t count) {
  KeyedRandom random(3, "features");
  return {normal({count, small_model()->config.joint_width}, 0, 1, random), {}, {}};
}

/// Hands out the same batches, rows of sample numbers, in turn.
class GivenBatches final : public BatchSource {
 public:
  GivenBatches(Tensor features, Tensor labels, Tensor batches)
      : features_(std::move(features)), labels_(std::move(labels)), batches_(std::move(batches)) {}
  Batch next() override {
    const Tensor index = batches_[next_++];
    return {features_.index_select(0, index), labels_.index_select(0, index), {}};
  }

 private:
  Tensor features_, labels_, batches_;
  std::int64_t next_ = 0;
};

}  // namespace attune
