#include "attune/domains/domain_model.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/clip/weights.h"
#include "attune/domains/domain_folder.h"
#include "attune/domains/domain_vit.h"
#include "attune/domains/sam.h"
#include "attune/tensors/parallel.h"

namespace attune {
namespace {

void check_shape(const Tensor& pixels, std::int64_t size) {
  if (!pixels.defined() || pixels.dim() != 4 || pixels.size(1) != 3 || pixels.size(2) != size ||
      pixels.size(3) != size || pixels.scalar_type() != at::kFloat) {
    throw Error(fmt::format("domain model: expected fp32 pixels [B, 3, {0}, {0}], found [{1}]", size,
                            pixels.defined() ? fmt::format("{}", fmt::join(pixels.sizes(), ", ")) : ""));
  }
}

bool has_class_token(const DomainConfig& config) {
  return config.kind != DomainConfig::Kind::kSam;
}

DomainPooling pooling_of(const DomainConfig& config, DomainPooling asked, const std::string& where) {
  using Kind = DomainConfig::Kind;
  if (asked == DomainPooling::kClassToken && !has_class_token(config)) {
    throw UsageError(fmt::format("{}: expected pooling own or mean, found class: the model has no class token", where));
  }
  if (asked != DomainPooling::kOwn) return asked;
  const bool mean = config.kind == Kind::kVitMae || config.kind == Kind::kSam;
  return mean ? DomainPooling::kMean : DomainPooling::kClassToken;
}

std::string key_of(const DomainConfig& config, const std::string& weights, const DomainOptions& options,
                   std::int64_t size) {
  std::string key = fmt::format("{} {} {} heads epsilon {} size {}", weights, config.type, config.blocks.heads,
                                config.blocks.epsilon, size);
  key += options.pooling == DomainPooling::kMean ? " mean" : " class";
  if (options.tap == DomainTap::kDecoder) key += " decoder";
  if (options.tap == DomainTap::kClassifier) key += " classifier";
  return options.products == at::kFloat ? key : fmt::format("{} {}", key, at::toString(options.products));
}

}  // namespace

DomainPooling domain_pooling_named(std::string_view name) {
  if (name == "own") return DomainPooling::kOwn;
  if (name == "class") return DomainPooling::kClassToken;
  if (name == "mean") return DomainPooling::kMean;
  throw UsageError(fmt::format("pooling: expected own, class or mean, found '{}'", name));
}

DomainTap domain_tap_named(std::string_view name) {
  if (name == "encoder") return DomainTap::kEncoder;
  if (name == "decoder") return DomainTap::kDecoder;
  if (name == "classifier") return DomainTap::kClassifier;
  throw UsageError(fmt::format("tap: expected encoder, decoder or classifier, found '{}'", name));
}

Tensor DomainEncoder::encode(const Tensor& pixels) const {
  check_shape(pixels, preprocess_.size);
  const std::int64_t batch = pixels.size(0);
  if (batch == 0) return at::empty({0, width()}, pixels.options());
  const std::int64_t parts =
      std::max(std::min(batch, parallel_width()), (batch + pictures_at_once() - 1) / pictures_at_once());
  std::vector<Tensor> features(static_cast<std::size_t>(parts));
  const auto encode_one = [&](std::int64_t part) {
    const at::NoGradGuard no_gradients;
    const std::int64_t first = batch * part / parts, count = batch * (part + 1) / parts - first;
    features[static_cast<std::size_t>(part)] = encode_part(pixels.narrow(0, first, count));
  };
  if (pixels.is_cpu()) {
    in_parallel(parts, encode_one);
  } else {
    for (std::int64_t part = 0; part < parts; ++part) encode_one(part);
  }
  return at::cat(features);
}

std::shared_ptr<const DomainEncoder> load_domain_model(const std::filesystem::path& folder,
                                                       const DomainOptions& options) {
  const DomainDescription found = describe_domain_folder(folder);
  DomainOptions own = options;
  own.pooling = pooling_of(found.config, options.pooling, folder.string());
  const auto path = domain_weights(folder);
  const NamedTensors source{map_tensors(path), path.string()};
  const std::string key = key_of(found.config, hash_of_weights(path, options.hashes), own, found.preprocess.size);
  if (found.config.kind == DomainConfig::Kind::kSam) return make_sam(found, source, own, key);
  return make_domain_vit(found, source, own, key);
}

}  // namespace attune
