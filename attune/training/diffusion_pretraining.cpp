#include "attune/training/diffusion_pretraining.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/diffusion/diffusion_folder.h"
#include "attune/diffusion/generate.h"
#include "attune/diffusion/unet.h"
#include "attune/images/encode.h"
#include "attune/images/sheet.h"
#include "attune/text/template_list.h"
#include "attune/text/templates.h"
#include "attune/training/captioned_pictures.h"
#include "attune/training/estimate.h"
#include "attune/training/pretrain_loop.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

constexpr int kSheetNames = 12, kSheetColumns = 4;
constexpr std::int64_t kSheetSteps = 25;
constexpr std::string_view kMean = "mean.";  // of the running means in a checkpoint

PictureView view_of(const Config& recipe) {
  const PictureView view{static_cast<int>(recipe.integer("image_size", 8, 512)), recipe.number("views.smallest"),
                         recipe.number("views.flip")};
  if (view.smallest <= 0 || view.smallest > 1 || view.flip < 0 || view.flip > 1) {
    throw UsageError(fmt::format("recipe: expected views.smallest and views.flip within 0 to 1, found {} and {}",
                                 view.smallest, view.flip));
  }
  return view;
}

PretrainStage diffusion_stage(const Config& recipe) {
  PretrainStage stage;
  stage.name = "diffusion";
  stage.batch = recipe.integer("batch", 1, 1'000'000);
  stage.samples = recipe.integer("train.samples", 0, std::int64_t{1} << 40) / stage.batch * stage.batch;
  stage.learning_rate = recipe.number("learning_rate");
  stage.warmup = recipe.integer("warmup", 0, 1'000'000'000);
  stage.fall = recipe.integer("fall", 0, 1'000'000'000);
  return stage;
}

/// Every caption once, with the rows that the text encoder says of it.
class Captions {
 public:
  Captions(const CaptionedPictures& pictures, const std::vector<std::string>& templates, const TextEncoder& encoder) {
    std::vector<std::string> texts{""};
    std::map<std::string, std::int64_t> names;
    for (std::int64_t i = 0; i < pictures.size(); ++i) {
      const auto [found, fresh] = names.emplace(pictures.name(i), std::ssize(names));
      if (fresh) {
        for (const std::string& one : templates) texts.push_back(fill(one, pictures.name(i)));
      }
      name_of_.push_back(found->second);
    }
    templates_ = std::ssize(templates);
    rows_ = encoder.encode(texts);
  }

  std::int64_t width() const { return rows_.size(2); }
  /// Rows [B, n, width] of the pictures' captions; `dropped` of them are those of the empty text.
  Tensor draw(const std::vector<std::int64_t>& pictures, double dropped, KeyedRandom& random) const {
    std::vector<std::int64_t> rows;
    for (const std::int64_t picture : pictures) {
      const bool empty = random.chance(dropped);
      const auto form = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(templates_)));
      rows.push_back(empty ? 0 : 1 + name_of_[static_cast<std::size_t>(picture)] * templates_ + form);
    }
    return rows_.index_select(0, at::tensor(rows, at::kLong));
  }

 private:
  std::vector<std::int64_t> name_of_;
  std::int64_t templates_ = 0;
  Tensor rows_;  // [1 + names * templates, n, width]; the first: of the empty text
};

/// The text encoder of a CLIP folder, in the form in which it lies beside the network in the end.
TextEncoder text_encoder(const std::filesystem::path& clip, const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / "tokenizer")) {
    std::filesystem::remove_all(folder);
    write_text_encoder(clip, folder, at::kHalf);
  }
  return TextEncoder::load(folder);
}

std::filesystem::path clip_folder(const Config& recipe) {
  LoadOptions nothing;
  nothing.text = nothing.image = false;
  return load_model(recipe.text("text_model"), nothing).folder;
}

/// The tensors that the network begins with: random ones, or those of a model that was trained before.
NamedTensors first_tensors(const Config& recipe, const UNetConfig& config, std::uint64_t seed) {
  const std::string folder = recipe.text("begin");
  if (folder.empty()) return {random_unet_tensors(config, seed), "random weights"};
  DiffusionOptions options;
  options.train_unet = true;
  const DiffusionModel former = load_diffusion_model(folder, options);
  if (unet_json(former.unet) != unet_json(config)) {
    throw UsageError(
        fmt::format("recipe, key 'begin': expected a network as the recipe has it, found another in {}", folder));
  }
  return {unet_file_tensors(config, former.trainable_unet->parameters()), folder};
}

class DiffusionRun {
 public:
  DiffusionRun(const DiffusionPretraining& settings, Progress* progress)
      : recipe_(settings.recipe),
        seed_(static_cast<std::uint64_t>(recipe_.integer("seed"))),
        stage_(diffusion_stage(recipe_)),
        clip_(clip_folder(recipe_)),
        encoder_(text_encoder(clip_, settings.out / "text")),
        pictures_(settings.data, pretraining_samples(recipe_, settings.data), view_of(recipe_), progress),
        templates_(split_templates(recipe_.text("templates"), "recipe, key 'templates'")),
        captions_(pictures_, templates_, encoder_),
        schedule_(pretrain_noise_config(recipe_)),
        config_(pretrain_unet_config(recipe_, captions_.width())),
        model_(config_, first_tensors(recipe_, config_, seed_)),
        loop_(recipe_, settings.out, settings.resume, progress) {
    loop_.run().keep_pictures(listed(settings), loop_.resumed());
    if (loop_.resumed()) model_.load_parameters(loop_.saved());
    for (const auto& [name, leaf] : model_.parameters()) {
      const auto found = loop_.saved().find(std::string(kMean) + name);
      means_[name] = (found == loop_.saved().end() ? leaf.detach() : found->second).clone();
    }
  }

  bool run() {
    return loop_.train({stage_},
                       {.parameters = [&](const PretrainStage&) { return parameters_of(model_.parameters()); },
                        .loss = [&](const PretrainStage&, const PretrainPosition& at) { return loss(at); },
                        .updated = [&](const PretrainPosition& at) { follow(at); },
                        .state = [&] { return state(); },
                        .finish =
                            [&](const PretrainPosition& at, const Json& line) {
                              write_sheet();
                              write_model(at, line);
                            }});
  }

 private:
  Json listed(const DiffusionPretraining& settings) const {
    Json pictures = Json::array();
    const auto samples = pretraining_samples(recipe_, settings.data);
    for (std::int64_t i = 0; i < pictures_.size(); ++i) {
      const std::filesystem::path path = settings.data.path_of(samples[static_cast<std::size_t>(i)]);
      pictures.push_back({{"path", path.lexically_relative(settings.data.root)}, {"name", pictures_.name(i)}});
    }
    return {{"count", pictures_.size()}, {"sha256", pictures_.hash()}, {"pictures", pictures}};
  }

  Tensor loss(const PretrainPosition& at) const {
    const auto places = pictures_.places(at.step, stage_.batch, seed_);
    const Tensor clean = pictures_.views(places, seed_, at.step);
    KeyedRandom random(seed_, "diffusion.noise", static_cast<std::uint64_t>(at.step));
    const Tensor hidden = captions_.draw(places, recipe_.number("captions.dropped"), random);
    const Tensor steps = times(stage_.batch, random), noise = normal(clean.sizes(), 0, 1, random);
    const Tensor said = model_.predict(schedule_.add_noise(clean, noise, steps), steps, hidden);
    return at::mse_loss(said, schedule_.target(clean, noise, steps));
  }

  /// Uniform, one from each of as many equal strata as there are pictures: the mean of the loss is the same, its
  /// variance less.
  Tensor times(std::int64_t batch, KeyedRandom& random) const {
    std::vector<std::int64_t> times;
    for (std::int64_t i = 0; i < batch; ++i) {
      const double place = (static_cast<double>(i) + random.uniform()) / static_cast<double>(batch);
      times.push_back(
          std::min(static_cast<std::int64_t>(place * static_cast<double>(schedule_.steps())), schedule_.steps() - 1));
    }
    return at::tensor(times, at::kLong);
  }

  /// The running mean of the weights, which begins short so that it forgets where they began.
  void follow(const PretrainPosition& at) {
    const at::NoGradGuard no_gradients;
    const double done = static_cast<double>(at.step);
    const double share = 1.0 - std::min(recipe_.number("mean.decay"), (1.0 + done) / (10.0 + done));
    for (const auto& [name, leaf] : model_.parameters()) means_[name].lerp_(leaf, share);
  }

  SamplerConfig sampler() const {
    SamplerConfig sampler;
    sampler.noise = schedule_.config();
    sampler.spacing = SamplerConfig::Spacing::kTrailing;
    return sampler;
  }

  /// What the running mean draws for some of the names, one row each.
  void write_sheet() const {
    const TrainableUNet mean(config_, {unet_file_tensors(config_, means_), "running mean"});
    const auto order = random_order(pictures_.size(), seed_, "diffusion.sheet");
    std::vector<std::string> texts;
    for (const std::int64_t picture : order) {
      const std::string text = fill(templates_.front(), pictures_.name(picture));
      if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
      if (std::ssize(texts) == kSheetNames) break;
    }
    static_assert(kPixelGuidance == 1.0, "else guided away from the empty text");
    const Steering steering{encoder_.encode(texts).repeat_interleave(kSheetColumns, 0), {}, kPixelGuidance};
    const Tensor drawn =
        generate_maps(mean, steering, {sampler(), kSheetSteps, config_.sample_size, seed_}, 0, steering.hidden.size(0));
    write_file(loop_.run().folder() / "samples.png", encode_png(picture_sheet(all_colours_of(drawn), kSheetColumns)));
    write_json(loop_.run().folder() / "samples.json", texts);
  }

  void write_model(const PretrainPosition& at, const Json& line) const {
    loop_.run().replace_model([&](const std::filesystem::path& folder) {
      std::filesystem::remove_all(folder);
      write_diffusion_folder(folder, {.unet = config_,
                                      .parameters = means_,
                                      .others = {},
                                      .clip = clip_,
                                      .sampler = sampler(),
                                      .type = at::kHalf});
      write_json(folder / "metrics.json", {{"steps", at.step},
                                           {"samples", at.samples},
                                           {"seconds", at.seconds},
                                           {"pictures", pictures_.size()},
                                           {"pictures_sha256", pictures_.hash()},
                                           {"loss", line.value("loss", Json())}});
    });
  }

  TensorMap state() const {
    TensorMap tensors = model_.parameters();
    for (const auto& [name, mean] : means_) tensors[std::string(kMean) + name] = mean;
    return tensors;
  }

  const Config& recipe_;
  std::uint64_t seed_;
  PretrainStage stage_;
  std::filesystem::path clip_;
  TextEncoder encoder_;
  CaptionedPictures pictures_;
  std::vector<std::string> templates_;
  Captions captions_;
  NoiseSchedule schedule_;
  UNetConfig config_;
  TrainableUNet model_;
  PretrainLoop loop_;
  TensorMap means_;
};

std::vector<std::int64_t> counts_of(const Config& recipe, const char* key) {
  std::vector<std::int64_t> counts;
  for (const std::string& one : split_list(recipe.text(key))) {
    std::int64_t count = -1;
    const auto [end, error] = std::from_chars(one.data(), one.data() + one.size(), count);
    if (error != std::errc() || end != one.data() + one.size() || count < 0 || count > 65536) {
      throw UsageError(fmt::format("recipe, key '{}': expected counts with commas between them, found \"{}\"", key,
                                   recipe.text(key)));
    }
    counts.push_back(count);
  }
  return counts;
}

}  // namespace

Schema diffusion_pretraining_schema() {
  return {
      {"seed", 0, "every random choice follows from it"},
      {"begin", "", "diffusion folder whose network it begins with; empty: random numbers"},
      {"text_model", "pocket", "CLIP folder whose frozen text encoder steers"},
      {"image_size", 32, "side of a view, pixels"},
      {"domains", "", "domains of the data set to learn from, with commas between them; empty: all"},
      {"without", "", "pictures whose path contains this text are left out"},
      {"templates", "{}|a drawing of a {}", "captions of a name, with | between them"},
      {"captions.dropped", 0.1, "share of pictures with the empty caption, which guidance needs"},
      {"views.smallest", 0.85, "smallest share of the side that a picture takes; the rest is white"},
      {"views.flip", 0.5, "probability of a mirrored view"},
      {"model.channels", "16,32,64,80", "of every stage, with commas between them"},
      {"model.attention", "0,0,1,1", "1 where a stage attends to the caption"},
      {"model.layers", 1, "residual blocks a stage"},
      {"model.heads", 4, "attention heads"},
      {"model.groups", 16, "groups of channels that are normalised together"},
      {"noise.betas", "squaredcos_cap_v2", "linear, scaled_linear or squaredcos_cap_v2"},
      {"noise.prediction", "v_prediction", "epsilon, v_prediction or sample"},
      {"optimiser.beta1", 0.9, "AdamW"},
      {"optimiser.beta2", 0.99, "AdamW"},
      {"optimiser.epsilon", 1e-8, "AdamW"},
      {"optimiser.weight_decay", 0.01, "of matrices; vectors have none"},
      {"optimiser.clip", 1.0, "largest norm of the gradient"},
      {"mean.decay", 0.999, "of the running mean of the weights, which is the model"},
      {"train.samples", 100000, "pictures seen; a resumed run may have another number"},
      {"batch", 32, "pictures a step"},
      {"learning_rate", 1e-3, "between the warm-up and the fall"},
      {"warmup", 200, "steps in which the rate grows to that"},
      {"fall", 1000, "steps at the end in which it falls to nothing"},
      {"checkpoint.minutes", 2.0, "between two checkpoints"},
  };
}

UNetConfig pretrain_unet_config(const Config& recipe, std::int64_t hidden_width) {
  UNetConfig config;
  config.sample_size = recipe.integer("image_size", 8, 512);
  config.in_channels = config.out_channels = 3;
  config.channels = counts_of(recipe, "model.channels");
  const std::size_t stages = config.channels.size();
  config.attention_down.clear();
  for (const std::int64_t one : counts_of(recipe, "model.attention")) config.attention_down.push_back(one != 0);
  config.attention_up.assign(config.attention_down.rbegin(), config.attention_down.rend());
  config.layers.assign(stages, recipe.integer("model.layers", 1, 64));
  config.heads.assign(stages, recipe.integer("model.heads", 1, 1024));
  config.transformer_layers.assign(stages, 1);
  config.hidden_width = hidden_width;
  config.groups = recipe.integer("model.groups", 1, 65536);
  check_unet(config, "recipe");
  return config;
}

NoiseConfig pretrain_noise_config(const Config& recipe) {
  NoiseConfig config;
  const std::map<std::string, NoiseConfig::Betas> betas{{"linear", NoiseConfig::Betas::kLinear},
                                                        {"scaled_linear", NoiseConfig::Betas::kScaledLinear},
                                                        {"squaredcos_cap_v2", NoiseConfig::Betas::kSquaredCosine}};
  const std::map<std::string, Prediction> predictions{
      {"epsilon", Prediction::kNoise}, {"v_prediction", Prediction::kVelocity}, {"sample", Prediction::kClean}};
  const auto choose = [&](const char* key, const auto& known) {
    const auto found = known.find(recipe.text(key));
    if (found != known.end()) return found->second;
    std::vector<std::string> names;
    names.reserve(known.size());
    for (const auto& [name, value] : known) names.push_back(name);
    throw UsageError(fmt::format("recipe, key '{}': expected one of {}, found \"{}\"", key, fmt::join(names, ", "),
                                 recipe.text(key)));
  };
  config.betas = choose("noise.betas", betas);
  config.prediction = choose("noise.prediction", predictions);
  return config;
}

std::vector<Sample> pretraining_samples(const Config& recipe, const Dataset& data) {
  const std::string domains = recipe.text("domains"), without = recipe.text("without");
  const Dataset kept = domains.empty() ? data : keep_domains(data, split_list(domains));
  std::vector<Sample> samples = kept.all.empty() ? kept.train : kept.all;
  std::erase_if(samples, [&](const Sample& sample) {
    return !without.empty() && sample.path.string().find(without) != std::string::npos;
  });
  if (samples.empty()) throw UsageError(fmt::format("{}: expected pictures to learn from, found none", data.name));
  return samples;
}

std::string describe_diffusion_needs(const DiffusionPretraining& pretraining) {
  const Config& recipe = pretraining.recipe;
  const auto pictures = static_cast<double>(pretraining_samples(recipe, pretraining.data).size());
  const PretrainStage stage = diffusion_stage(recipe);
  const double side = 2.0 * static_cast<double>(recipe.integer("image_size"));
  const UNetConfig config = pretrain_unet_config(recipe, 1);
  double weights = 0, products = 0;
  for (const auto& [name, shape] : unet_shapes(config)) {
    double count = 1;
    for (const std::int64_t one : shape) count *= static_cast<double>(one);
    weights += count;
    if (shape.size() < 2) continue;
    // Every level has as many cells as a quarter of the one before; the middle has those of the coarsest.
    const std::int64_t last = std::ssize(config.channels) - 1;
    std::int64_t level = name.starts_with("mid") ? last : 0;
    if (name.starts_with("down_blocks.")) level = name[12] - '0';
    if (name.starts_with("up_blocks.")) level = last - (name[10] - '0');
    const double cells = std::pow(static_cast<double>(config.sample_size) / static_cast<double>(1 << level), 2);
    products += count * (name.starts_with("time_") ? 1.0 : cells);
  }
  // Weights, gradients, two momenta and the running mean; forward, gradients of the inputs and of the weights.
  return fmt::format(
      "needs about {:.0f} MB for {:.0f} pictures and {:.0f} MB for {:.2f} million weights; about {:.0f} s "
      "for {} steps",
      pictures * 3 * side * side / 1e6, pictures, 5 * 4 * weights / 1e6, weights / 1e6,
      forward_seconds(3.0 * products * static_cast<double>(stage.samples), measured_rate()), stage.steps());
}

bool pretrain_diffusion(const DiffusionPretraining& pretraining, Progress* progress) {
  return DiffusionRun(pretraining, progress).run();
}

}  // namespace attune
