#pragma once

#include <cstdint>
#include <utility>

#include "attune/diffusion/sampler_config.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// Noise over maps at times 0 to T - 1 (Ho et al. 2020),
///   x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e,  velocity v = sqrt(a_t) e - sqrt(1 - a_t) x_0 (Salimans and Ho 2022),
/// with a_t the product of 1 - beta up to t, summed up in fp32 as diffusers does.
class NoiseSchedule {
 public:
  /// Throws UsageError where there is no step, or a beta that is not between 0 and 1.
  explicit NoiseSchedule(const NoiseConfig& config);

  const NoiseConfig& config() const { return config_; }
  std::int64_t steps() const { return config_.steps; }
  const Tensor& betas() const { return betas_; }              // [T] fp32
  const Tensor& alphas_cumprod() const { return products_; }  // [T] fp32, the a_t

  /// clean and noise [B, ...], steps [B] or [1] int64 -> x_t.
  Tensor add_noise(const Tensor& clean, const Tensor& noise, const Tensor& steps) const;
  Tensor velocity(const Tensor& clean, const Tensor& noise, const Tensor& steps) const;
  /// What the network should say: noise, velocity or the clean maps, as the configuration has it.
  Tensor target(const Tensor& clean, const Tensor& noise, const Tensor& steps) const;

 private:
  /// sqrt(a_t) and sqrt(1 - a_t), each [B or 1, 1, ...] beside maps.
  std::pair<Tensor, Tensor> shares(const Tensor& maps, const Tensor& steps) const;

  NoiseConfig config_;
  Tensor betas_, products_;
};

}  // namespace attune
