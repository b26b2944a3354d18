#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "attune/diffusion/noise_schedule.h"

namespace attune {

/// One way from noise to clean maps. Not shared: it remembers what the network said before.
class Sampler {
 public:
  virtual ~Sampler() = default;
  /// The times at which the network is asked, one after the other; one may come twice.
  const std::vector<std::int64_t>& times() const { return times_; }
  /// The maps after the next of these times. `predicted` is what the network says of `maps` there; `noise` gives maps
  /// of unit noise and is asked at most once, by ddpm only.
  virtual Tensor next(const Tensor& predicted, const Tensor& maps, const std::function<Tensor()>& noise) = 0;

 protected:
  explicit Sampler(std::vector<std::int64_t> times) : times_(std::move(times)) {}
  std::vector<std::int64_t> times_;
};

/// `steps` is diffusers' num_inference_steps. Throws UsageError where the schedule has not so many, or the
/// configuration cannot be sampled.
std::unique_ptr<Sampler> make_sampler(const SamplerConfig& config, std::int64_t steps);

}  // namespace attune
