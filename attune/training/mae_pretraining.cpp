#include "attune/training/mae_pretraining.h"

#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/images/encode.h"
#include "attune/training/estimate.h"
#include "attune/training/mae_pictures.h"
#include "attune/training/mae_sheet.h"
#include "attune/training/pretrain_recipe.h"
#include "attune/training/pretrain_run.h"
#include "attune/training/run_log.h"

namespace attune {
namespace {

constexpr std::int64_t kReportEvery = 50;  // steps
constexpr std::int64_t kShown = 8;         // pictures of the sheet

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

class Pretraining {
 public:
  Pretraining(const MaePretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        progress_(progress),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        config_(mae_config(recipe_)),
        preprocess_(mae_preprocess(config_)),
        augmentation_(mae_augmentation(recipe_)),
        run_(settings.out),
        model_(config_, seed_),
        pictures_(settings.pictures, kept_side(recipe_, config_), progress),
        stage_(mae_stage(recipe_, pictures_.size())) {
    begin(settings.resume);
  }

  bool run() {
    std::int64_t rated_samples = position_.samples;
    double rated_at = clock_.seconds();
    while (position_.step < stage_.steps()) {
      if (stop_requested()) {
        checkpoint();
        return false;
      }
      step();
      if (position_.step % kReportEvery == 0 || position_.step == stage_.steps()) {
        report(static_cast<double>(position_.samples - rated_samples) / (clock_.seconds() - rated_at));
        rated_samples = position_.samples;
        rated_at = clock_.seconds();
      }
      if (progress_ != nullptr) progress_->update(position_.samples, stage_.samples, note_);
      if (clock_.seconds() - saved_at_ > 60.0 * recipe_.number("checkpoint.minutes")) checkpoint();
    }
    checkpoint();
    write_model();
    if (progress_ != nullptr) progress_->finish();
    return true;
  }

 private:
  void begin(bool resume) {
    TensorMap saved;
    position_ = run_.begin(recipe_, resume, saved);
    check_pictures(!saved.empty());
    if (!saved.empty()) model_.load_parameters(saved);
    optimiser_ = make_pretrain_optimiser(parameters_of(model_.parameters()), recipe_, saved);
    log_.emplace(run_.folder() / "metrics.jsonl", position_.log_bytes);
    clock_ = WorkClock(position_.seconds);
    saved_at_ = position_.seconds;
  }

  /// A run goes on only with the pictures that it began with.
  void check_pictures(bool resumed) const {
    const std::filesystem::path path = run_.folder() / "pictures.json";
    if (!resumed) {
      write_json(path, {{"count", pictures_.size()}, {"sha256", pictures_.hash()}});
      return;
    }
    const auto former = json_at<std::string>(read_json(path), "sha256", path.string());
    if (former != pictures_.hash()) {
      throw UsageError(fmt::format("{}: a run goes on only with its own pictures; expected those of {}, found {}",
                                   path.string(), former, pictures_.hash()));
    }
  }

  void step() {
    const auto places = pictures_.places(position_.step, stage_.batch, seed_);
    const Tensor pixels = pictures_.views(places, preprocess_, augmentation_, seed_);
    const Tensor order = pictures_.orders(places, config_.cells(), seed_);
    optimiser_->zero_gradients();
    position_.loss_sum += pretrain_step(*optimiser_, model_.forward(pixels, order).loss, recipe_,
                                        stage_.rate(position_.step), "mae", position_.step);
    ++position_.summed;
    ++position_.step;
    ++position_.draws;
    position_.samples += stage_.batch;
  }

  void report(double rate) {
    loss_ = position_.loss_sum / static_cast<double>(position_.summed);
    position_.loss_sum = 0.0;
    position_.summed = 0;
    log_->write({{"step", position_.step},
                 {"epoch", position_.samples / pictures_.size()},
                 {"samples", position_.samples},
                 {"seconds", clock_.seconds()},
                 {"loss", loss_},
                 {"learning_rate", stage_.rate(position_.step - 1)},
                 {"samples_per_second", rate}});
    log_->flush();
    note_ = fmt::format("loss {:.4f} {:.0f}/s", loss_, rate);
  }

  void write_sheet() const {
    const Tensor pixels = pictures_.centre_views(kShown, preprocess_, seed_);
    std::vector<MaePictures::Place> places;
    for (std::int64_t i = 0; i < pixels.size(0); ++i) places.push_back({i, -1});
    const Tensor order = pictures_.orders(places, config_.cells(), seed_);
    write_file(run_.folder() / "reconstructions.png",
               encode_png(reconstruction_sheet(model_, preprocess_, pixels, order)));
  }

  void write_model() const {
    run_.replace_model([&](const std::filesystem::path& folder) {
      write_mae_folder(folder, model_, preprocess_);
      write_json(folder / "metrics.json", {{"steps", position_.step},
                                           {"samples", position_.samples},
                                           {"pictures", pictures_.size()},
                                           {"pictures_sha256", pictures_.hash()},
                                           {"loss", std::isfinite(loss_) ? Json(loss_) : Json()}});
    });
  }

  void checkpoint() {
    position_.seconds = clock_.seconds();
    position_.log_bytes = log_->flush();
    run_.save_checkpoint(position_, model_.parameters(), optimiser_.get());
    write_sheet();
    saved_at_ = clock_.seconds();
  }

  const Config& recipe_;
  Progress* progress_;
  std::uint64_t seed_;
  MaeConfig config_;
  Preprocess preprocess_;
  Augmentation augmentation_;
  PretrainRun run_;
  Mae model_;
  MaePictures pictures_;
  PretrainStage stage_;
  std::unique_ptr<Optimiser> optimiser_;
  std::optional<RunLog> log_;
  PretrainPosition position_;
  std::string note_;
  WorkClock clock_;
  double loss_ = std::nan(""), saved_at_ = 0.0;
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
  return Pretraining(pretraining, progress).run();
}

}  // namespace attune
