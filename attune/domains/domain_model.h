#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "attune/images/preprocess.h"
#include "attune/tensors/tensor.h"

namespace attune {

/// How the rows of a picture become one feature.
enum class DomainPooling {
  kOwn,         // the class token of vit and dinov2, the mean of vit_mae and sam
  kClassToken,  // after the last norm
  kMean,        // over the patches, after the last norm
};
/// "own", "class" or "mean". Throws UsageError on another name.
DomainPooling domain_pooling_named(std::string_view name);

/// What a picture's feature is pushed through after pooling.
enum class DomainTap {
  kEncoder,     // nothing
  kDecoder,     // vit_mae's linear layer into its decoder: the tap of DCPL's remote sensing model (inferred)
  kClassifier,  // vit's classification layer: the 1000 numbers of GDPL's SAR model
};
/// "encoder", "decoder" or "classifier". Throws UsageError on another name.
DomainTap domain_tap_named(std::string_view name);

struct DomainOptions {
  DomainPooling pooling = DomainPooling::kOwn;
  DomainTap tap = DomainTap::kEncoder;
  at::Device device = at::kCPU;
  at::ScalarType products = at::kFloat;  // see FrozenLinear
  std::filesystem::path hashes;          // folder that remembers the hashes of weight files; empty: none
};

/// Where h(x) comes from (DCPL, DPLQ, GDPL; methods notes 4.1): an encoder, or a file of features (DomainFeatures).
class DomainModel {
 public:
  virtual ~DomainModel() = default;

  virtual std::int64_t width() const = 0;
  /// What features depend on beside the picture: hash of the weights, kind, pooling, tap and type of products. Empty
  /// where a file does not say it.
  const std::string& key() const { return key_; }

 protected:
  explicit DomainModel(std::string key) : key_(std::move(key)) {}

 private:
  std::string key_;
};

/// A frozen model of a domain's pictures alone. Thread-safe.
class DomainEncoder : public DomainModel {
 public:
  /// Pixels [B, 3, size, size] of preprocess() -> features [B, width()], raw, fp32, without a graph. Throws Error on
  /// another shape.
  Tensor encode(const Tensor& pixels) const;

  /// The view that the model wants. As for image towers the shorter side is resized and the centre cut out, also where
  /// the model's own processor would distort (vit) or pad (sam): the model sees the part of the picture that the tower
  /// beside it sees.
  const Preprocess& preprocess() const { return preprocess_; }
  /// Where the weights lie and pixels are wanted.
  at::Device device() const { return device_; }

 protected:
  DomainEncoder(const Preprocess& preprocess, at::Device device, std::string key)
      : DomainModel(std::move(key)), preprocess_(preprocess), device_(device) {}
  /// The features of pictures that one thread takes at once.
  virtual Tensor encode_part(const Tensor& pixels) const = 0;
  /// How many those are at most.
  virtual std::int64_t pictures_at_once() const = 0;

 private:
  Preprocess preprocess_;
  at::Device device_;
};

/// Whether a folder holds a model that load_domain_model reads, by the model_type of its config.json.
bool is_domain_folder(const std::filesystem::path& folder);

/// Reads a Hugging Face folder of model_type vit, vit_mae, dinov2, sam or sam_vision_model (config.json,
/// preprocessor_config.json, model.safetensors or its shards). Throws Error that names the file and what was expected,
/// UsageError where the model does not have what the options ask for.
std::shared_ptr<const DomainEncoder> load_domain_model(const std::filesystem::path& folder,
                                                       const DomainOptions& options = {});

}  // namespace attune
