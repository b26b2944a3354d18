#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/classify.h"
#include "attune/cli/picture_list.h"
#include "attune/cli/verbs.h"
#include "attune/domains/domain_features.h"
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

/// Features and what a file of them says beside.
struct Embedded {
  Tensor features;
  std::map<std::string, std::string> metadata;
};

void write_features(const std::filesystem::path& out, const Embedded& found) {
  if (out.extension() == ".npy") {
    write_npy(out, view_of(found.features));
  } else if (out.extension() == ".safetensors") {
    save_tensors(out, {{"features", found.features}}, found.metadata);
  } else {
    throw UsageError(fmt::format("--out: expected a name that ends in .safetensors or .npy, found {}", out.string()));
  }
}

/// Features of the pictures of `inputs` from an encoder with this key.
Embedded embedded(const EmbedOptions& options, Inputs& inputs, const Tensor& features, const std::string& key) {
  std::vector<std::string> names;
  for (const Sample& sample : inputs.samples()) names.push_back(sample.path.string());
  return {(options.raw ? features : normalise_rows(features)).contiguous(),
          domain_features_metadata(names, inputs.contents(), options.raw ? key : key + " unit length")};
}

Embedded embed_images(const EmbedOptions& options) {
  const auto model = open_model(options.common, options.model, false, true);
  const auto progress = make_progress(options.common, "embedding");
  Inputs inputs(model, {}, list_pictures(options.images),
                input_options(options.common, options.pictures, progress.get()));
  const Tensor features = inputs.features(0);
  return embedded(options, inputs, features, model->feature_key());
}

Embedded embed_domain(const EmbedOptions& options) {
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
  return embedded(options, inputs, features, model->key());
}

Embedded embed_texts(const EmbedOptions& options) {
  const auto model = open_model(options.common, options.model, true, false);
  const std::vector<std::string> texts = read_lines(options.texts);
  if (texts.empty()) throw Error(fmt::format("{}: expected one text a line, found none", options.texts));
  const Tensor features = encode_sentences(*model, texts, options.truncate).to(at::kCPU);
  return {features.contiguous(), {{"texts", Json(texts).dump()}}};
}

void run_embed(const EmbedOptions& options) {
  const Common& common = options.common;
  prepare(common, Features::kAlone);
  if (options.images.empty() == options.texts.empty()) {
    throw UsageError("embed: expected either --images or --texts");
  }
  const bool domain = is_domain_folder(options.model);
  if (!domain && (!options.pooling.empty() || !options.tap.empty())) {
    throw UsageError("embed: --pooling and --tap belong to domain models, found " + options.model);
  }
  Embedded found = !options.texts.empty() ? embed_texts(options)
                   : domain               ? embed_domain(options)
                                          : embed_images(options);
  found.metadata["precision"] = common.precision;
  write_features(options.out, found);
  const std::int64_t count = found.features.size(0), width = found.features.size(1);
  if (common.json) {
    print_json({{"out", options.out}, {"count", count}, {"width", width}, {"precision", common.precision}});
  } else {
    say(common, fmt::format("{} features of width {} in {}", count, width, options.out));
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
