#include "attune/methods/domain_guided.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/domains/domain_features.h"
#include "attune/methods/context.h"
#include "attune/methods/descent_stage.h"
#include "attune/methods/network.h"
#include "attune/methods/quaternion.h"

namespace attune {
namespace {

constexpr std::int64_t kHidden = 32;  // of the small networks on domain features
/// Pictures whose prompts and classes prediction holds at once.
constexpr std::int64_t kPicturesAtOnce = 16;
constexpr std::int64_t kMost = 1000;  // tokens, blocks and ranks
constexpr double kDeviation = 0.02;
constexpr const char* kDomainHash = "domain.hash";

enum class Kind { kDcpl, kDplq, kGdpl };
enum class TestNoise { kNone, kImage, kBatch };

TestNoise test_noise_named(const std::string& name) {
  if (name == "none") return TestNoise::kNone;
  if (name == "image") return TestNoise::kImage;
  if (name == "batch") return TestNoise::kBatch;
  throw UsageError(fmt::format("noise.test: expected none, image or batch, found \"{}\"", name));
}

struct GuidedSettings {
  Kind kind;
  std::int64_t tokens, depth;
  std::string words;
  bool train_noise;
  TestNoise test_noise;
  bool concatenates = false;  // DPLQ, GDPL: [bias; context] instead of [0; context + bias]
  std::int64_t lora_rank = 0, lora_depth = 0;
  double lora_alpha = 1;
  bool relates = false;

  GuidedSettings(Kind which, const Config& config)
      : kind(which),
        tokens(config.integer("tokens", 1, kMost)),
        depth(config.integer("depth", 1, kMost)),
        words(config.text("context.init")),
        train_noise(config.flag("noise.train")),
        test_noise(test_noise_named(config.text("noise.test"))) {
    if (kind == Kind::kDcpl) return;
    const std::string input = config.text("quaternion.input");
    if (input != "sum" && input != "concat") {
      throw UsageError(fmt::format("quaternion.input: expected sum or concat, found \"{}\"", input));
    }
    concatenates = input == "concat";
    if (kind == Kind::kDplq) return;
    lora_rank = config.integer("lora.rank", 1, kMost);
    lora_depth = config.integer("lora.depth", 1, kMost);
    lora_alpha = config.number("lora.alpha");
    relates = config.flag("lora.relation");
  }
};

std::shared_ptr<const DomainModel> domain_model_of(const ClipModel& model, const Config& config) {
  const std::string place = config.text("domain.model");
  if (place.empty()) return nullptr;
  DomainOptions options;
  options.pooling = domain_pooling_named(config.text("domain.pooling"));
  options.tap = domain_tap_named(config.text("domain.tap"));
  options.device = model.device;
  options.products = model.products;
  options.hashes = model.hashes;
  return open_domain_model(place, options);
}

/// The prompts and the image tower's tuning of some pictures.
struct Guidance {
  Prompts prompts;
  Tuning text, image;
  Tensor image_bias;  // [B, d], DCPL
};

class DomainGuided final : public Classifier {
 public:
  DomainGuided(std::string method, Kind kind, std::shared_ptr<const ClipModel> model, const ClassNames& classes,
               const Config& config, std::uint64_t seed)
      : method_(std::move(method)),
        model_(std::move(model)),
        settings_(kind, config),
        optim_settings_(config),
        seed_(seed),
        domain_(domain_model_of(*model_, config)),
        words_(model_->tokenizer->encode(settings_.words)) {
    const VisionConfig& vision = model_->config.vision;
    if (vision.kind != VisionConfig::Kind::kViT) {
      throw UsageError(
          fmt::format("{}: prompts of the image tower need a vision transformer; {} has a ResNet, which has no tokens",
                      method_, model_->config.name));
    }
    settings_.depth = std::min({settings_.depth, model_->config.text.layers, vision.layers});
    start();
    for (auto& [name, tensor] : learned_) tensor = tensor.to(model_->device).requires_grad_(true);
    set_classes(classes);
  }

  Needs needs() const override {
    return {.features = domain_ == nullptr, .pixels = true, .content_keys = true, .domain = domain_};
  }
  bool open_vocabulary() const override { return true; }
  void set_classes(const ClassNames& classes) override {
    prompts_.emplace(*model_, classes, settings_.tokens, false, NamePosition::kEnd, words_);
  }

  Tensor logits(const Batch& batch) override;
  TensorMap state() const override;
  void load_state(const TensorMap& state) override {
    check_domain(state);
    TensorMap learned = state;
    learned.erase(kDomainHash);
    copy_state(learned, detached(learned_), method_);
  }
  Stages stages(const TrainingData& data) override;

 private:
  std::int64_t text_width() const { return model_->config.text.width; }
  std::int64_t image_width() const { return model_->config.vision.width; }
  std::int64_t domain_width() const { return domain_ ? domain_->width() : model_->config.joint_width; }
  Tensor domain_features(const Batch& batch) const {
    return (domain_ ? batch.domain_features : batch.image_features).to(model_->device);
  }
  const Tensor& learned(const std::string& name) const { return learned_.at(name); }

  void start();
  void start_network(const std::string& name, std::int64_t out, KeyedRandom& random);
  void start_deltas(const std::string& tower, std::int64_t layers, std::int64_t width, KeyedRandom& random);
  Tensor network(const std::string& name, const Tensor& features) const {
    const Tensor hidden = at::relu(at::linear(features, learned(name + ".1.weight"), learned(name + ".1.bias")));
    return at::linear(hidden, learned(name + ".2.weight"), learned(name + ".2.bias"));
  }
  Tensor mixed(const std::string& name, const Tensor& tokens, const Tensor& bias, const Tensor& noise) const;
  Guidance guidance(const Tensor& domain, const Tensor& noise) const;
  void add_deltas(Tuning& text, Tuning& image) const;
  Tensor answers(const Tensor& pixels, const Guidance& guidance, const Tensor& image_noise) const;
  Tensor noise_of_pictures(const Batch& batch, std::int64_t first, std::int64_t count, std::int64_t width,
                           const char* purpose) const;
  void check_domain(const TensorMap& state) const;
  Objective objective(const Batch& batch, std::int64_t step) const;

  const std::string method_;
  std::shared_ptr<const ClipModel> model_;
  GuidedSettings settings_;
  OptimSettings optim_settings_;
  std::uint64_t seed_;
  std::shared_ptr<const DomainModel> domain_;  // null: the base model's own features
  std::vector<std::int64_t> words_;            // tokens between the learned context and the names
  TensorMap learned_;
  std::optional<ContextPrompts> prompts_;
};

void DomainGuided::start_network(const std::string& name, std::int64_t out, KeyedRandom& random) {
  learned_[name + ".1.weight"] = linear_start({kHidden, domain_width()}, domain_width(), random);
  learned_[name + ".1.bias"] = linear_start({kHidden}, domain_width(), random);
  learned_[name + ".2.weight"] = linear_start({out, kHidden}, kHidden, random);
  learned_[name + ".2.bias"] = linear_start({out}, kHidden, random);
}

void DomainGuided::start_deltas(const std::string& tower, std::int64_t layers, std::int64_t width,
                                KeyedRandom& random) {
  const std::int64_t rank = settings_.lora_rank;
  for (std::int64_t block = 0; block < std::min(settings_.lora_depth, layers); ++block) {
    const std::string name = fmt::format("lora.{}.{}", tower, block);
    learned_[name + ".down"] = xavier_start(rank, width, random);
    learned_[name + ".up"] = xavier_start(3 * width, rank, random);
    learned_[name + ".out.down"] = linear_start({rank, width}, width, random);
    learned_[name + ".out.up"] = at::zeros({width, rank});
    if (settings_.relates) learned_[name + ".singular"] = at::ones({rank});
  }
}

void DomainGuided::start() {
  KeyedRandom random(seed_, method_);
  const std::int64_t width = text_width(), tokens = settings_.tokens;
  if (static_cast<std::int64_t>(words_.size()) < tokens) {
    throw UsageError(
        fmt::format("context.init: expected at least {} tokens, one for every learned token, found {} in \"{}\"",
                    tokens, words_.size(), settings_.words));
  }
  const at::NoGradGuard no_gradients;
  learned_["context"] = model_->text->embed(at::tensor(words_, at::kLong)).narrow(0, 0, tokens).to(at::kCPU).clone();
  words_.erase(words_.begin(), words_.begin() + tokens);
  learned_["coupling.0.weight"] = linear_start({image_width(), width}, width, random);
  learned_["coupling.0.bias"] = linear_start({image_width()}, width, random);
  start_network("meta_net", width, random);
  const bool mixes = settings_.kind != Kind::kDcpl;
  if (mixes) {
    QuaternionLinear::start(2 * width, width, random).add_to(learned_, "mix.0");
  } else {
    start_network("image_net", model_->config.joint_width, random);
  }
  // The layers behind the first block start alike.
  const QuaternionLinear mix = QuaternionLinear::start(2 * width, image_width(), random);
  const Tensor weight = linear_start({image_width(), width}, width, random);
  const Tensor bias = linear_start({image_width()}, width, random);
  for (std::int64_t block = 1; block < settings_.depth; ++block) {
    learned_[fmt::format("text.{}", block)] = normal({tokens, width}, 0, kDeviation, random);
    if (mixes) {
      mix.add_to(learned_, fmt::format("mix.{}", block));
    } else {
      learned_[fmt::format("coupling.{}.weight", block)] = weight;
      learned_[fmt::format("coupling.{}.bias", block)] = bias;
    }
  }
  if (settings_.kind == Kind::kGdpl) {
    start_deltas("text", model_->config.text.layers, width, random);
    start_deltas("image", model_->config.vision.layers, image_width(), random);
    if (settings_.relates) learned_["relation"] = at::zeros({2, 2});
  }
  for (auto& [name, tensor] : learned_) tensor = tensor.clone();
}

/// Tokens [n, width] under the bias of every picture [B, width] through the quaternion layer: [B, n, out].
Tensor DomainGuided::mixed(const std::string& name, const Tensor& tokens, const Tensor& bias,
                           const Tensor& noise) const {
  const QuaternionLinear layer = QuaternionLinear::from(learned_, name);
  const Tensor each = bias.unsqueeze(1).expand({bias.size(0), tokens.size(0), bias.size(1)});
  Tensor own = tokens.unsqueeze(0).expand_as(each);
  if (noise.defined()) own = own + noise.unsqueeze(1);
  if (settings_.concatenates) return layer(at::cat({each, own}, 2));
  return layer.of_second_half(own + each);
}

/// `noise` [B, width], already scaled, or undefined.
Guidance DomainGuided::guidance(const Tensor& domain, const Tensor& noise) const {
  const Tensor bias = network("meta_net", domain);  // [B, width]
  const bool mixes = settings_.kind != Kind::kDcpl;
  Guidance guidance;
  guidance.text.blocks.resize(static_cast<std::size_t>(settings_.depth));
  guidance.image.blocks.resize(static_cast<std::size_t>(settings_.depth));
  const Tensor& context = learned("context");
  guidance.prompts = prompts_->of_each(mixes ? mixed("mix.0", context, bias, noise) : context + bias.unsqueeze(1));
  const auto coupled = [&](std::size_t block, const Tensor& tokens) {
    return at::linear(tokens, learned(fmt::format("coupling.{}.weight", block)),
                      learned(fmt::format("coupling.{}.bias", block)))
        .unsqueeze(0);
  };
  guidance.image.blocks[0].tokens = coupled(0, context);
  for (std::size_t block = 1; block < guidance.text.blocks.size(); ++block) {
    const Tensor& tokens = learned(fmt::format("text.{}", block));
    guidance.text.blocks[block].place = Place::kOverwriteAfterStart;
    guidance.text.blocks[block].tokens = tokens.unsqueeze(0);
    guidance.image.blocks[block].tokens =
        mixes ? mixed(fmt::format("mix.{}", block), tokens, bias, {}) : coupled(block, tokens);
  }
  if (!mixes) guidance.image_bias = network("image_net", domain);
  if (settings_.kind == Kind::kGdpl) add_deltas(guidance.text, guidance.image);
  return guidance;
}

/// Singular values of a block's two deltas are mixed by the relation: [image, text] (1 + relation).
void DomainGuided::add_deltas(Tuning& text, Tuning& image) const {
  const double scale = settings_.lora_alpha / static_cast<double>(settings_.lora_rank);
  const auto blocks_of = [&](std::int64_t layers) {
    return static_cast<std::size_t>(std::min(settings_.lora_depth, layers));
  };
  const std::size_t text_blocks = blocks_of(model_->config.text.layers);
  const std::size_t image_blocks = blocks_of(model_->config.vision.layers);
  const auto name_of = [](const char* tower, std::size_t block) { return fmt::format("lora.{}.{}", tower, block); };
  const auto singular = [&](const char* tower, std::size_t block, std::size_t blocks) {
    // A block that the other tower does not have is related to nothing.
    return block < blocks ? learned(name_of(tower, block) + ".singular")
                          : at::zeros({settings_.lora_rank}).to(model_->device);
  };
  const auto add = [&](Tuning& tuning, const char* tower, std::size_t blocks, std::int64_t column) {
    if (tuning.blocks.size() < blocks) tuning.blocks.resize(blocks);
    for (std::size_t block = 0; block < blocks; ++block) {
      const std::string name = name_of(tower, block);
      LowRank& fused = tuning.blocks[block].qkv;
      fused.down = learned(name + ".down");
      fused.up = learned(name + ".up");
      fused.scale = scale / 4;  // as in the published code
      if (settings_.relates) {
        const Tensor& relation = learned("relation");
        fused.singular = learned(name + ".singular") + singular("image", block, image_blocks) * relation[0][column] +
                         singular("text", block, text_blocks) * relation[1][column];
      }
      LowRank& out = tuning.blocks[block].out;
      out.down = learned(name + ".out.down");
      out.up = learned(name + ".out.up");
      out.scale = scale;
    }
  };
  add(image, "image", image_blocks, 0);
  add(text, "text", text_blocks, 1);
}

/// Logits [B, C]; `image_noise` [B, d] before it is scaled by the mean of the features, or undefined.
Tensor DomainGuided::answers(const Tensor& pixels, const Guidance& guidance, const Tensor& image_noise) const {
  Tensor image = model_->image->encode(pixels, guidance.image).global;
  if (guidance.image_bias.defined()) {
    const Tensor size =
        settings_.test_noise == TestNoise::kImage && !at::GradMode::is_enabled() ? image.mean(1, true) : image.mean();
    image = image + guidance.image_bias;
    if (image_noise.defined()) image = image + image_noise * size;
  }
  return cosine_logits_per_image(image, model_->text->encode(guidance.prompts, guidance.text), model_->logit_scale);
}

Objective DomainGuided::objective(const Batch& batch, std::int64_t step) const {
  const Tensor domain = domain_features(batch);
  Tensor text_noise, image_noise;
  if (settings_.train_noise) {
    KeyedRandom random(seed_, method_ + ".noise", static_cast<std::uint64_t>(step));
    const bool on_image = settings_.kind == Kind::kDcpl;
    const Tensor noise =
        normal({batch.size(), on_image ? model_->config.joint_width : text_width()}, 0, 1, random).to(domain.device());
    if (on_image) {
      image_noise = noise;
    } else {
      text_noise = noise * domain.mean();
    }
  }
  return cross_entropy(answers(batch.pixels, guidance(domain, text_noise), image_noise), batch.labels);
}

/// Standard normal [count, width], keyed by the pictures' content, so that an answer does not depend on its neighbours.
Tensor DomainGuided::noise_of_pictures(const Batch& batch, std::int64_t first, std::int64_t count, std::int64_t width,
                                       const char* purpose) const {
  std::vector<Tensor> rows;
  for (std::int64_t i = first; i < first + count; ++i) {
    KeyedRandom random(seed_, method_ + purpose, batch.content.at(static_cast<std::size_t>(i)));
    rows.push_back(normal({width}, 0, 1, random));
  }
  return at::stack(rows).to(model_->device);
}

Tensor DomainGuided::logits(const Batch& batch) {
  const at::NoGradGuard no_gradients;
  const Tensor domain = domain_features(batch);
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < batch.size(); first += kPicturesAtOnce) {
    const std::int64_t count = std::min(kPicturesAtOnce, batch.size() - first);
    const Tensor own = domain.narrow(0, first, count);
    Tensor text_noise, image_noise;
    if (settings_.test_noise != TestNoise::kNone && settings_.kind == Kind::kDcpl) {
      image_noise = noise_of_pictures(batch, first, count, model_->config.joint_width, ".test_noise");
    } else if (settings_.test_noise != TestNoise::kNone) {
      const Tensor size = settings_.test_noise == TestNoise::kImage ? own.mean(1, true) : domain.mean();
      text_noise = noise_of_pictures(batch, first, count, text_width(), ".test_noise") * size;
    }
    parts.push_back(answers(batch.pixels.narrow(0, first, count), guidance(own, text_noise), image_noise));
  }
  return at::cat(parts);
}

TensorMap DomainGuided::state() const {
  TensorMap state = detached(learned_);
  // Of features whose file does not name their encoder, nothing but the width is known.
  if (domain_ != nullptr && !domain_->key().empty()) {
    const std::string hash = sha256(domain_->key());
    Tensor bytes = at::empty({static_cast<std::int64_t>(hash.size())}, at::kByte);
    std::memcpy(bytes.mutable_data_ptr(), hash.data(), hash.size());
    state[kDomainHash] = bytes;
  }
  return state;
}

void DomainGuided::check_domain(const TensorMap& state) const {
  const TensorMap own = this->state();
  const auto weight = state.find("meta_net.1.weight");
  if (weight != state.end() && weight->second.dim() == 2 && weight->second.size(1) != domain_width()) {
    throw Error(
        fmt::format("{}: domain.model: expected features of width {}, as the prompts were learned with; found {}",
                    method_, weight->second.size(1), domain_width()));
  }
  const auto found = state.find(kDomainHash), own_hash = own.find(kDomainHash);
  if (found == state.end() || (domain_ != nullptr && own_hash == own.end())) return;
  if (domain_ == nullptr || !found->second.to(at::kCPU).equal(own_hash->second)) {
    throw Error(fmt::format(
        "{}: domain.model: expected the domain model, with its pooling and tap, that the prompts were learned with; "
        "found another",
        method_));
  }
}

Stages DomainGuided::stages(const TrainingData&) {
  DescentWork work{
      method_, optim_settings_, {{parameters_of(learned_)}}, [this](const Batch& batch, std::int64_t step) {
        return objective(batch, step);
      }};
  work.contexts = work.pictures = optim_settings_.batch_size;
  Stages stages;
  stages.push_back(make_descent_stage(std::move(work)));
  return stages;
}

Method guided_method(const std::string& name, const std::string& meaning, Kind kind, std::int64_t epochs) {
  Schema schema = {
      {"domain.model", "",
       "folder of a frozen model of the domain's pictures, or file of features of attune embed; empty: the base "
       "model's "
       "image features"},
      {"domain.pooling", "own", "its feature: own (as its kind is used), class or mean"},
      {"domain.tap", "encoder", "what that feature goes through: encoder (nothing), decoder or classifier"},
      {"tokens", 2, "learned tokens a block in both towers"},
      {"depth", 9, "blocks with tokens of their own in both towers, the first included"},
      {"context.init", "a photo of a", "words before the class names; learned tokens take the place of the first"},
      {"noise.train", true, "add the published noise in training"},
      {"noise.test", "image",
       "noise in prediction: image (keyed by the picture, of its own size), batch (sized by the batch, as published), "
       "none"},
  };
  if (kind != Kind::kDcpl) {
    schema.push_back(
        {"quaternion.input", "sum",
         "input of the quaternion layers: sum (zeros, and context with bias: the published code) or concat "
         "(bias, and context)"});
  }
  if (kind == Kind::kGdpl) {
    schema.push_back({"lora.rank", 4, "rank of the deltas in both towers"});
    schema.push_back({"lora.alpha", 1.0, "deltas are scaled by alpha / rank, those of q, k, v by a quarter of it"});
    schema.push_back({"lora.depth", 9, "blocks with deltas"});
    schema.push_back({"lora.relation", true,
                      "learn singular values and their relation between the towers; false: they stay ones, which is "
                      "what the published code does"});
  }
  for (Key& key : OptimSettings::schema({{"epochs", epochs}, {"batch_size", 4}, {"optim.lr", 0.0035}})) {
    schema.push_back(std::move(key));
  }
  return {name, meaning, std::move(schema),
          [name, kind](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
                       std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<DomainGuided>(name, kind, std::move(model), classes, config, seed);
          }};
}

}  // namespace

Method dcpl_method() {
  return guided_method("dcpl", "DCPL: prompts under the control of a domain model (Cao et al. 2024)", Kind::kDcpl, 5);
}

Method dplq_method() {
  return guided_method("dplq", "DPLQ: domain and context mixed by quaternion layers (Cao et al. 2024)", Kind::kDplq,
                       15);
}

Method gdpl_method() {
  return guided_method("gdpl", "GDPL: DPLQ with related low-rank deltas in both towers (Cao et al. 2025)", Kind::kGdpl,
                       15);
}

}  // namespace attune
