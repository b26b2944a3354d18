#include <fmt/format.h>

#include "attune/cli/common.h"
#include "attune/cli/verbs.h"
#include "attune/tensors/device.h"
#include "attune/training/clip_pretraining.h"
#include "attune/training/stopped.h"

namespace attune {
namespace {

struct PretrainOptions {
  Common common;
  std::string recipe, data, out;
  std::vector<std::string> assignments;
  bool resume = false;
};

void run_pretrain_clip(const PretrainOptions& options, bool seed_given) {
  const Common& common = options.common;
  prepare(common);
  keep_freed_memory();
  ClipPretraining pretraining{Config(clip_pretraining_schema()), options.data, options.out, options.resume};
  if (!options.recipe.empty()) pretraining.recipe.merge_yaml_file(options.recipe);
  for (const std::string& one : options.assignments) pretraining.recipe.set(one, "--set");
  if (seed_given) pretraining.recipe.set("seed", Json(common.seed), "--seed");

  say(common, fmt::format("recipe:\n{}", pretraining.recipe.to_yaml()));
  const auto progress = make_progress(common, "pre-training");
  if (!pretrain_clip(pretraining, progress.get())) {
    throw Stopped{fmt::format("continue with the same command and --resume (folder {})", options.out)};
  }
  const std::filesystem::path model = pretraining.out / "model";
  if (common.json) print_json(read_json(model / "metrics.json"));
  say(common, fmt::format("model: {}", model.string()));
}

std::string key_help() {
  std::string text = "Keys of a recipe:\n";
  for (const Key& key : clip_pretraining_schema()) {
    text += fmt::format("  {} = {}: {}\n", key.name, key.otherwise.dump(), key.meaning);
  }
  return text;
}

}  // namespace

void add_pretrain(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("pretrain", "Trains a model from nothing");
  verb->require_subcommand(1);
  auto options = std::make_shared<PretrainOptions>();
  CLI::App* clip = verb->add_subcommand("clip", "Trains a small CLIP on packed drawings with captions");
  clip->add_option("--recipe", options->recipe, "YAML file with the keys below")->check(CLI::ExistingFile);
  clip->add_option("--set", options->assignments, "key=value, over the recipe; may be repeated")
      ->allow_extra_args(false);
  clip->add_option("--data", options->data, "folder of the pack: drawings, texts, teacher and evaluation")
      ->required()
      ->check(CLI::ExistingDirectory);
  clip->add_option("--out", options->out, "folder of the run")->required();
  clip->add_flag("--resume", options->resume, "continue the run in --out from its last checkpoint");
  add_common(*clip, options->common);
  clip->footer(key_help);
  clip->callback([options, clip] { run_pretrain_clip(*options, clip->count("--seed") > 0); });
}

}  // namespace attune
