#include "attune/cli/personalise.h"

#include <chrono>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/picture_list.h"
#include "attune/diffusion/generate.h"
#include "attune/evaluation/evaluate.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/personalisation_run.h"
#include "attune/images/encode.h"
#include "attune/images/sheet.h"
#include "attune/methods/registry.h"
#include "attune/tasks/denoising.h"
#include "attune/tensors/device.h"
#include "attune/training/run_files.h"

namespace attune {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kShown = 8;  // pictures of a row of the report
constexpr std::int64_t kShownSteps = 25;
constexpr std::uint64_t kProbeSeed = 1'000;    // quality is measured with the same pairs whatever the run's seed
constexpr std::uint64_t kSamplesSeed = 2'000;  // and pictures drawn from the same noise

Config config_of(const GenerationTraining& options) {
  MethodChoice choice = parse_method(options.method.empty() ? "cones" : options.method);
  if (options.method.empty() && !options.recipe.empty()) {
    const Json recipe = parse_yaml(read_file(options.recipe), options.recipe);
    choice.name = json_or<std::string>(recipe, "method", "cones", options.recipe);
  }
  Config config(personalisation_schema(choice.name));
  if (!options.recipe.empty()) config.merge_yaml_file(options.recipe);
  config.set("method", Json(choice.name), "--method");
  for (const std::string& one : choice.assignments) config.set(one, "--method");
  for (const std::string& one : options.assignments) config.set(one, "--set");
  return config;
}

std::vector<fs::path> pictures_of(const std::string& words) {
  std::vector<fs::path> pictures;
  for (const Sample& sample : list_pictures({words})) pictures.push_back(sample.path);
  return pictures;
}

/// What the report shows.
struct Shown {
  Tensor learned, before, after;  // pixels [N, 3, size, size]
};

std::string page_of(const Json& results, const Shown& shown) {
  const auto row = [](const Tensor& pictures) {
    return fmt::format("<p><img style=\"max-width:100%;image-rendering:pixelated\" alt=\"\" src=\"{}\"></p>\n",
                       data_uri(encode_png(picture_sheet(all_colours_of(pictures), kShown))));
  };
  const Json& metrics = results["metrics"];
  const std::string title = fmt::format("{} of {}", json_at<std::string>(results, "method", "results"),
                                        json_at<std::string>(results, "dataset", "results"));
  const std::string measures = html_note(escape(fmt::format(
      "Denoising loss of {} fixed pairs of time and noise on {}: {:.5f} before, {:.5f} after; {:.1f} s of search.",
      metrics["pairs"].get<std::int64_t>(), metrics["on"].get<std::string>(), metrics["loss_before"].get<double>(),
      metrics["loss"].get<double>(), results["search_seconds"].get<double>())));
  return html_page(title,
                   fmt::format("<h1>{}</h1>\n", escape(title)) + html_section("measures", "Measures", measures) +
                       html_section("learned", "Learned from", row(shown.learned)) +
                       html_section("before", "Drawn before", row(shown.before)) +
                       html_section("after", "Drawn after, from the same noise", row(shown.after)) +
                       html_details("Configuration and provenance", "<pre>" + escape(results.dump(2)) + "</pre>"));
}

/// Pictures of the rows before and after. A model without a text encoder draws without guidance.
Shown draw_both(const Personalisation& search, const FoundConcept& found) {
  const DiffusionModel painter = load_diffusion_model(search.model, {.hashes = search.hashes});
  const double scale = painter.text ? painter.usual_guidance() : 1.0;
  const Tensor empty = scale == 1.0 ? Tensor() : encoded_texts(search.model, {""});
  const GenerateSettings settings{painter.sampler(), kShownSteps, painter.unet.sample_size, kSamplesSeed};
  const auto draw = [&](const UNet& network, const Tensor& rows) {
    return painter.pixels_of_maps(generate_maps(network, {rows.unsqueeze(0), empty, scale}, settings, 0, kShown));
  };
  const Tensor learned = concept_pixels(search.pictures, painter.picture_size());
  return {learned.narrow(0, 0, std::min<std::int64_t>(kShown, learned.size(0))), draw(painter.network(), found.before),
          draw(found.model->network(), found.after)};
}

Json measure(const GenerationTraining& options, const Personalisation& search, const FoundConcept& found,
             double seconds) {
  const bool apart = !search.measured.empty();
  DiffusionOptions only_maps;
  const DiffusionModel original = load_diffusion_model(search.model, only_maps);
  const Tensor maps =
      original.maps_of_pixels(concept_pixels(apart ? search.measured : search.pictures, original.picture_size()));
  const std::int64_t pairs = search.config.integer("measure.pairs", 1, 100'000);
  const auto loss_of = [&](std::shared_ptr<const DiffusionModel> model, const Tensor& rows) {
    return DenoisingProbe(std::move(model), maps, pairs, kProbeSeed).loss(rows);
  };
  const double before = loss_of(std::make_shared<const DiffusionModel>(original), found.before);
  return {{"dataset", search.dataset},
          {"model", found.model->name},
          {"pretrained", original.weight_hash()},
          {"task", "generation"},
          {"method", search.config.text("method")},
          {"concept", search.config.text("concept")},
          {"seed", options.common.seed},
          {"version", version()},
          {"command", command_line()},
          {"split", {{"training_pictures", search.pictures.size()}, {"measured_pictures", search.measured.size()}}},
          {"metrics",
           {{"loss", loss_of(found.model, found.after)},
            {"loss_before", before},
            {"pairs", pairs},
            {"on", apart ? "pictures that were not learned from" : "the pictures that were learned from"}}},
          {"search_seconds", seconds},
          {"search_memory_mb", found.memory_mb},
          {"peak_memory_mb", peak_memory_mb()},
          {"config", search.config.to_json()}};
}

}  // namespace

void train_generation(const GenerationTraining& options) {
  const Common& common = options.common;
  prepare(common);
  if (!choose_device(common.device).is_cpu() || common.precision != "fp32") {
    throw UsageError(fmt::format("--task generation: expected --device cpu and --precision fp32, found {} and {}",
                                 common.device, common.precision));
  }
  keep_freed_memory();
  Personalisation search;
  search.folder = options.out;
  search.model = resolve_diffusion_folder(options.model);
  search.config = config_of(options);
  search.seed = common.seed;
  search.resume = options.resume;
  search.hashes = cache_folder() / "models";
  search.version = version();
  search.dataset = fs::path(options.data).lexically_normal().filename().string();
  refuse_a_used_folder(search.folder, options.resume);
  search.pictures = pictures_of(options.data);
  const std::string measured = search.config.text("measure.pictures");
  if (!measured.empty()) search.measured = pictures_of(measured);
  say(common,
      fmt::format("{} of \"{}\" on {}: {} pictures, {} more to measure by", search.config.text("method"),
                  search.config.text("concept"), options.model, search.pictures.size(), search.measured.size()));
  say(common, fmt::format("configuration:\n{}", search.config.to_yaml()));
  say(common, describe_personalisation_needs(search));
  if (options.dry_run) return;
  const auto progress = make_progress(common, "searching");
  search.progress = progress.get();
  const auto begin = Clock::now();
  const FoundConcept found = personalise(search);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  say(common, fmt::format("adapter: {}", (search.folder / "adapter").string()));
  if (options.no_test) return;
  const Json results = measure(options, search, found, seconds);
  write_json(search.folder / "results.json", results);
  const Shown shown = draw_both(search, found);
  write_file(search.folder / "samples.png",
             encode_png(picture_sheet(all_colours_of(at::cat({shown.before, shown.after})), kShown)));
  write_file(search.folder / "report.html", page_of(results, shown));
  if (common.json) print_json(results);
  say(common, fmt::format("denoising loss {:.5f}, before {:.5f}\nreport:  {}", results["metrics"]["loss"].get<double>(),
                          results["metrics"]["loss_before"].get<double>(), (search.folder / "report.html").string()));
}

}  // namespace attune
