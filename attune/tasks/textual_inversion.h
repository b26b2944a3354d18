#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "attune/diffusion/text_encoder.h"
#include "attune/optim/settings.h"
#include "attune/tasks/denoising.h"

namespace attune {

/// The input embeddings [vectors, w] of the first tokens of a word, repeated from its first one where it has fewer.
Tensor token_rows(const TextEncoder& encoder, const std::string& word, std::int64_t vectors);

/// Textual inversion (Gal et al. 2022): a concept is the input embedding of a word of its own, found by descent on the
/// denoising loss through the frozen text encoder, in a sentence that is drawn for each sample. What ConES is measured
/// against.
class TextualInversion final : public Learner {
 public:
  /// `start` [vectors, w]; every template has one "{}". A task is needed for stages() only, and must outlive these.
  /// Throws UsageError where there is no template, one has no place, or is too long for the encoder with its tokens.
  TextualInversion(const Tensor& start, const OptimSettings& settings, std::shared_ptr<const TextEncoder> encoder,
                   std::vector<std::string> templates, Task* task, std::uint64_t seed);

  /// [vectors, w], without a gradient.
  Tensor token() const { return token_.detach(); }
  /// What the encoder says now of the first template, [n, w], without a gradient.
  Tensor rows() const;
  Stages stages(const TrainingData& data) override;
  TensorMap state() const override { return {{"token", token_.detach()}}; }
  void load_state(const TensorMap& state) override;

 private:
  /// Hidden rows [samples, n, w], each of a sentence drawn by (seed, step).
  Tensor hidden(std::size_t samples, std::int64_t step) const;

  Tensor token_;
  OptimSettings settings_;
  std::shared_ptr<const TextEncoder> encoder_;
  std::vector<std::string> templates_;
  Task* task_;
  std::uint64_t seed_;
};

}  // namespace attune
