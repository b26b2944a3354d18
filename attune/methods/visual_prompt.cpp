#include "attune/methods/visual_prompt.h"

#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/methods/descent_stage.h"
#include "attune/text/templates.h"

namespace attune {
namespace {

enum class Shape { kRandomPatch, kFixedPatch, kPadding };

Shape shape_named(const std::string& name) {
  if (name == "random_patch") return Shape::kRandomPatch;
  if (name == "fixed_patch") return Shape::kFixedPatch;
  if (name == "padding") return Shape::kPadding;
  throw UsageError(fmt::format("prompt.shape: expected random_patch, fixed_patch or padding, found \"{}\"", name));
}

class VisualPrompt final : public Classifier {
 public:
  VisualPrompt(std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
               std::uint64_t seed)
      : model_(std::move(model)),
        optim_settings_(config),
        seed_(seed),
        shape_(shape_named(config.text("prompt.shape"))),
        size_(config.integer("prompt.size")),
        side_(model_->config.vision.image_size) {
    const std::int64_t largest = shape_ == Shape::kPadding ? (side_ - 1) / 2 : side_;
    if (size_ < 1 || size_ > largest) {
      throw UsageError(
          fmt::format("prompt.size: expected 1 to {} pixels in a picture of {}, found {}", largest, side_, size_));
    }
    KeyedRandom random(seed, "visual_prompt");
    const std::int64_t extent = shape_ == Shape::kPadding ? side_ : size_;
    pixels_ = normal({3, extent, extent}, 0, 1, random).to(model_->device).requires_grad_(true);
    set_classes(classes);
  }

  Needs needs() const override { return {.features = false, .pixels = true, .content_keys = true}; }
  bool open_vocabulary() const override { return true; }

  void set_classes(const ClassNames& classes) override {
    std::vector<std::string> sentences;
    for (const std::string& name : classes.names) sentences.push_back(fill(classes.prompt_template, name));
    class_features_ = encode_sentences(*model_, sentences);
  }

  /// A picture's patch stands where its content says, so that an answer can be repeated.
  Tensor logits(const Batch& batch) override {
    const at::NoGradGuard no_gradients;
    Tensor pictures = batch.pixels.clone();
    for (std::int64_t i = 0; i < pictures.size(0); ++i) {
      KeyedRandom random(seed_, "visual_prompt.place", batch.content.at(static_cast<std::size_t>(i)));
      pictures[i].add_(placed(random));
    }
    return answers(pictures);
  }

  TensorMap state() const override { return {{"pixels", pixels_.detach()}}; }
  void load_state(const TensorMap& state) override { copy_state(state, this->state(), "visual_prompt"); }

  Stages stages(const TrainingData& data) override {
    const auto objective = [this, seed = data.seed](const Batch& batch, std::int64_t step) {
      // One place for the whole batch, as the published code draws it.
      KeyedRandom random(seed, "visual_prompt.step", static_cast<std::uint64_t>(step));
      return cross_entropy(answers(batch.pixels + placed(random)), batch.labels);
    };
    DescentWork work{"visual_prompt", optim_settings_, {{{{"pixels", pixels_}}}}, objective};
    work.pictures = optim_settings_.batch_size;
    Stages stages;
    stages.push_back(make_descent_stage(std::move(work)));
    return stages;
  }

 private:
  Tensor answers(const Tensor& pictures) const {
    return cosine_logits(model_->image->encode(pictures).global, class_features_, model_->logit_scale);
  }

  /// The learned pixels [3, side, side] at their place, zero elsewhere.
  Tensor placed(KeyedRandom& random) const {
    if (shape_ == Shape::kPadding) {
      Tensor mask = at::ones({side_, side_}, pixels_.options().requires_grad(false));
      const std::int64_t inner = side_ - 2 * size_;
      mask.narrow(0, size_, inner).narrow(1, size_, inner).zero_();
      return pixels_ * mask;
    }
    std::int64_t left = 0, top = 0;
    if (shape_ == Shape::kRandomPatch) {
      const auto places = static_cast<std::uint64_t>(side_ - size_ + 1);
      left = static_cast<std::int64_t>(random.below(places));
      top = static_cast<std::int64_t>(random.below(places));
    }
    const std::int64_t right = side_ - size_ - left, bottom = side_ - size_ - top;
    return at::constant_pad_nd(pixels_, {left, right, top, bottom});
  }

  std::shared_ptr<const ClipModel> model_;
  OptimSettings optim_settings_;
  std::uint64_t seed_;
  Shape shape_;
  std::int64_t size_;      // of the patch, or the width of the frame
  std::int64_t side_;      // of the picture
  Tensor pixels_;          // [3, size, size], or the whole picture's [3, side, side] for the frame
  Tensor class_features_;  // [C, d]
};

}  // namespace

Method visual_prompt_method() {
  Schema schema = {
      {"prompt.shape", "random_patch",
       "learned pixels: random_patch (a square at a new place every step), fixed_patch (top left), padding (a frame)"},
      {"prompt.size", 10, "side of the square, or width of the frame, in pixels"},
  };
  for (Key& key : OptimSettings::schema()) schema.push_back(std::move(key));
  return {"visual_prompt", "VP: learned pixels added to the picture (Bahng et al. 2022)", std::move(schema),
          [](std::shared_ptr<const ClipModel> model, const ClassNames& classes, const Config& config,
             std::uint64_t seed) -> std::unique_ptr<Classifier> {
            return std::make_unique<VisualPrompt>(std::move(model), classes, config, seed);
          }};
}

}  // namespace attune
