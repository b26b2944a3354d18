#include "attune/diffusion/sampler_config.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/clip/config_members.h"

namespace attune {
namespace {

using Spacing = SamplerConfig::Spacing;
using Betas = NoiseConfig::Betas;

template <class T>
using Names = std::vector<std::pair<std::string_view, T>>;

const Names<SamplerKind> kClasses{{"DDIMScheduler", SamplerKind::kDdim},
                                  {"DDPMScheduler", SamplerKind::kDdpm},
                                  {"PNDMScheduler", SamplerKind::kPndm}};
const Names<SamplerKind> kKinds{
    {"ddim", SamplerKind::kDdim}, {"ddpm", SamplerKind::kDdpm}, {"pndm", SamplerKind::kPndm}};
const Names<Spacing> kSpacings{
    {"leading", Spacing::kLeading}, {"trailing", Spacing::kTrailing}, {"linspace", Spacing::kLinspace}};
const Names<Betas> kBetas{
    {"linear", Betas::kLinear}, {"scaled_linear", Betas::kScaledLinear}, {"squaredcos_cap_v2", Betas::kSquaredCosine}};
const Names<Prediction> kPredictions{{name_of(Prediction::kNoise), Prediction::kNoise},
                                     {name_of(Prediction::kVelocity), Prediction::kVelocity},
                                     {name_of(Prediction::kClean), Prediction::kClean}};
const Names<bool> kVariances{{"fixed_small", false}, {"fixed_large", true}};

template <class T>
std::string listed(const Names<T>& names) {
  std::string list;
  for (const auto& [name, value] : names) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

template <class T>
std::optional<T> find_name(const Names<T>& names, std::string_view name) {
  for (const auto& [known, value] : names) {
    if (known == name) return value;
  }
  return std::nullopt;
}

template <class T>
std::string_view name_in(const Names<T>& names, T value) {
  for (const auto& [name, known] : names) {
    if (known == value) return name;
  }
  throw Error("scheduler: a value without a name");
}

template <class T>
T read_name(const Json& json, const char* key, const Names<T>& names, T otherwise, const std::string& where) {
  const auto name = json_or<std::string>(json, key, std::string(name_in(names, otherwise)), where);
  const auto value = find_name(names, name);
  if (!value)
    throw Error(fmt::format("{}: expected '{}' to be one of {}, found '{}'", where, key, listed(names), name));
  return *value;
}

/// The scheduler that a file is for. What the other ones of diffusers share with these can be sampled with them.
SamplerKind kind_of(const Json& json, std::optional<SamplerKind> wanted, const std::string& where) {
  if (wanted) return *wanted;
  const auto name = json_at<std::string>(json, "_class_name", where);
  const auto kind = find_name(kClasses, name);
  if (!kind) {
    throw Error(fmt::format("{}: expected '_class_name' to be one of {}, found '{}'; --scheduler chooses another",
                            where, listed(kClasses), name));
  }
  return *kind;
}

NoiseConfig read_noise(const Json& json, const std::string& where) {
  NoiseConfig noise;
  noise.steps = read_count(json, "num_train_timesteps", 1000, where);
  noise.beta_start = json_or<double>(json, "beta_start", 1e-4, where);
  noise.beta_end = json_or<double>(json, "beta_end", 0.02, where);
  noise.betas = read_name(json, "beta_schedule", kBetas, Betas::kLinear, where);
  noise.given_betas = json_or<std::vector<double>>(json, "trained_betas", {}, where);
  noise.rescale_to_zero_signal = json_or<bool>(json, "rescale_betas_zero_snr", false, where);
  noise.prediction = read_name(json, "prediction_type", kPredictions, Prediction::kNoise, where);
  return noise;
}

}  // namespace

std::string_view name_of(Prediction prediction) {
  switch (prediction) {
    case Prediction::kNoise:
      return "epsilon";
    case Prediction::kVelocity:
      return "v_prediction";
    case Prediction::kClean:
      return "sample";
  }
  throw Error("scheduler: unknown prediction");
}

SamplerKind sampler_named(std::string_view name) {
  const auto kind = find_name(kKinds, name);
  if (!kind) throw UsageError(fmt::format("scheduler: expected one of {}, found '{}'", listed(kKinds), name));
  return *kind;
}

std::string_view name_of(SamplerKind kind) {
  return name_in(kKinds, kind);
}

SamplerConfig read_sampler_config(const Json& json, const std::string& where, std::optional<SamplerKind> wanted) {
  if (!json.is_object()) throw Error(where + ": expected an object");
  SamplerConfig config;
  config.kind = kind_of(json, wanted, where);
  config.noise = read_noise(json, where);
  config.spacing = read_name(json, "timestep_spacing", kSpacings, Spacing::kLeading, where);
  config.steps_offset = json_or<std::int64_t>(json, "steps_offset", 0, where);
  if (config.steps_offset < 0 || config.steps_offset >= config.noise.steps) {
    throw Error(fmt::format("{}: expected 'steps_offset' from 0 to {}, found {}", where, config.noise.steps - 1,
                            config.steps_offset));
  }
  config.set_alpha_to_one = json_or<bool>(json, "set_alpha_to_one", config.kind != SamplerKind::kPndm, where);
  config.clip_sample = json_or<bool>(json, "clip_sample", true, where);
  config.clip_range = json_or<double>(json, "clip_sample_range", 1.0, where);
  if (!(config.clip_range > 0)) {
    throw Error(fmt::format("{}: expected 'clip_sample_range' above 0, found {}", where, config.clip_range));
  }
  config.large_variance = read_name(json, "variance_type", kVariances, false, where);
  config.skip_prk_steps = json_or<bool>(json, "skip_prk_steps", false, where);
  if (json_or<bool>(json, "thresholding", false, where)) throw Error(where + ": 'thresholding' is not supported");
  return config;
}

Json sampler_json(const SamplerConfig& config) {
  const NoiseConfig& noise = config.noise;
  Json json = {{"_class_name", name_in(kClasses, config.kind)},
               {"num_train_timesteps", noise.steps},
               {"beta_start", noise.beta_start},
               {"beta_end", noise.beta_end},
               {"beta_schedule", name_in(kBetas, noise.betas)},
               {"trained_betas", noise.given_betas.empty() ? Json(nullptr) : Json(noise.given_betas)},
               {"prediction_type", name_of(noise.prediction)},
               {"timestep_spacing", name_in(kSpacings, config.spacing)},
               {"steps_offset", config.steps_offset}};
  const bool clips = config.kind != SamplerKind::kPndm, ends = config.kind != SamplerKind::kDdpm;
  if (clips) json["rescale_betas_zero_snr"] = noise.rescale_to_zero_signal;
  if (clips) json["clip_sample"] = config.clip_sample;
  if (clips) json["clip_sample_range"] = config.clip_range;
  if (ends) json["set_alpha_to_one"] = config.set_alpha_to_one;
  if (!ends) json["variance_type"] = name_in(kVariances, config.large_variance);
  if (!clips) json["skip_prk_steps"] = config.skip_prk_steps;
  return json;
}

}  // namespace attune
