#include "attune/evaluation/report.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/sections.h"

namespace attune {
namespace {

std::string title_of(const Results& results) {
  return shown_method(results.method) + " on " + results.dataset;
}

std::string facts_of(const Results& results) {
  std::string text = escape(results.model);
  if (!results.split.part.empty()) text += " · " + shown_name(results.split.part);
  text += " · " + counted(static_cast<std::size_t>(results.measured.count), "image", "images") + " · " +
          counted(results.classes.size(), "class", "classes");
  if (results.measured.per_domain.size() > 1)
    text += " · " + counted(results.measured.per_domain.size(), "domain", "domains");
  return text + fmt::format(" · seed {}", results.seed);
}

struct Part {
  std::string id;
  std::string name;
  std::string html;
};

/// The parts of one result that are not empty.
std::vector<Part> parts_of(const Results& results, const std::filesystem::path& folder, const std::string& prefix) {
  std::vector<Part> parts;
  const auto add = [&](const std::string& id, std::string_view name, std::string html) {
    if (!html.empty()) parts.push_back({prefix + id, std::string(name), std::move(html)});
  };
  add("domains", results.measured.per_domain.empty() ? "Accuracy" : "Domains", domain_section(results, prefix));
  add("examples", "Images", example_section(results, folder, prefix));
  add("classes", "Classes", class_section(results, prefix));
  add("confusion", "Confusions", confusion_section(results, prefix));
  add("calibration", "Calibration", calibration_section(results, prefix));
  add("forgetting", "Forgetting", forgetting_section(results, prefix));
  return parts;
}

std::string navigation(const std::vector<Part>& parts) {
  std::string items;
  for (const Part& part : parts) items += fmt::format("<li><a href=\"#{}\">{}</a></li>", part.id, escape(part.name));
  return "<nav aria-label=\"Contents\"><ul>" + items + "</ul></nav>\n";
}

std::string html_of(const std::vector<Part>& parts) {
  std::string html;
  for (const Part& part : parts) html += part.html;
  return html;
}

/// The parts that belong to the run, not to one of its results.
std::vector<Part> run_parts(const Run& run, const std::string& prefix) {
  std::vector<Part> parts;
  std::string training = training_section(run.log, prefix);
  if (!training.empty()) parts.push_back({prefix + "training", "Training", std::move(training)});
  parts.push_back({prefix + "provenance", "Provenance", provenance_section(run, prefix)});
  return parts;
}

std::string single_page(const Run& run) {
  const Results& results = run.results.front();
  std::vector<Part> parts = parts_of(results, run.folder, "");
  for (Part& part : run_parts(run, "")) parts.push_back(std::move(part));
  return fmt::format("<header><p class=\"overline\">Attune report</p><h1>{}</h1><p class=\"facts\">{}</p>\n",
                     escape(title_of(results)), facts_of(results)) +
         headline(results) + navigation(parts) + "</header>\n<main>\n" + html_of(parts) + "</main>\n";
}

TableRow overview_row(const Run& run, const Results& results, const std::string& id) {
  const Accuracy all{results.measured.count, results.measured.metrics.acc1};
  const int digits = sensible_digits(all.count);
  const std::string before = results.zero_shot ? per_cent_plain(results.zero_shot->metrics.acc1, digits) : "–";
  const std::string difference = results.zero_shot ? points(all.acc1 - results.zero_shot->metrics.acc1, digits) : "–";
  return {{{fmt::format("<a href=\"#{}\">{}</a><span class=\"sub\">{}</span>", id, escape(title_of(results)),
                        facts_of(results))},
           {escape(run.name)},
           {before},
           {fmt::format("<strong>{}</strong><span class=\"sub\">{}</span>", per_cent_plain(all.acc1, digits),
                        per_cent_range(wilson_interval(all), digits))},
           {difference}},
          "top"};
}

std::string several_page(const std::vector<Run>& runs, std::size_t count) {
  Table overview{"Top-1 accuracy in per cent, with 95 % intervals (Wilson)",
                 {{"Evaluation"}, {"Run", false, true}, {"Zero-shot", true}, {"Accuracy", true}, {"Difference", true}},
                 {},
                 ""};
  std::string body;
  for (std::size_t r = 0; r < runs.size(); ++r) {
    for (std::size_t i = 0; i < runs[r].results.size(); ++i) {
      const Results& results = runs[r].results[i];
      const std::string id = fmt::format("run-{}-{}", r + 1, i + 1);
      overview.rows.push_back(overview_row(runs[r], results, id));
      const std::vector<Part> parts = parts_of(results, runs[r].folder, id + "-");
      body +=
          fmt::format(
              "<section id=\"{}\" class=\"result\"><p class=\"overline\">{}</p><h1>{}</h1><p class=\"facts\">{}</p>\n",
              id, escape(runs[r].name), escape(title_of(results)), facts_of(results)) +
          headline(results) + navigation(parts) + html_of(parts) + "</section>\n";
    }
    body += html_of(run_parts(runs[r], fmt::format("run-{}-", r + 1)));
  }
  return fmt::format("<header><p class=\"overline\">Attune report</p><h1>{}</h1></header>\n<main>\n",
                     counted(count, "evaluation", "evaluations")) +
         html_table(overview) + body + "</main>\n";
}

}  // namespace

Run read_run(const std::filesystem::path& folder) {
  Run run;
  run.folder = folder;
  run.name = std::filesystem::absolute(folder).lexically_normal().filename().string();
  if (run.name.empty())
    run.name = std::filesystem::absolute(folder).lexically_normal().parent_path().filename().string();
  if (!std::filesystem::exists(folder / "results.json")) {
    throw Error(fmt::format("{}: expected the folder of a run that was measured, with results.json, found none",
                            folder.string()));
  }
  run.results = read_results(folder / "results.json");
  if (std::filesystem::exists(folder / "config.yaml")) run.config = read_file(folder / "config.yaml", 1 << 20);
  if (std::filesystem::exists(folder / "metrics.jsonl")) run.log = read_training_log(folder / "metrics.jsonl");
  return run;
}

std::string report_html(const std::vector<Run>& runs) {
  std::size_t count = 0;
  for (const Run& run : runs) {
    if (run.results.empty())
      throw Error(fmt::format("report_html: expected results in run \"{}\", found none", run.name));
    count += run.results.size();
  }
  if (count == 0) throw Error("report_html: expected at least one run, found none");
  const std::string footer =
      fmt::format("<footer>Written by Attune {}. {}</footer>\n", escape(runs[0].results[0].version),
                  "This page is complete in itself and asks nothing of the network.");
  if (count == 1) return html_page(title_of(runs[0].results[0]), single_page(runs[0]) + footer);
  return html_page(counted(count, "evaluation", "evaluations"), several_page(runs, count) + footer);
}

void write_report(const std::vector<Run>& runs, const std::filesystem::path& path) {
  write_file(path, report_html(runs));
}

void write_report(const std::vector<std::filesystem::path>& folders, const std::filesystem::path& path) {
  std::vector<Run> runs;
  for (const std::filesystem::path& folder : folders) runs.push_back(read_run(folder));
  write_report(runs, path);
}

}  // namespace attune
