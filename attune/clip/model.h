#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attune/clip/prompts.h"
#include "attune/images/preprocess.h"
#include "attune/tensors/layers.h"
#include "attune/tensors/tensor.h"
#include "attune/text/tokenizer.h"

namespace attune {

/// Which row of the text tower is the text's: the first end token, or (early exports) the largest token id.
enum class Pooling { kFirstEnd, kLargestId };

struct TextConfig {
  std::int64_t width = 512, layers = 12, heads = 8, hidden = 2048;
  std::int64_t vocabulary = 49408, context_length = 77;
  Activation activation = Activation::kQuickGelu;
  Pooling pooling = Pooling::kLargestId;
  double norm_epsilon = 1e-5;
};

struct VisionConfig {
  enum class Kind { kViT, kResNet } kind = Kind::kViT;
  std::int64_t image_size = 224;
  std::int64_t width = 768, layers = 12, heads = 12, hidden = 3072, patch = 16;  // ViT
  std::vector<std::int64_t> stages;                                              // ResNet: blocks a stage
  Activation activation = Activation::kQuickGelu;
  double norm_epsilon = 1e-5;
};

struct ClipConfig {
  std::string name;                // as shown to users: the folder's name, or what the configuration says
  std::int64_t joint_width = 512;  // d, the width of the joint space
  TextConfig text;
  VisionConfig vision;
};

/// Features of B pictures, not normalised.
struct ImageFeatures {
  Tensor global;  // [B, d]
  Tensor local;   // [B, cells, d] in the joint space; undefined unless asked for
};

/// The text side of a frozen model. Thread-safe; holds no method's state.
class TextTower {
 public:
  virtual ~TextTower() = default;
  virtual const TextConfig& config() const = 0;
  /// Rows of the token embedding: ids [any shape] -> [any shape, width].
  virtual Tensor embed(const Tensor& ids) const = 0;
  /// Text features [P, C, d], not normalised. Gradients reach the prefix, the suffix and the tuning's tensors.
  virtual Tensor encode(const Prompts& prompts, const Tuning& tuning = {}) const = 0;
};

/// The image side of a frozen model. Thread-safe; holds no method's state.
class ImageTower {
 public:
  virtual ~ImageTower() = default;
  virtual const VisionConfig& config() const = 0;
  /// Features of a picture: the global one and one a cell.
  virtual std::int64_t rows() const = 0;
  /// pixels [B, 3, size, size] -> features. Gradients reach the pixels and the tuning's tensors where they ask for it.
  virtual ImageFeatures encode(const Tensor& pixels, const Tuning& tuning = {}, bool local = false) const = 0;
};

/// A frozen vision-language model with everything that is needed to use it.
struct ClipModel {
  ClipConfig config;
  Preprocess preprocess;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const TextTower> text;    // null where only the image side was loaded
  std::shared_ptr<const ImageTower> image;  // null where only the text side was loaded
  double logit_scale = 100.0;               // exp of the stored parameter
  at::Device device = at::kCPU;             // where the weights lie
  at::ScalarType products = at::kFloat;     // type of the towers' products, see FrozenLinear
  std::filesystem::path folder;
  std::filesystem::path hashes;  // as in LoadOptions

  /// SHA-256 over the weight files; adapters remember it. Computed on the first call.
  const std::string& weight_hash() const;
  /// What image features depend on beside the pixels: the weights and, unless fp32, the type of products.
  std::string feature_key() const;

  mutable std::string hash_;
};

/// What of a model is loaded.
struct LoadOptions {
  bool text = true;
  bool image = true;
  at::Device device = at::kCPU;
  at::ScalarType products = at::kFloat;
  /// Folder where the hashes of unchanged weight files are remembered; empty: the files are read for every model.
  std::filesystem::path hashes;
};

/// Reads a Hugging Face or OpenCLIP folder, or "pocket", the model that ships. Errors name the file and what is
/// missing.
ClipModel load_model(const std::string& name_or_folder, const LoadOptions& options = {});

/// Token ids of whole sentences as prompts whose prefix is the start token alone: [1, sentences]. Longer texts than the
/// model's context are an Error that names the text, unless `truncate`.
Prompts sentence_prompts(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate = false);

/// Text features [sentences, d] of whole sentences, not normalised, computed in chunks without gradients. Beginnings
/// that sentences share, such as those of templates, are computed once.
Tensor sentence_features(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate = false);

/// The same, normalised.
Tensor encode_sentences(const ClipModel& model, const std::vector<std::string>& sentences, bool truncate = false);

}  // namespace attune
