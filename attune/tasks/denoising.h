#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "attune/diffusion/diffusion_folder.h"
#include "attune/tasks/task.h"

namespace attune {

/// Noise for maps, by (seed, purpose, index) alone.
struct NoiseDraw {
  Tensor steps;  // [B] int64, uniform over the schedule, one from each of B equal strata in a random order
  Tensor noise;  // as the maps [B, ...]
};
NoiseDraw draw_noise(const NoiseSchedule& schedule, at::IntArrayRef shape, std::uint64_t seed, std::string_view purpose,
                     std::uint64_t index);

/// The mean squared error of what a network says of noisy maps (methods: Ho et al. 2020; for a model of velocities,
/// Salimans and Ho 2022),
///   z_t = sqrt(a_t) z_0 + sqrt(1 - a_t) e,  loss = mean (target(z_0, e, t) - f(z_t, t, hidden))^2,
/// maps [B, C, h, w], hidden [B or 1, n, w]. Gradients reach `hidden` and weights that train.
Tensor denoising_loss(const UNet& network, const NoiseSchedule& schedule, const Tensor& maps, const NoiseDraw& draw,
                      const Tensor& hidden);

/// Pictures of a concept as a diffusion model takes them.
struct ConceptMaps {
  Tensor plain;     // [N, C, h, w]
  Tensor mirrored;  // the same; undefined: pictures are never mirrored
};

/// The search for the rows that a text encoder would say of a concept, on a frozen diffusion model. A step sees each
/// sample plain or mirrored, at a time and under noise of its own, drawn by (seed, step).
class DenoisingTask final : public Task {
 public:
  /// Every picture is `repeats` samples.
  DenoisingTask(std::shared_ptr<const DiffusionModel> model, ConceptMaps maps, std::int64_t repeats,
                std::uint64_t seed);

  std::int64_t samples() const override { return maps_.plain.size(0) * repeats_; }
  void begin_step(std::int64_t step) override { step_ = step; }
  /// `embeddings` [n, w] for all samples, or [samples, n, w].
  Objective loss(const Tensor& embeddings, const std::vector<std::int64_t>& samples) override;

 private:
  Tensor views(const std::vector<std::int64_t>& samples) const;

  std::shared_ptr<const DiffusionModel> model_;
  NoiseSchedule schedule_;
  ConceptMaps maps_;
  std::int64_t repeats_;
  std::uint64_t seed_;
  std::int64_t step_ = 0;
};

/// How well rows say what pictures show: the denoising loss of fixed pairs of time and noise, the same for a seed
/// whatever is compared.
class DenoisingProbe {
 public:
  /// maps [N, C, h, w]; pair i is drawn for picture i mod N.
  DenoisingProbe(std::shared_ptr<const DiffusionModel> model, const Tensor& maps, std::int64_t pairs,
                 std::uint64_t seed);

  /// Without gradients; hidden [n, w].
  double loss(const Tensor& hidden) const;

 private:
  std::shared_ptr<const DiffusionModel> model_;
  NoiseSchedule schedule_;
  Tensor maps_;  // [pairs, C, h, w]
  NoiseDraw draw_;
};

}  // namespace attune
