#include <algorithm>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/cli/common.h"
#include "attune/cli/verbs.h"
#include "attune/data/check.h"
#include "attune/data/composites.h"
#include "attune/data/crops.h"
#include "attune/data/emoji_dg.h"
#include "attune/data/layouts.h"
#include "attune/data/splits.h"
#include "attune/images/encode.h"
#include "attune/training/run_settings.h"

namespace attune {
namespace {

struct DataOptions {
  Common common;
  std::string data, rule = "few-shot", draw = "keyed", part, out, icons;
  int shots = 16, columns = 16, cell = 72, count = 256;
  bool per_domain = false;
  CropOptions crops;
  std::string sets, concepts = "all", names;
  std::int64_t categories = 0;
  CompositeSettings scenes;
  CompositeCounts scene_counts{200, 0, 200};
};

constexpr int kReaderThreads = 2;
constexpr int kDrawingSide = 128;  // pixels, at least as large as a scene of the usual size shows them

Json counts_json(const std::vector<PartCounts>& counts) {
  Json list = Json::array();
  for (const PartCounts& one : counts) {
    list.push_back({{"name", one.name}, {"train", one.train}, {"val", one.val}, {"test", one.test}, {"all", one.all}});
  }
  return list;
}

std::string counts_table(const std::vector<PartCounts>& counts) {
  std::string table = fmt::format("{:<32}{:>8}{:>8}{:>8}{:>8}\n", "", "train", "val", "test", "all");
  for (const PartCounts& one : counts) {
    table += fmt::format("{:<32}{:>8}{:>8}{:>8}{:>8}\n", one.name, one.train, one.val, one.test, one.total());
  }
  return table;
}

void run_check(const DataOptions& options) {
  const Dataset dataset = open_dataset(options.data);
  const auto progress = make_progress(options.common, "reading");
  const DatasetReport report = check_dataset(dataset, kReaderThreads, progress.get());
  if (progress) progress->finish();
  if (options.common.json) {
    Json duplicates = Json::array();
    for (const DuplicateGroup& group : report.duplicates) {
      duplicates.push_back(
          {{"paths", group.paths}, {"across_parts", group.across_parts}, {"across_classes", group.across_classes}});
    }
    print_json({{"dataset", dataset.name},
                {"layout", dataset.layout},
                {"classes", counts_json(report.classes)},
                {"domains", counts_json(report.domains)},
                {"broken", report.broken},
                {"duplicates", duplicates},
                {"name_problems", report.name_problems},
                {"notes", report.notes},
                {"smallest_side", report.smallest_side},
                {"largest_side", report.largest_side},
                {"good", report.good()}});
  } else {
    say(options.common, fmt::format("{}: {}", dataset.name, dataset.layout));
    say(options.common, counts_table(report.classes));
    if (dataset.domains.size() > 1) say(options.common, counts_table(report.domains));
    say(options.common, fmt::format("pictures from {} to {} pixels a side", report.smallest_side, report.largest_side));
    for (const std::string& text : report.notes) say(options.common, "note: " + text);
    for (const std::string& text : report.name_problems) say(options.common, "class name: " + text);
    for (const std::string& text : report.broken) say(options.common, "broken: " + text);
    for (const DuplicateGroup& group : report.duplicates) {
      std::string line = group.across_parts ? "the same picture in several parts:" : "the same picture:";
      for (const std::string& path : group.paths) line += " " + path;
      say(options.common, line);
    }
    say(options.common, report.good() ? "no problems found" : "see the problems above");
  }
  if (!report.broken.empty()) {
    throw Error(fmt::format("{}: {} of {} pictures cannot be decoded", dataset.name, report.broken.size(),
                            report.whole.total()));
  }
}

void run_split(const DataOptions& options) {
  Dataset dataset = open_dataset(options.data);
  SplitRecord record{options.rule, options.common.seed, 0};
  if (options.rule == "50/20/30") {
    dataset = divide(dataset, Division::kHalfTrain, options.common.seed);
  } else if (options.rule == "70/30") {
    dataset = divide(dataset, Division::kSeventyThirty, options.common.seed);
  } else if (options.rule == "80/20") {
    dataset = divide(dataset, Division::kCarveVal, options.common.seed);
  } else if (options.rule == "few-shot") {
    if (!dataset.all.empty()) dataset = divide(dataset, Division::kHalfTrain, options.common.seed);
    const DrawRule draw = draw_rule_named(options.draw);
    dataset = draw_few_shot(dataset, {options.shots, options.common.seed, draw, options.per_domain});
    record.rule = options.draw;
    record.shots = options.shots;
  } else {
    throw UsageError(fmt::format("--rule: expected few-shot, 50/20/30, 70/30 or 80/20, found \"{}\"", options.rule));
  }
  for (const std::string& note : dataset.notes) log_warning(note);
  save_split(options.out, dataset, record);
  const std::string hash = split_hash(dataset);
  if (options.common.json) {
    print_json({{"out", options.out},
                {"train", dataset.train.size()},
                {"val", dataset.val.size()},
                {"test", dataset.test.size()},
                {"sha256", hash}});
  } else {
    say(options.common, fmt::format("{}: {} train, {} val, {} test; SHA-256 {}", options.out, dataset.train.size(),
                                    dataset.val.size(), dataset.test.size(), hash));
  }
}

void run_show(const DataOptions& options) {
  const Dataset dataset = open_dataset(options.data);
  Image sheet;
  if (options.part.empty()) {
    sheet = contact_sheet(dataset, options.columns, options.cell);
  } else {
    std::vector<Sample> samples = samples_of(dataset, options.part);
    KeyedRandom(options.common.seed, "contact sheet").shuffle(samples);
    samples.resize(std::min(samples.size(), static_cast<std::size_t>(options.count)));
    sheet = contact_sheet(dataset, samples, options.columns, options.cell);
  }
  write_file(options.out, encode_png(sheet));
  say(options.common, fmt::format("{}: {} x {} pixels", options.out, sheet.width, sheet.height));
}

std::filesystem::path icons_of(const DataOptions& options) {
  return options.icons.empty() ? cache_folder() / "icons" : std::filesystem::path(options.icons);
}

std::filesystem::path drawing_lists() {
  return models_folder() / "pocket" / "emoji_dg.json";
}

void render_benchmark(const DataOptions& options) {
  const std::filesystem::path out = options.out.empty() ? emoji_dg_folder() : std::filesystem::path(options.out);
  if (std::filesystem::exists(out / "index.json")) {
    say(options.common, fmt::format("already rendered: {}", out.string()));
    return;
  }
  const auto progress = make_progress(options.common, "rendering");
  render_emoji_dg(drawing_lists(), icons_of(options), out, 64, kReaderThreads, progress.get());
  if (progress) progress->finish();
  say(options.common, fmt::format("rendered: {}", out.string()));
}

void render_scenes(const DataOptions& options) {
  if (options.out.empty()) throw UsageError("data render composites: expected --out, found none");
  const std::filesystem::path out = options.out;
  if (std::filesystem::exists(out)) {
    throw UsageError(fmt::format("--out: expected a folder that does not exist, found {}", out.string()));
  }
  DrawingChoice choice;
  choice.sets = split_list(options.sets);
  choice.concepts = concepts_named(options.concepts);
  choice.names = split_list(options.names);
  choice.categories = options.categories;
  choice.seed = options.common.seed;
  const auto progress = make_progress(options.common, "rendering");
  const Drawings drawings =
      render_drawings(drawing_lists(), icons_of(options), choice, kDrawingSide, kReaderThreads, progress.get());
  const CompositeCounts& counts = options.scene_counts;
  write_composites(out, drawings, options.scenes, counts, options.common.seed, kReaderThreads, progress.get());
  if (progress) progress->finish();
  say(options.common,
      fmt::format("{}: {} training, {} validation, {} test scenes of {} categories, {} drawings", out.string(),
                  counts.train, counts.val, counts.test, drawings.categories.size(), drawings.drawings.size()));
}

void run_render(const DataOptions& options) {
  if (options.data == "emoji-dg") return render_benchmark(options);
  if (options.data == "composites") return render_scenes(options);
  throw UsageError(fmt::format("data render: expected emoji-dg or composites, found \"{}\"", options.data));
}

void run_crop(const DataOptions& options) {
  const BoxDataset dataset = open_boxes(options.data);
  const auto progress = make_progress(options.common, "cutting");
  const CropReport report = cut_crops(dataset, options.out, options.crops, progress.get());
  if (progress) progress->finish();
  if (options.common.json) {
    Json counts = Json::array();
    for (const CropCount& one : report.counts) {
      counts.push_back({{"part", one.part}, {"class", one.class_name}, {"crops", one.crops}});
    }
    print_json({{"out", options.out},
                {"layout", dataset.layout},
                {"counts", counts},
                {"small", report.small},
                {"crowds", report.crowds},
                {"ignored", report.ignored}});
    return;
  }
  for (const CropCount& one : report.counts) {
    say(options.common, fmt::format("{:<8}{:<32}{:>8}", one.part, one.class_name, one.crops));
  }
  say(options.common, fmt::format("{}: left out: {} boxes below {} pixels, {} of crowds, {} marked as too hard",
                                  options.out, report.small, options.crops.least, report.crowds, report.ignored));
}

}  // namespace

void add_data(CLI::App& app) {
  auto options = std::make_shared<DataOptions>();
  CLI::App* data = app.add_subcommand("data", "Checks, divides, shows and renders data sets");
  data->require_subcommand(1);
  const auto add = [&](const char* name, const char* meaning, void (*run)(const DataOptions&)) {
    CLI::App* verb = data->add_subcommand(name, meaning);
    verb->add_option("data,--data", options->data, "data set: a folder, a list file, or emoji-dg")->required();
    add_common(*verb, options->common);
    verb->callback([options, run] { run(*options); });
    return verb;
  };
  add("check", "Counts, broken pictures, duplicates and class names", run_check);
  CLI::App* split = add("split", "Divides a data set, or draws few shots, into a split file", run_split);
  split->add_option("--rule", options->rule, "few-shot, 50/20/30, 70/30 or 80/20")->capture_default_str();
  split->add_option("--shots", options->shots, "training pictures a class")->capture_default_str();
  split->add_option("--draw", options->draw, "keyed, or coop for CoOp's own draws")->capture_default_str();
  split->add_flag("--per-domain", options->per_domain, "count the shots in each domain");
  split->add_option("--out", options->out, "file to write")->required();
  CLI::App* show = add("show", "Writes a sheet of pictures as PNG", run_show);
  show->add_option("--part", options->part,
                   "train, val, test or all, at random; without it: the first of each class and domain");
  show->add_option("--count", options->count, "pictures where a part is named")->capture_default_str();
  show->add_option("--columns", options->columns, "pictures a row")->capture_default_str();
  show->add_option("--cell", options->cell, "pixels a picture")->capture_default_str();
  show->add_option("--out", options->out, "PNG file to write")->required();
  CLI::App* crop =
      add("crop", "Cuts the boxes of a detection data set (Pascal VOC, COCO) into labelled pictures", run_crop);
  crop->add_option("--margin", options->crops.margin, "added on each side, as a share of the box")
      ->capture_default_str();
  crop->add_option("--least", options->crops.least, "boxes with a shorter side, in pixels, are left out")
      ->capture_default_str();
  crop->add_option("--out", options->out, "folder to write; must not exist")->required();
  CLI::App* render = add("render",
                         "Renders the benchmark emoji-dg from its icon sets, or composites: scenes of several of its "
                         "drawings, with boxes and masks, as a COCO folder",
                         run_render);
  render->add_option("--icons", options->icons, "folder of the icon sets (default: where scripts/setup puts them)");
  render->add_option("--out", options->out, "folder to write (emoji-dg: default in the cache)");
  const std::string scenes = "composites";
  render->add_option("--sets", options->sets, "icon sets or domains, with commas between them (default: all)")
      ->group(scenes);
  render->add_option("--concepts", options->concepts, "all, seen or held-out: whether pre-training may have seen them")
      ->capture_default_str()
      ->group(scenes);
  render->add_option("--names", options->names, "of these concepts only, with commas between them")->group(scenes);
  render->add_option("--categories", options->categories, "so many concepts, chosen by the seed; 0: all")
      ->capture_default_str()
      ->group(scenes);
  render->add_option("--train", options->scene_counts.train, "training scenes")->capture_default_str()->group(scenes);
  render->add_option("--val", options->scene_counts.val, "validation scenes")->capture_default_str()->group(scenes);
  render->add_option("--test", options->scene_counts.test, "test scenes")->capture_default_str()->group(scenes);
  render->add_option("--size", options->scenes.size, "pixels a side of a scene")->capture_default_str()->group(scenes);
  render->add_option("--least", options->scenes.least, "drawings a scene, at least")
      ->capture_default_str()
      ->group(scenes);
  render->add_option("--most", options->scenes.most, "drawings a scene, at most")->capture_default_str()->group(scenes);
}

}  // namespace attune
