#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "attune/optim/settings.h"
#include "attune/tasks/denoising.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// A diffusion model of pixels and velocities with random weights.
inline const std::string kSmallDiffusion = std::string(ATTUNE_SOURCE_DIR) + "/tests/diffusion/data/v2";

inline std::shared_ptr<const DiffusionModel> small_diffusion() {
  static const auto loaded = std::make_shared<const DiffusionModel>(load_diffusion_model(kSmallDiffusion));
  return loaded;
}

/// What make_personalisation.py stored.
inline TensorMap given_noise() {
  return load_tensors(std::string(ATTUNE_TEST_DATA) + "/personalisation.safetensors");
}

/// The denoising loss of given maps under given noise at given times.
class GivenNoise final : public Task {
 public:
  explicit GivenNoise(TensorMap stored) : stored_(std::move(stored)), schedule_(small_diffusion()->noise()) {}
  std::int64_t samples() const override { return stored_.at("maps").size(1); }
  void begin_step(std::int64_t step) override { step_ = step; }
  Objective loss(const Tensor& embeddings, const std::vector<std::int64_t>&) override {
    const NoiseDraw draw{stored_.at("times")[step_], stored_.at("noise")[step_]};
    const Tensor hidden = embeddings.dim() == 2 ? embeddings.unsqueeze(0) : embeddings;
    return {denoising_loss(small_diffusion()->network(), schedule_, stored_.at("maps")[step_], draw, hidden), {}};
  }

 private:
  TensorMap stored_;
  NoiseSchedule schedule_;
  std::int64_t step_ = 0;
};

inline OptimSettings given_settings(double rate = 0.05) {
  Config config(OptimSettings::schema({{"optim.name", "adamw"},
                                       {"optim.weight_decay", 0.0},
                                       {"optim.warmup", "none"},
                                       {"optim.schedule", "constant"},
                                       {"optim.lr", rate}}));
  return OptimSettings(config);
}

/// One step of a stage on samples.
inline Losses step_of(Stage& stage, std::vector<std::int64_t> samples) {
  struct Source final : BatchSource {
    std::vector<std::int64_t> given;
    Batch next() override {
      Batch batch;
      batch.samples = given;
      return batch;
    }
  } source;
  source.given = std::move(samples);
  stage.begin_epoch(0);
  return stage.step(source);
}

/// The losses of ten steps [10] on the samples that are stored.
inline Tensor ten_steps(Learner& learner) {
  const Stages stages = learner.stages({3, 1});
  std::vector<double> losses;
  for (int i = 0; i < 10; ++i) losses.push_back(step_of(*stages.front(), {0, 1, 2})[0].second);
  return at::tensor(losses, at::kDouble);
}

}  // namespace attune
