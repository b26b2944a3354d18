#include "attune/diffusion/diffusion_folder.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/diffusion/model_index.h"
#include "attune/formats/limits.h"

namespace attune {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStem = "diffusion_pytorch_model";

Json read_object(const fs::path& path) {
  if (!fs::exists(path)) throw Error(fmt::format("{}: expected this file, found none", path.string()));
  Json json = read_json(path, kConfigLimit);
  if (!json.is_object()) throw Error(path.string() + ": expected an object");
  return json;
}

/// Names the form that is missing where only another, executable one is there.
void expect_safetensors(const fs::path& part, const char* stem) {
  const std::string file = std::string(stem) + ".safetensors";
  if (fs::exists(part / file) || fs::exists(part / (file + ".index.json"))) return;
  throw Error(fmt::format("{}: expected {} or its shards with {}.index.json, found neither; only safetensors are read",
                          part.string(), file, file));
}

NamedTensors read_part(const fs::path& part) {
  expect_safetensors(part, kStem);
  return {map_tensors(part, kStem), part.string()};
}

void check_fit(const DiffusionDescription& model) {
  const std::string where = model.folder.string();
  check_channels(model.unet, model.vae, where);
  if (model.text && model.text->width != model.unet.hidden_width) {
    throw Error(fmt::format("{}: expected a text encoder of the UNet's 'cross_attention_dim' {}, found {}", where,
                            model.unet.hidden_width, model.text->width));
  }
}

std::string name_of_folder(const fs::path& folder) {
  const fs::path absolute = fs::weakly_canonical(folder);
  return absolute.has_filename() ? absolute.filename().string() : absolute.parent_path().filename().string();
}

void write_unet(const fs::path& folder, const DiffusionParts& parts) {
  TensorMap tensors = unet_file_tensors(parts.unet, parts.parameters);
  for (auto& [name, tensor] : tensors) tensor = tensor.to(parts.type);
  save_tensors(folder / "unet" / (std::string(kStem) + ".safetensors"), tensors, {{"format", "pt"}});
  write_json(folder / "unet" / "config.json", unet_json(parts.unet));
}

void write_parts(const fs::path& folder, const DiffusionParts& parts) {
  write_unet(folder, parts);
  if (parts.others.empty()) {
    write_json(folder / "scheduler" / "scheduler_config.json", sampler_json(parts.sampler));
    if (!parts.clip.empty()) write_text_encoder(parts.clip, folder, parts.type);
    write_json(folder / "model_index.json",
               model_index_json(false, !parts.clip.empty(),
                                json_at<std::string>(sampler_json(parts.sampler), "_class_name", "scheduler")));
    return;
  }
  for (const char* part : {"vae", "text_encoder", "tokenizer", "scheduler"}) {
    if (fs::exists(parts.others / part)) fs::copy(parts.others / part, folder / part, fs::copy_options::recursive);
  }
  fs::copy_file(parts.others / "model_index.json", folder / "model_index.json");
}

}  // namespace

SamplerConfig DiffusionDescription::sampler(std::optional<SamplerKind> wanted) const {
  return read_sampler_config(scheduler, (folder / "scheduler" / "scheduler_config.json").string(), wanted);
}

NoiseConfig DiffusionDescription::noise() const {
  // Schedulers that cannot be sampled with here share the schedule of noise.
  return sampler(SamplerKind::kDdim).noise;
}

bool is_diffusion_folder(const fs::path& folder) {
  return fs::exists(folder / "model_index.json");
}

fs::path resolve_diffusion_folder(const std::string& name) {
  if (is_diffusion_folder(name)) return name;
  const bool plain = !name.empty() && fs::path(name).filename() == name && name.front() != '.';
  if (plain && !fs::exists(name) && is_diffusion_folder(models_folder() / name)) return models_folder() / name;
  return name;
}

DiffusionDescription describe_diffusion_folder(const fs::path& folder) {
  if (!is_diffusion_folder(folder)) {
    throw Error(
        fmt::format("{}: expected a folder in diffusers' layout with model_index.json, found none", folder.string()));
  }
  DiffusionDescription model;
  model.folder = folder;
  model.name = name_of_folder(folder);
  const fs::path index = folder / "model_index.json", unet = folder / "unet" / "config.json",
                 vae = folder / "vae" / "config.json";
  check_model_index(read_object(index), index.string());
  model.unet = read_unet_config(read_object(unet), unet.string());
  model.scheduler = read_object(folder / "scheduler" / "scheduler_config.json");
  if (fs::exists(folder / "vae")) model.vae = read_vae_config(read_object(vae), vae.string());
  if (fs::exists(folder / "text_encoder")) model.text = read_text_encoder_config(folder);
  check_fit(model);
  model.noise();
  return model;
}

const UNet& DiffusionModel::network() const {
  if (trainable_unet) return *trainable_unet;
  if (!frozen_unet) throw Error(folder.string() + ": the UNet was not loaded");
  return *frozen_unet;
}

const std::string& DiffusionModel::weight_hash() const {
  if (hash_.empty()) {
    const fs::path file = folder / "unet" / (std::string(kStem) + ".safetensors");
    const fs::path shards = file.string() + ".index.json";
    hash_ = hash_of_weights(fs::exists(file) ? file : shards, hashes);
  }
  return hash_;
}

Tensor DiffusionModel::maps_of_pixels(const Tensor& pixels, const Tensor& noise) const {
  if (!vae) return pixels;
  if (!autoencoder) throw Error(folder.string() + ": the autoencoder was not loaded");
  const at::NoGradGuard without_gradients;
  const Latents latents = autoencoder->encode(pixels);
  const Tensor drawn = noise.defined() ? latents.mean + at::exp(0.5 * latents.log_variance) * noise : latents.mean;
  return (drawn - vae->shift) * vae->scaling;
}

Tensor DiffusionModel::pixels_of_maps(const Tensor& maps) const {
  if (!vae) return maps;
  if (!autoencoder) throw Error(folder.string() + ": the autoencoder was not loaded");
  const at::NoGradGuard without_gradients;
  return autoencoder->decode(maps / vae->scaling + vae->shift);
}

DiffusionModel load_diffusion_model(const fs::path& folder, const DiffusionOptions& options) {
  DiffusionModel model{describe_diffusion_folder(folder), {}, {}, {}, {}, options.hashes, {}};
  if (options.text && !model.text) {
    throw UsageError(folder.string() + ": expected a text_encoder/ to read texts with, found none");
  }
  if (options.text) model.encoder = std::make_shared<const TextEncoder>(TextEncoder::load(folder));
  if (options.unet) {
    const NamedTensors source = read_part(folder / "unet");
    if (options.train_unet) {
      model.trainable_unet = std::make_shared<TrainableUNet>(model.unet, source);
    } else {
      model.frozen_unet = make_frozen_unet(model.unet, source);
    }
  }
  if (options.vae && model.vae) {
    model.autoencoder = std::make_shared<const Vae>(*model.vae, read_part(folder / "vae"));
  }
  return model;
}

void write_diffusion_folder(const fs::path& folder, const DiffusionParts& parts) {
  if (fs::exists(folder)) throw Error(fmt::format("{}: expected no such folder yet, found one", folder.string()));
  const fs::path beside = folder.string() + ".partial";
  fs::remove_all(beside);
  try {
    write_parts(beside, parts);
    describe_diffusion_folder(beside);
    fs::rename(beside, folder);
  } catch (...) {
    fs::remove_all(beside);
    throw;
  }
}

}  // namespace attune
