#include "attune/evaluation/explain.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/checks.h"
#include "attune/cli/classify.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

struct ExplainOptions {
  Common common;
  PictureOptions pictures;
  ExplainSettings settings;
  std::string model, adapter, data, split = "test", domains, out;
  bool no_removal = false;
};

std::optional<ExplainData> chosen_data(const ExplainOptions& options) {
  if (options.data.empty()) return std::nullopt;
  Dataset dataset = open_dataset(options.data);
  if (!options.domains.empty()) dataset = keep_domains(dataset, split_list(options.domains));
  const std::string part = dataset.all.empty() ? options.split : "all";
  std::vector<Sample> samples = samples_of(dataset, part);
  return ExplainData{std::move(dataset), part, std::move(samples)};
}

std::string near_text(const std::vector<NearWord>& words) {
  std::string text;
  for (const NearWord& word : words) text += fmt::format("{} {:.3f}  ", word.word, word.value);
  return text;
}

std::string words_text(const std::vector<TokenWords>& tokens) {
  std::string text;
  for (const TokenWords& one : tokens) {
    const std::string name = one.part.empty() ? one.tensor : fmt::format("{} of {}", one.tensor, one.part);
    text += fmt::format("{}, token {} (length {:.3f})\n  cosine  {}\n  L2      {}\n", name, one.token + 1, one.length,
                        near_text(one.cosine), near_text(one.l2));
  }
  return text;
}

std::string generated_text(const GeneratedPrompts& found) {
  std::string text = fmt::format(
      "generated prompts of {} pictures: mean L2 distance {:.4f} between {} draws, {:.4f} within domains, {:.4f} "
      "between "
      "domains\ngenerator: {} numbers, {:.3f} ms a prompt; naming a picture: {:.2f} ms\n",
      found.pictures, found.between_draws.mean, found.draws, found.within_domains.mean, found.between_domains.mean,
      found.parameters, found.generator_ms, found.text_ms);
  for (const PromptLabel& label : found.labels) {
    text += fmt::format("{}: largest entry {:.3f}{}\n", label.name, label.largest_entry,
                        label.within_tanh ? "" : "  (outside (-1, 1): a generator that ends in tanh cannot make it)");
  }
  return text;
}

std::string removal_text(const Removal& removal) {
  std::string text = fmt::format("accuracy on {} pictures in percent: whole {:.1f}, zero-shot {:.1f}\n",
                                 removal.pictures, 100 * removal.whole, 100 * removal.zero_shot);
  for (const RemovedToken& one : removal.removed) {
    text += fmt::format("  {} {}, {}: {:.1f}\n", one.tensor, one.token + 1, one.how, 100 * one.acc1);
  }
  return text;
}

void run_explain(const ExplainOptions& options) {
  const Common& common = options.common;
  prepare(common);
  const std::optional<ExplainData> data = chosen_data(options);
  const auto model = open_model(common, options.model, true, data.has_value());
  const auto progress = make_progress(common, "explaining");
  ExplainSettings settings = options.settings;
  settings.removal = !options.no_removal;
  const Explanation found = explain(model, options.adapter, data, settings,
                                    input_options(common, options.pictures, progress.get()), provenance(common));
  if (!options.out.empty()) {
    write_file(std::filesystem::path(options.out), explain_page(found));
    say(common, fmt::format("page: {}", options.out));
  }
  if (common.json) {
    print_json(to_json(found));
    return;
  }
  say(common, words_text(found.tokens));
  if (found.generated) say(common, generated_text(*found.generated));
  if (found.removal) say(common, removal_text(*found.removal));
}

}  // namespace

void add_explain(CLI::App& app) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* verb = app.add_subcommand("explain", "Shows what an adapter learned: words, prompts, places on pictures");
  verb->add_option("--model", options->model, "model folder, hf-hub:ORGANISATION/NAME, or pocket")->required();
  verb->add_option("--adapter", options->adapter, "folder of an adapter")->required();
  verb->add_option("--data", options->data, "pictures to explain with: a folder, a list file, or emoji-dg");
  verb->add_option("--split", options->split, "train, val, test or all")->capture_default_str();
  verb->add_option("--domain", options->domains, "domains to look at, with commas between them");
  verb->add_option("--out", options->out, "HTML page to write");
  ExplainSettings& settings = options->settings;
  verb->add_option("--words", settings.words, "nearest words of a token")->capture_default_str()->check(within(1, 100));
  verb->add_flag("--pieces", settings.pieces, "look tokens up among pieces of words too");
  verb->add_option("--pictures", settings.pictures, "pictures looked at and measured at most; 0: all")
      ->capture_default_str()
      ->check(at_least(0));
  verb->add_option("--draws", settings.draws, "prompts generated for a picture")
      ->capture_default_str()
      ->check(within(1, 1000));
  verb->add_option("--shown", settings.shown_classes, "classes with a picture of their own; 0: all")
      ->capture_default_str()
      ->check(at_least(0));
  verb->add_flag("--no-removal", options->no_removal, "do not measure without each token");
  add_picture_options(*verb, options->pictures);
  add_common(*verb, options->common);
  verb->callback([options] { run_explain(*options); });
}

}  // namespace attune
