#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "attune/base/json.h"

namespace attune {

/// What a denoising network says of noisy maps.
enum class Prediction { kNoise, kVelocity, kClean };
/// "epsilon", "v_prediction" or "sample", as diffusers writes them.
std::string_view name_of(Prediction prediction);

/// How noise grows over the steps of training.
struct NoiseConfig {
  std::int64_t steps = 1000;  // T
  double beta_start = 1e-4, beta_end = 0.02;
  enum class Betas { kLinear, kScaledLinear, kSquaredCosine } betas = Betas::kLinear;
  std::vector<double> given_betas;      // "trained_betas": in place of the three above
  bool rescale_to_zero_signal = false;  // "rescale_betas_zero_snr", Lin et al. 2023
  Prediction prediction = Prediction::kNoise;
};

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

}  // namespace attune
