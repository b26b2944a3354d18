#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"
#include "attune/diffusion/noise_schedule.h"

namespace attune {

/// How noise is taken away again, as diffusers' schedulers do it.
enum class SamplerKind {
  kDdim,  // Song et al. 2021, without noise of its own (eta 0)
  kDdpm,  // Ho et al. 2020: each step adds noise
  kPndm,  // Liu et al. 2022: earlier predictions make a step of higher order
};
/// "ddim", "ddpm" or "pndm". Throws UsageError on another name.
SamplerKind sampler_named(std::string_view name);
std::string_view name_of(SamplerKind kind);

struct SamplerConfig {
  SamplerKind kind = SamplerKind::kDdim;
  NoiseConfig noise;
  enum class Spacing { kLeading, kTrailing, kLinspace } spacing = Spacing::kLeading;  // Lin et al. 2023, table 2
  std::int64_t steps_offset = 0;
  bool set_alpha_to_one = true;  // behind the last step lies the clean picture, not time 0 (ddim, pndm)
  bool clip_sample = true;       // clean maps as they are estimated are kept within +-clip_range (ddim, ddpm)
  double clip_range = 1.0;
  bool large_variance = false;  // ddpm: "fixed_large"
  bool skip_prk_steps = false;  // pndm: the first steps are made by a multistep of lower order, not by Runge-Kutta
};

/// Reads scheduler/scheduler_config.json with the defaults of the scheduler that it names or, as diffusers does, of the
/// one that is `wanted`. Members that ask for something that is not supported are an Error that names them.
SamplerConfig read_sampler_config(const Json& json, const std::string& where,
                                  std::optional<SamplerKind> wanted = std::nullopt);
/// What read_sampler_config and diffusers read back.
Json sampler_json(const SamplerConfig& config);

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
