#include "attune/training/mae_pretraining.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/training/estimate.h"
#include "attune/training/mae_pictures.h"
#include "attune/training/mae_sheet.h"
#include "attune/training/pretrain_loop.h"

namespace attune {
namespace {

constexpr std::int64_t kShown = 8;  // pictures of the sheet

/// The pictures of the public MAE weights are scaled by these.
Preprocess mae_preprocess(const MaeConfig& config) {
  return {.size = static_cast<int>(config.image_size),
          .filter = Filter::kBicubic,
          .crop = CropConvention::kHuggingFace,
          .mean = {0.485F, 0.456F, 0.406F},
          .deviation = {0.229F, 0.224F, 0.225F}};
}

/// The one stage of the run.
PretrainStage mae_stage(const Config& recipe, std::int64_t pictures) {
  PretrainStage stage;
  stage.name = "mae";
  stage.batch = recipe.integer("batch");
  stage.learning_rate = recipe.number("learning_rate");
  stage.last_rate = recipe.number("optimiser.last_rate");
  stage.warmup = recipe.integer("warmup");
  const std::int64_t epochs = recipe.integer("epochs");
  if (stage.batch < 1 || epochs < 0 || stage.warmup < 0 || epochs > 1'000'000 || stage.batch > 1'000'000) {
    throw UsageError(
        fmt::format("recipe: expected a batch of at least 1, epochs and warmup from 0 on, found {}, {} "
                    "and {}",
                    stage.batch, epochs, stage.warmup));
  }
  stage.samples = (epochs * pictures + stage.batch - 1) / stage.batch * stage.batch;
  return stage;
}

Augmentation mae_augmentation(const Config& recipe) {
  return {.smallest = recipe.number("views.smallest"),
          .largest = recipe.number("views.largest"),
          .flip = recipe.number("views.flip")};
}

int kept_side(const Config& recipe, const MaeConfig& config) {
  const std::int64_t side = recipe.integer("views.side");
  if (side < config.image_size || side > 8192) {
    throw UsageError(
        fmt::format("recipe, key 'views.side': expected {} to 8192 pixels, found {}", config.image_size, side));
  }
  return static_cast<int>(side);
}

double weights_of(const BlockShape& shape) {
  return static_cast<double>(shape.layers * shape.width) * static_cast<double>(4 * shape.width + 2 * shape.hidden);
}

class MaeRun {
 public:
  MaeRun(const MaePretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        config_(mae_config(recipe_)),
        preprocess_(mae_preprocess(config_)),
        augmentation_(mae_augmentation(recipe_)),
        model_(config_, seed_),
        pictures_(settings.pictures, kept_side(recipe_, config_), progress),
        loop_(recipe_, settings.out, settings.resume, progress) {
    loop_.run().keep_pictures({{"count", pictures_.size()}, {"sha256", pictures_.hash()}}, loop_.resumed());
    if (loop_.resumed()) model_.load_parameters(loop_.saved());
  }

  bool run() {
    return loop_.train({mae_stage(recipe_, pictures_.size())},
                       {.parameters = [&](const PretrainStage&) { return parameters_of(model_.parameters()); },
                        .loss = [&](const PretrainStage& stage, const PretrainPosition& at) { return loss(stage, at); },
                        .terms =
                            [&](const PretrainStage&, const PretrainPosition& at) {
                              return Json{{"epoch", at.samples / pictures_.size()}};
                            },
                        .state = [&] { return model_.parameters(); },
                        .keep = [&](const PretrainPosition&, const Json&) { write_sheet(); },
                        .finish = [&](const PretrainPosition& at, const Json& line) { write_model(at, line); }});
  }

 private:
  Tensor loss(const PretrainStage& stage, const PretrainPosition& at) {
    const auto places = pictures_.places(at.step, stage.batch, seed_);
    const Tensor pixels = pictures_.views(places, preprocess_, augmentation_, seed_);
    return model_.forward(pixels, pictures_.orders(places, config_.cells(), seed_)).loss;
  }

  void write_sheet() const {
    const Tensor pixels = pictures_.centre_views(kShown, preprocess_, seed_);
    std::vector<MaePictures::Place> places;
    for (std::int64_t i = 0; i < pixels.size(0); ++i) places.push_back({i, -1});
    const Tensor order = pictures_.orders(places, config_.cells(), seed_);
    write_file(loop_.run().folder() / "reconstructions.png",
               encode_png(reconstruction_sheet(model_, preprocess_, pixels, order)));
  }

  void write_model(const PretrainPosition& at, const Json& line) const {
    loop_.run().replace_model([&](const std::filesystem::path& folder) {
      write_mae_folder(folder, model_, preprocess_);
      write_json(folder / "metrics.json", {{"steps", at.step},
                                           {"samples", at.samples},
                                           {"pictures", pictures_.size()},
                                           {"pictures_sha256", pictures_.hash()},
                                           {"loss", line.value("loss", Json())}});
    });
  }

  const Config& recipe_;
  std::uint64_t seed_;
  MaeConfig config_;
  Preprocess preprocess_;
  Augmentation augmentation_;
  Mae model_;
  MaePictures pictures_;
  PretrainLoop loop_;
};

}  // namespace

Schema mae_pretraining_schema() {
  return {
      {"seed", 0, "every random choice follows from it"},
      {"image_size", 112, "side of a view, pixels"},
      {"views.side", 160, "pictures are kept with a shorter side of at most so many pixels"},
      {"views.smallest", 0.2, "smallest share of a picture's area in a view"},
      {"views.largest", 1.0, "largest share"},
      {"views.flip", 0.5, "probability of a mirrored view"},
      {"patch", 16, "side of a patch, pixels"},
      {"encoder.width", 128, "width of the encoder: of the domain feature"},
      {"encoder.layers", 4, "blocks of the encoder"},
      {"encoder.heads", 4, "attention heads of the encoder"},
      {"decoder.width", 64, "width of the decoder"},
      {"decoder.layers", 2, "blocks of the decoder"},
      {"decoder.heads", 4, "attention heads of the decoder"},
      {"mask_ratio", 0.75, "share of patches that are hidden"},
      {"norm_pix_loss", true, "patches are predicted by their own mean and deviation"},
      {"optimiser.beta1", 0.9, "AdamW"},
      {"optimiser.beta2", 0.95, "AdamW"},
      {"optimiser.epsilon", 1e-8, "AdamW"},
      {"optimiser.weight_decay", 0.05, "of matrices; vectors have none"},
      {"optimiser.clip", 1.0, "largest norm of the gradient"},
      {"optimiser.last_rate", 0.0, "share of the learning rate at the end"},
      {"epochs", 60, "passes over the pictures"},
      {"batch", 64, "pictures a step"},
      {"learning_rate", 1e-3, "at the top of the schedule"},
      {"warmup", 200, "steps of linear warm-up"},
      {"checkpoint.minutes", 2.0, "between two checkpoints"},
  };
}

MaeConfig mae_config(const Config& recipe) {
  const auto blocks = [&](const std::string& name) {
    const std::int64_t width = recipe.integer(name + ".width"), layers = recipe.integer(name + ".layers");
    const std::int64_t heads = recipe.integer(name + ".heads");
    if (width < 1 || width > 8192 || layers < 1 || layers > 256 || heads < 1) {
      throw UsageError(
          fmt::format("recipe, {}: expected a width of 1 to 8192, 1 to 256 layers and at least one head, "
                      "found {}, {} and {}",
                      name, width, layers, heads));
    }
    return BlockShape{width, 4 * width, layers, heads, Activation::kGelu, 1e-6};
  };
  MaeConfig config;
  config.image_size = recipe.integer("image_size");
  config.patch = recipe.integer("patch");
  config.encoder = blocks("encoder");
  config.decoder = blocks("decoder");
  config.mask_ratio = recipe.number("mask_ratio");
  config.normalise_targets = recipe.flag("norm_pix_loss");
  if (config.image_size < 1 || config.image_size > 2048) {
    throw UsageError(fmt::format("recipe, key 'image_size': expected 1 to 2048 pixels, found {}", config.image_size));
  }
  check_mae(config);
  return config;
}

std::string describe_mae_needs(const Config& recipe, std::int64_t pictures) {
  const MaeConfig config = mae_config(recipe);
  const PretrainStage stage = mae_stage(recipe, pictures);
  const double side = kept_side(recipe, config), batch = static_cast<double>(stage.batch);
  const double seen = static_cast<double>(config.visible() + 1), all = static_cast<double>(config.cells() + 1);
  const double encoder = weights_of(config.encoder), decoder = weights_of(config.decoder);
  // Weights, their gradients and AdamW's two momenta; pictures of 4 by 3.
  const double weights = 4 * 4 * (encoder + decoder) / 1e6;
  const double kept = static_cast<double>(pictures) * side * side * 4.0 / 3.0 * 3.0 / 1e6;
  const double activations =
      batch *
      (kept_bytes(seen, static_cast<double>(config.encoder.width), static_cast<double>(config.encoder.layers)) +
       kept_bytes(all, static_cast<double>(config.decoder.width), static_cast<double>(config.decoder.layers))) /
      1e6;
  // Forward, gradients of the inputs and of the weights.
  const double products = 3.0 * static_cast<double>(stage.samples) * (seen * encoder + all * decoder);
  return fmt::format(
      "needs about {:.0f} MB for {} pictures, {:.0f} MB for the model and {:.0f} MB for training; about "
      "{:.0f} s for {} steps",
      kept, pictures, weights, activations, forward_seconds(products, measured_rate()), stage.steps());
}

bool pretrain_mae(const MaePretraining& pretraining, Progress* progress) {
  return MaeRun(pretraining, progress).run();
}

}  // namespace attune
