#include <algorithm>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attune/base/error.h"
#include "attune/cli/checks.h"
#include "attune/cli/classify.h"
#include "attune/cli/verbs.h"
#include "attune/data/layouts.h"
#include "attune/evaluation/study_recipe.h"
#include "attune/evaluation/study_report.h"
#include "attune/evaluation/study_table.h"

namespace attune {
namespace {

/// A model whose steps are too small to be shared by cores: runs go side by side.
constexpr double kSmallModelMb = 200;

struct StudyArguments {
  Common common;
  PictureOptions pictures;
  std::string protocol, model, data, methods, recipe, domain_model, shots, draw, targets, out;
  std::vector<std::string> recipes_of, assignments;
  int seeds = 0, jobs = 0;
  bool dry_run = false;
};

/// The method of the study that "LABEL<mark>rest" names; `rest` receives what stands behind the mark.
StudyRequest::Wanted& wanted_of(StudyRequest& request, const std::string& text, char mark, const char* option,
                                std::string& rest) {
  std::vector<std::string> labels;
  for (StudyRequest::Wanted& wanted : request.methods) {
    labels.push_back(wanted.label);
    if (!text.starts_with(wanted.label + mark)) continue;
    rest = text.substr(wanted.label.size() + 1);
    return wanted;
  }
  throw UsageError(fmt::format("{}: expected LABEL{}... with a method of the study ({}), found \"{}\"", option, mark,
                               fmt::join(labels, ", "), text));
}

/// Whether `pattern` is the label, or stands for it: an asterisk is any text.
bool stands_for(std::string_view pattern, std::string_view label) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == label;
  if (!label.starts_with(pattern.substr(0, star))) return false;
  label.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  for (std::size_t skipped = 0; skipped <= label.size(); ++skipped) {
    if (stands_for(pattern, label.substr(skipped))) return true;
  }
  return false;
}

/// Gives "key=value" to the methods that `pattern` stands for and that have the key.
void assign(StudyRequest& request, const std::string& pattern, const std::string& assignment, const char* option) {
  const std::string key = assignment.substr(0, assignment.find('='));
  bool given = false;
  for (StudyRequest::Wanted& wanted : request.methods) {
    if (!stands_for(pattern, wanted.label) || !study_methods({.methods = {wanted}}).back().config.has(key)) continue;
    wanted.sources.assignments.push_back(assignment);
    given = true;
  }
  if (!given)
    throw UsageError(fmt::format("{}: expected a method {} with the key {}, found none", option, pattern, key));
}

/// The methods that were named, with the settings of the recipe where it has a method of that label.
std::vector<StudyRequest::Wanted> chosen_methods(const StudyRequest& request, const std::string& text) {
  std::vector<StudyRequest::Wanted> chosen = parse_study_methods(text);
  for (StudyRequest::Wanted& one : chosen) {
    if (one.sources.method != one.label) continue;
    const auto known = std::find_if(request.methods.begin(), request.methods.end(),
                                    [&](const StudyRequest::Wanted& other) { return other.label == one.label; });
    if (known != request.methods.end()) one = *known;
  }
  return chosen;
}

std::vector<int> numbers(const std::string& text) {
  std::vector<int> list;
  for (const std::string& piece : split_list(text)) {
    if (piece.size() > 9 || piece.find_first_not_of("0123456789") != std::string::npos)
      throw UsageError(fmt::format("--shots: expected numbers with commas between them, found \"{}\"", text));
    list.push_back(std::stoi(piece));
  }
  return list;
}

StudyRequest request_of(const StudyArguments& arguments) {
  StudyRequest request;
  if (!arguments.recipe.empty()) request = read_study_recipe(arguments.recipe);
  if (!arguments.protocol.empty()) request.protocol = protocol_named(arguments.protocol);
  if (!arguments.data.empty()) request.data = split_list(arguments.data);
  if (!arguments.methods.empty()) request.methods = chosen_methods(request, arguments.methods);
  if (!arguments.shots.empty()) request.shots = numbers(arguments.shots);
  if (arguments.seeds > 0) request.seeds = arguments.seeds;
  if (!arguments.draw.empty()) request.draw = draw_rule_named(arguments.draw);
  if (!arguments.targets.empty()) request.targets = split_list(arguments.targets);
  std::string rest;
  for (const std::string& one : arguments.recipes_of) {
    StudyRequest::Wanted& wanted = wanted_of(request, one, '=', "--recipe-of", rest);
    wanted.sources.recipe = rest;
  }
  if (!arguments.domain_model.empty()) {
    assign(request, "*", "domain.model=" + Json(arguments.domain_model).dump(), "--domain-model");
  }
  for (const std::string& one : arguments.assignments) {
    const std::string label = one.substr(0, one.find('.'));
    if (label.find('*') != std::string::npos) {
      assign(request, label, one.substr(std::min(one.size(), label.size() + 1)), "--set");
      continue;
    }
    StudyRequest::Wanted& wanted = wanted_of(request, one, '.', "--set", rest);
    wanted.sources.assignments.push_back(rest);
  }
  if (!request.protocol) throw UsageError("study: expected a protocol, in the command or in --recipe");
  if (request.data.empty()) throw UsageError("study: expected --data, or data in --recipe");
  if (request.methods.empty()) throw UsageError("study: expected --methods, or methods in --recipe");
  return request;
}

StudyDesign design_of(const StudyRequest& request, std::uint64_t first_seed) {
  StudyDesign design;
  design.protocol = *request.protocol;
  design.shots = request.shots;
  if (design.shots.empty()) design.shots = {generalises_domains(design.protocol) ? 0 : 16};
  design.seeds.clear();
  for (int s = 0; s < request.seeds.value_or(3); ++s)
    design.seeds.push_back(first_seed + static_cast<std::uint64_t>(s));
  design.draw = request.draw.value_or(DrawRule::kKeyed);
  design.division_seed = first_seed;
  design.targets = request.targets;
  return design;
}

int jobs_of(const StudyArguments& arguments, const StudyOutlook& outlook) {
  if (arguments.jobs > 0) return arguments.jobs;
  if (arguments.common.device != "cpu" || outlook.model_mb > kSmallModelMb) return 1;
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto left = static_cast<int>(std::min<std::int64_t>(outlook.runs - outlook.finished, cores));
  return std::max(1, arguments.common.threads > 0 ? std::min(arguments.common.threads, left) : left);
}

std::string describe(const StudyDesign& design, const std::vector<StudyMethod>& methods, const StudyPlan& plan,
                     const StudyOutlook& outlook, int jobs) {
  std::vector<std::string> labels, tests;
  for (const StudyMethod& method : methods) labels.push_back(method.label);
  for (const TestSet& test : plan.tests) tests.push_back(fmt::format("{} ({})", test.name, test.data.test.size()));
  return fmt::format(
      "{}: {} runs of {} ({} finished), {} seeds, shots {}\ntested on {}\nabout {} of training with {} at a time, and "
      "at "
      "most {} for image features",
      name_of(design.protocol), outlook.runs, fmt::join(labels, ", "), outlook.finished, design.seeds.size(),
      fmt::join(design.shots, ", "), fmt::join(tests, ", "), duration(outlook.training_seconds / jobs), jobs,
      duration(outlook.feature_seconds));
}

void say_result(const StudyArguments& arguments, const StudyRecord& study, std::int64_t failed) {
  const Common& common = arguments.common;
  if (common.json) print_json(to_json(study));
  say(common, fmt::format("\nTop-1 accuracy in per cent, mean and deviation over seeds\n{}\nstudy:  {}\nreport: {}",
                          study_text(study_table(study)), study_file(arguments.out).string(),
                          (std::filesystem::path(arguments.out) / "report.html").string()));
  if (failed == 0) return;
  std::string list;
  for (const StudyRun& run : study.runs) {
    if (!run.error.empty()) list += fmt::format("\n  {}: {}", run.name, run.error);
  }
  throw Error(
      fmt::format("study: {} of {} runs failed; the same command tries them again{}", failed, study.runs.size(), list));
}

void run_study(const StudyArguments& arguments) {
  const Common& common = arguments.common;
  prepare(common);
  const StudyRequest request = request_of(arguments);
  const StudyDesign design = design_of(request, common.seed);
  const std::vector<StudyMethod> methods = study_methods(request);
  std::vector<Dataset> datasets;
  for (const std::string& name : request.data) datasets.push_back(open_dataset(name));
  const StudyPlan plan = plan_study(design, datasets, names_of(methods));
  const auto model = open_model(common, arguments.model);
  const auto progress = make_progress(common, "runs");
  StudyOptions options;
  options.folder = arguments.out;
  options.inputs = input_options(common, arguments.pictures, nullptr);
  options.progress = progress.get();
  options.from = provenance(common);
  Study study(model, datasets, plan, methods, options);

  const StudyOutlook outlook = study.outlook();
  const int jobs = jobs_of(arguments, outlook);
  study.set_jobs(jobs);
  say(common, describe(design, methods, plan, outlook, jobs));
  if (arguments.dry_run) return;
  const StudyRecord record = study.run();
  write_study_report(record, std::filesystem::path(arguments.out) / "report.html");
  const auto failed =
      std::count_if(record.runs.begin(), record.runs.end(), [](const StudyRun& run) { return !run.error.empty(); });
  say_result(arguments, record, failed);
}

}  // namespace

void add_study(CLI::App& app) {
  auto arguments = std::make_shared<StudyArguments>();
  CLI::App* verb = app.add_subcommand("study", "Compares methods by a whole protocol: data sets, shots and seeds");
  verb->add_option("protocol", arguments->protocol,
                   "few-shot, base-to-new, cross-dataset, dg-multi, dg-single or dg-cross");
  verb->add_option("--model", arguments->model, "model folder, hf-hub:ORGANISATION/NAME, or pocket")->required();
  verb->add_option("--data", arguments->data,
                   "data sets, with commas between them; where one is trained on, the first");
  verb->add_option("--methods", arguments->methods,
                   "NAME, NAME:key=value,... or LABEL=NAME:..., with commas between them");
  verb->add_option("--recipe", arguments->recipe, "YAML file of a study; options come before it")
      ->check(CLI::ExistingFile);
  verb->add_option("--recipe-of", arguments->recipes_of, "LABEL=FILE, recipe of one method; may be repeated")
      ->allow_extra_args(false);
  verb->add_option("--domain-model", arguments->domain_model,
                   "of every DCPL, DPLQ and GDPL: folder of a model of the domain, or file of its features");
  verb->add_option(
          "--set", arguments->assignments,
          "LABEL.key=value, over the recipes; * in LABEL stands for any text, and then methods without the key "
          "are passed over; may be repeated")
      ->allow_extra_args(false);
  verb->add_option(
      "--shots", arguments->shots,
      "training pictures a class (dg-*: and domain), with commas between them; 0: all (default: 16, dg-*: 0)");
  verb->add_option("--seeds", arguments->seeds, "number of seeds, from --seed on (default: 3)")->check(at_least(1));
  verb->add_option("--draw", arguments->draw, "keyed, or coop for CoOp's own draws");
  verb->add_option("--targets", arguments->targets, "dg-multi, dg-single: domains to hold out (default: each in turn)");
  verb->add_option("--jobs", arguments->jobs,
                   "runs side by side, each with one thread (default: the cores for a small model, else 1)")
      ->check(at_least(1));
  verb->add_flag("--dry-run", arguments->dry_run, "say what would be run and how long it takes; writes nothing");
  verb->add_option("--out", arguments->out, "folder of the study; the same command continues it")->required();
  add_picture_options(*verb, arguments->pictures);
  add_common(*verb, arguments->common);
  verb->callback([arguments] { run_study(*arguments); });
}

}  // namespace attune
