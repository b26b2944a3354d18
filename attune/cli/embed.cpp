#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/classify.h"
#include "attune/cli/picture_list.h"
#include "attune/cli/verbs.h"
#include "attune/domains/domain_model.h"
#include "attune/formats/npy.h"
#include "attune/tensors/device.h"

namespace attune {
namespace {

struct EmbedOptions {
  Common common;
  PictureOptions pictures;
  std::string model, texts, out, pooling, tap;
  std::vector<std::string> images;
  bool raw = false, truncate = false;
};

void write_features(const std::filesystem::path& out, const Tensor& features, const std::string& key,
                    const std::vector<std::string>& names) {
  if (out.extension() == ".npy") {
    write_npy(out, view_of(features));
  } else if (out.extension() == ".safetensors") {
    save_tensors(out, {{"features", features}}, {{key, Json(names).dump()}});
  } else {
    throw UsageError(fmt::format("--out: expected a name that ends in .safetensors or .npy, found {}", out.string()));
  }
}

Tensor embed_images(const EmbedOptions& options, std::vector<std::string>& names) {
  const auto model = open_model(options.common, options.model, false, true);
  const auto progress = make_progress(options.common, "embedding");
  Inputs inputs(model, {}, list_pictures(options.images),
                input_options(options.common, options.pictures, progress.get()));
  const Tensor features = inputs.features(0);
  for (const Sample& sample : inputs.samples()) names.push_back(sample.path.string());
  return features;
}

Tensor embed_domain(const EmbedOptions& options, std::vector<std::string>& names) {
  DomainOptions wanted;
  if (!options.pooling.empty()) wanted.pooling = domain_pooling_named(options.pooling);
  if (!options.tap.empty()) wanted.tap = domain_tap_named(options.tap);
  wanted.device = choose_device(options.common.device);
  wanted.products = choose_precision(options.common.precision, wanted.device);
  if (!options.pictures.no_cache) wanted.hashes = cache_folder() / "models";
  const auto model = load_domain_model(options.model, wanted);
  const auto progress = make_progress(options.common, "embedding");
  Inputs inputs(model, list_pictures(options.images), input_options(options.common, options.pictures, progress.get()));
  const Tensor features = inputs.domain_features(model, 0);
  for (const Sample& sample : inputs.samples()) names.push_back(sample.path.string());
  return features;
}

void run_embed(const EmbedOptions& options) {
  const Common& common = options.common;
  prepare(common, Features::kAlone);
  if (options.images.empty() == options.texts.empty()) {
    throw UsageError("embed: expected either --images or --texts");
  }
  std::vector<std::string> names;
  Tensor features;
  const bool domain = is_domain_folder(options.model);
  if (!domain && (!options.pooling.empty() || !options.tap.empty())) {
    throw UsageError("embed: --pooling and --tap belong to domain models, found " + options.model);
  }
  if (!options.texts.empty()) {
    const auto model = open_model(common, options.model, true, false);
    names = read_lines(options.texts);
    if (names.empty()) throw Error(fmt::format("{}: expected one text a line, found none", options.texts));
    features = encode_sentences(*model, names, options.truncate).to(at::kCPU);
  } else {
    features = domain ? embed_domain(options, names) : embed_images(options, names);
    if (!options.raw) features = normalise_rows(features);
  }
  write_features(options.out, features.contiguous(), options.texts.empty() ? "paths" : "texts", names);
  if (common.json) {
    print_json({{"out", options.out}, {"count", names.size()}, {"width", features.size(1)}});
  } else {
    say(common, fmt::format("{} features of width {} in {}", names.size(), features.size(1), options.out));
  }
}

}  // namespace

void add_embed(CLI::App& app) {
  auto options = std::make_shared<EmbedOptions>();
  CLI::App* verb = app.add_subcommand("embed", "Writes image or text features; goes on where it was stopped");
  verb->add_option("--model", options->model, "model folder, pocket, or the folder of a domain model")->required();
  verb->add_option("--images", options->images, "files, folders, or - for a list on standard input");
  verb->add_option("--texts", options->texts, "text file, one text a line")->check(CLI::ExistingFile);
  verb->add_option("--out", options->out, "file to write: .safetensors (tensor \"features\") or .npy")->required();
  verb->add_flag("--raw", options->raw, "image features as the tower gives them, not of unit length");
  verb->add_option("--pooling", options->pooling, "of a domain model: own, class or mean");
  verb->add_option("--tap", options->tap, "of a domain model: encoder, decoder or classifier");
  verb->add_flag("--truncate", options->truncate, "cut texts that are too long instead of stopping");
  add_picture_options(*verb, options->pictures);
  add_common(*verb, options->common);
  verb->callback([options] { run_embed(*options); });
}

}  // namespace attune
