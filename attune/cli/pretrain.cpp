#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/common.h"
#include "attune/cli/picture_list.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/tensors/device.h"
#include "attune/training/clip_pretraining.h"
#include "attune/training/detector_pretraining.h"
#include "attune/training/diffusion_pretraining.h"
#include "attune/training/mae_pretraining.h"
#include "attune/training/segmenter_pretraining.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

struct PretrainOptions {
  Common common;
  std::string recipe, data, out;
  std::vector<std::string> assignments;
  bool resume = false;
};

Config read_recipe(const PretrainOptions& options, const Schema& schema, bool seed_given) {
  Config recipe(schema);
  if (!options.recipe.empty()) recipe.merge_yaml_file(options.recipe);
  for (const std::string& one : options.assignments) recipe.set(one, "--set");
  if (seed_given) recipe.set("seed", Json(options.common.seed), "--seed");
  return recipe;
}

/// As prepare; pre-training has no other device or precision yet, and falls back to none silently.
void prepare_pretraining(const Common& common) {
  prepare(common);
  if (!choose_device(common.device).is_cpu() || common.precision != "fp32") {
    throw UsageError(fmt::format("pretrain: expected --device cpu and --precision fp32, found {} and {}", common.device,
                                 common.precision));
  }
  keep_freed_memory();
}

[[noreturn]] void stopped(const PretrainOptions& options) {
  throw Stopped{fmt::format("continue with the same command and --resume (folder {})", options.out)};
}

void say_model(const PretrainOptions& options) {
  const std::filesystem::path model = std::filesystem::path(options.out) / "model";
  if (options.common.json) print_json(read_json(model / "metrics.json"));
  say(options.common, fmt::format("model: {}", model.string()));
}

void run_pretrain_clip(const PretrainOptions& options, bool seed_given) {
  const Common& common = options.common;
  prepare_pretraining(common);
  const ClipPretraining pretraining{read_recipe(options, clip_pretraining_schema(), seed_given), options.data,
                                    options.out, options.resume};
  say(common, fmt::format("recipe:\n{}", pretraining.recipe.to_yaml()));
  const auto progress = make_progress(common, "pre-training");
  if (!pretrain_clip(pretraining, progress.get())) stopped(options);
  say_model(options);
}

void run_pretrain_mae(const PretrainOptions& options, bool seed_given) {
  const Common& common = options.common;
  prepare_pretraining(common);
  MaePretraining pretraining{
      read_recipe(options, mae_pretraining_schema(), seed_given), {}, options.out, options.resume};
  for (const Sample& sample : list_pictures({options.data})) pretraining.pictures.push_back(sample.path);
  say(common, fmt::format("recipe:\n{}", pretraining.recipe.to_yaml()));
  say(common, describe_mae_needs(pretraining.recipe, std::ssize(pretraining.pictures)));
  const auto progress = make_progress(common, "pre-training");
  if (!pretrain_mae(pretraining, progress.get())) stopped(options);
  say_model(options);
  say(common, fmt::format("reconstructions: {}", (pretraining.out / "reconstructions.png").string()));
}

void run_pretrain_segmenter(const PretrainOptions& options, bool seed_given) {
  const Common& common = options.common;
  prepare_pretraining(common);
  const SegmenterPretraining pretraining{read_recipe(options, segmenter_pretraining_schema(), seed_given), options.data,
                                         options.out, options.resume};
  say(common, fmt::format("recipe:\n{}", pretraining.recipe.to_yaml()));
  say(common, describe_segmenter_needs(pretraining.recipe));
  const auto progress = make_progress(common, "pre-training");
  if (!pretrain_segmenter(pretraining, progress.get())) stopped(options);
  say_model(options);
  say(common, fmt::format("masks: {}", (pretraining.out / "masks.png").string()));
}

void run_pretrain_detector(const PretrainOptions& options, bool seed_given) {
  const Common& common = options.common;
  prepare_pretraining(common);
  const DetectorPretraining pretraining{read_recipe(options, detector_pretraining_schema(), seed_given), options.data,
                                        options.out, options.resume};
  say(common, fmt::format("recipe:\n{}", pretraining.recipe.to_yaml()));
  say(common, describe_detector_needs(pretraining.recipe));
  const auto progress = make_progress(common, "pre-training");
  if (!pretrain_detector(pretraining, progress.get())) stopped(options);
  say_model(options);
}

void run_pretrain_diffusion(const PretrainOptions& options, bool seed_given) {
  const Common& common = options.common;
  prepare_pretraining(common);
  const DiffusionPretraining pretraining{read_recipe(options, diffusion_pretraining_schema(), seed_given),
                                         open_dataset(options.data), options.out, options.resume};
  say(common, fmt::format("recipe:\n{}", pretraining.recipe.to_yaml()));
  say(common, describe_diffusion_needs(pretraining));
  const auto progress = make_progress(common, "pre-training");
  if (!pretrain_diffusion(pretraining, progress.get())) stopped(options);
  say_model(options);
  say(common, fmt::format("samples: {}", (pretraining.out / "samples.png").string()));
}

std::string key_help(const Schema& schema) {
  std::string text = "Keys of a recipe:\n";
  for (const Key& key : schema) {
    text += fmt::format("  {} = {}: {}\n", key.name, key.otherwise.dump(), key.meaning);
  }
  return text;
}

/// The options of both kinds.
void add_options(CLI::App& kind, PretrainOptions& options, const std::string& data, const Schema& schema,
                 bool folder = true) {
  kind.add_option("--recipe", options.recipe, "YAML file with the keys below")->check(CLI::ExistingFile);
  kind.add_option("--set", options.assignments, "key=value, over the recipe; may be repeated")->allow_extra_args(false);
  CLI::Option* from = kind.add_option("--data", options.data, data)->required();
  if (folder) from->check(CLI::ExistingDirectory);
  kind.add_option("--out", options.out, "folder of the run")->required();
  kind.add_flag("--resume", options.resume, "continue the run in --out from its last checkpoint");
  add_common(kind, options.common);
  kind.footer([schema] { return key_help(schema); });
}

}  // namespace

void add_pretrain(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("pretrain", "Trains a model from nothing");
  verb->require_subcommand(1);
  const auto options = std::make_shared<PretrainOptions>();
  CLI::App* clip = verb->add_subcommand("clip", "Trains a small CLIP on packed drawings with captions");
  add_options(*clip, *options, "folder of the pack: drawings, texts, teacher and evaluation",
              clip_pretraining_schema());
  clip->callback([options, clip] { run_pretrain_clip(*options, clip->count("--seed") > 0); });
  CLI::App* mae =
      verb->add_subcommand("mae", "Trains a small domain model, a masked autoencoder, on unlabelled pictures");
  add_options(*mae, *options, "folder of the pictures, at any depth", mae_pretraining_schema());
  CLI::App* segmenter = verb->add_subcommand(
      "segmenter", "Trains a small segmenter on scenes of drawings, which begins with a small CLIP's towers");
  add_options(*segmenter, *options, "folder of the icon sets, as scripts/setup installs them",
              segmenter_pretraining_schema());
  segmenter->callback([options, segmenter] { run_pretrain_segmenter(*options, segmenter->count("--seed") > 0); });
  CLI::App* detector = verb->add_subcommand(
      "detector", "Trains a small detector on scenes of drawings, which begins with a small CLIP's towers");
  add_options(*detector, *options, "folder of the icon sets, as scripts/setup installs them",
              detector_pretraining_schema());
  detector->callback([options, detector] { run_pretrain_detector(*options, detector->count("--seed") > 0); });
  mae->callback([options, mae] { run_pretrain_mae(*options, mae->count("--seed") > 0); });
  CLI::App* diffusion = verb->add_subcommand("diffusion", "Trains a small diffusion model on named pictures");
  add_options(*diffusion, *options, "data set: a folder, a list file, or emoji-dg:concepts",
              diffusion_pretraining_schema(), false);
  diffusion->callback([options, diffusion] { run_pretrain_diffusion(*options, diffusion->count("--seed") > 0); });
}

}  // namespace attune
