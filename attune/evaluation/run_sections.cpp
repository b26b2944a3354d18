#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "attune/evaluation/charts.h"
#include "attune/evaluation/html.h"
#include "attune/evaluation/sections.h"

namespace attune {
namespace {

/// One number of the epochs of a stage; empty where it was never recorded.
Series series_of(const std::vector<EpochRecord>& epochs, const std::string& stage, std::string name,
                 double EpochRecord::*member) {
  Series series{std::move(name), {}, {}};
  for (const EpochRecord& record : epochs) {
    if (record.stage != stage || !std::isfinite(record.*member)) continue;
    series.x.push_back(static_cast<double>(record.epoch));
    series.y.push_back(record.*member);
  }
  return series;
}

std::string epoch_table(const std::vector<EpochRecord>& epochs, const std::string& stage) {
  Table table{"Every epoch",
              {{"Epoch"},
               {"Loss", true},
               {"Training accuracy, %", true},
               {"Validation accuracy, %", true},
               {"Learning rate", true, true},
               {"Seconds", true, true}},
              {},
              ""};
  const auto plain = [](double value) { return std::isfinite(value) ? fmt::format("{:.4g}", value) : "–"; };
  for (const EpochRecord& record : epochs) {
    if (record.stage != stage) continue;
    table.rows.push_back({{{std::to_string(record.epoch)},
                           {plain(record.loss)},
                           {per_cent_plain(record.accuracy)},
                           {per_cent_plain(record.validation_acc1)},
                           {plain(record.learning_rate)},
                           {plain(record.seconds)}}});
  }
  return html_details("The epochs in numbers", html_table(table));
}

std::string epoch_charts(const TrainingLog& log, const std::string& stage) {
  LineChart loss{"Loss", "epoch", false, {series_of(log.epochs, stage, "loss", &EpochRecord::loss)}};
  LineChart accuracy{"Accuracy", "epoch", true, {}};
  for (Series series : {series_of(log.epochs, stage, "training", &EpochRecord::accuracy),
                        series_of(log.epochs, stage, "validation", &EpochRecord::validation_acc1)}) {
    if (!series.x.empty()) accuracy.series.push_back(std::move(series));
  }
  const std::string second = accuracy.series.empty() ? "" : line_chart(accuracy);
  return "<div class=\"pair\">" + line_chart(loss) + second + "</div>\n" + epoch_table(log.epochs, stage);
}

/// Steps alone, thinned to at most `kMostPoints` means of equally many steps.
std::string step_chart(const TrainingLog& log, const std::string& stage) {
  constexpr std::size_t kMostPoints = 400;
  std::vector<double> losses;
  for (const StepRecord& record : log.steps) {
    if (record.stage == stage && std::isfinite(record.loss)) losses.push_back(record.loss);
  }
  const std::size_t span = (losses.size() + kMostPoints - 1) / kMostPoints;
  Series series{"loss", {}, {}};
  for (std::size_t begin = 0; begin < losses.size(); begin += span) {
    const std::size_t end = std::min(begin + span, losses.size());
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += losses[i];
    series.x.push_back(static_cast<double>(end));
    series.y.push_back(sum / static_cast<double>(end - begin));
  }
  return line_chart({span > 1 ? fmt::format("Loss, means of {} steps", span) : "Loss", "step", false, {series}});
}

std::string entry(std::string_view name, const std::string& value) {
  return value.empty() ? "" : fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, escape(value));
}

/// 3.2 s, 4 min 10 s
std::string shown_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f} s", seconds);
  const auto whole_seconds = static_cast<std::int64_t>(std::llround(std::min(seconds, 1e15)));
  return fmt::format("{} min {} s", whole_seconds / 60, whole_seconds % 60);
}

std::string joined(const std::vector<std::string>& texts) {
  std::string result;
  for (const std::string& text : texts) result += (result.empty() ? "" : ", ") + text;
  return result;
}

std::string provenance_of(const Results& results) {
  return "<dl class=\"provenance\">\n" + entry("Dataset", results.dataset) +
         entry("Part", joined({results.split.part})) + entry("How it was divided", results.split.rule) +
         entry("Hash of the split", results.split.hash) + entry("Trained on", joined(results.source_domains)) +
         entry("Model", results.model) + entry("Weights", results.pretrained) +
         entry("Method", shown_method(results.method)) + entry("Seed", std::to_string(results.seed)) +
         entry("Attune", results.version) + entry("Time of the evaluation", shown_seconds(results.seconds)) +
         entry("Peak memory", fmt::format("{:.0f} MB", results.peak_memory_mb)) + "</dl>\n";
}

}  // namespace

std::string training_section(const TrainingLog& log, const std::string& prefix) {
  std::string body;
  const std::vector<std::string> stages = stages_of(log);
  for (const std::string& stage : stages) {
    if (stages.size() > 1) body += fmt::format("<h3>Stage {}</h3>\n", shown_name(stage));
    const bool by_epoch = std::any_of(log.epochs.begin(), log.epochs.end(),
                                      [&](const EpochRecord& record) { return record.stage == stage; });
    body += by_epoch ? epoch_charts(log, stage) : step_chart(log, stage);
  }
  return body.empty() ? "" : html_section(prefix + "training", "How it learned", body);
}

std::string provenance_section(const Run& run, const std::string& prefix) {
  std::string body;
  for (const Results& results : run.results) {
    if (run.results.size() > 1)
      body += fmt::format("<h3>{}, {}</h3>\n", escape(results.dataset), shown_name(results.split.part));
    body += provenance_of(results);
  }
  const std::string& command = run.results.front().command;
  if (!command.empty()) body += "<h3>Run it again</h3>\n<pre tabindex=\"0\">" + escape(command) + "</pre>\n";
  if (!run.config.empty()) {
    body += html_details("Configuration", "<pre tabindex=\"0\">" + escape(run.config) + "</pre>\n");
  }
  return html_section(prefix + "provenance", "Where these numbers come from", body);
}

}  // namespace attune
