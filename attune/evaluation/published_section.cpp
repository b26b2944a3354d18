#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "attune/evaluation/html.h"
#include "attune/evaluation/published.h"
#include "attune/evaluation/study_sections.h"

namespace attune {
namespace {

constexpr std::string_view kEleven[] = {"ImageNet",   "Caltech101", "OxfordPets",   "StanfordCars",
                                        "Flowers102", "Food101",    "FGVCAircraft", "SUN397",
                                        "DTD",        "EuroSAT",    "UCF101"};

/// Small letters and digits alone.
std::string plain(std::string_view name) {
  std::string letters;
  for (const char c : name) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) letters += c;
    if (c >= 'A' && c <= 'Z') letters += static_cast<char>(c - 'A' + 'a');
  }
  return letters;
}

struct OtherName {
  std::string_view plain, name;
};

std::string_view named(std::span<const OtherName> names, const std::string& wanted) {
  const auto found =
      std::find_if(names.begin(), names.end(), [&](const OtherName& one) { return one.plain == wanted; });
  return found == names.end() ? std::string_view() : found->name;
}

bool is_the_eleven(const std::vector<std::string>& datasets) {
  std::set<std::string_view> names;
  for (const std::string& one : datasets) names.insert(data_name(one));
  const std::set<std::string_view> eleven(std::begin(kEleven), std::end(kEleven));
  return names == eleven && datasets.size() == eleven.size();
}

/// The column of the study that a published number stands beside; none where the study did not measure it.
std::optional<std::size_t> column_of(const StudyRecord& study, const StudyTable& table, const PublishedScore& score) {
  if (score.data == "coop-eleven") {
    if (!is_the_eleven(study.datasets)) return std::nullopt;
  } else if (study.protocol == "cross-dataset") {
    if (data_name(study.datasets.front()) != score.data) return std::nullopt;
  } else if (study.protocol == "dg-multi" &&
             (study.datasets.size() != 1 || data_name(study.datasets.front()) != score.data)) {
    return std::nullopt;
  }
  const bool whole = score.column == "average" || score.data == "coop-eleven";
  for (std::size_t c = 0; c < table.columns.size(); ++c) {
    const StudyColumn& column = table.columns[c];
    if (!column.group.empty() || column.average != whole) continue;
    if (whole && (score.column == "average" || column.role == score.column)) return c;
    if (!whole && data_name(column.name) == score.column) return c;
  }
  return std::nullopt;
}

/// Labels of the study's methods that are this one, with the mean of the column at these shots.
std::string measured(const StudyRecord& study, const StudyTable& table, std::string_view method, std::size_t column,
                     int shots) {
  std::string text;
  for (const StudiedMethod& one : study.methods) {
    if (one.method != method) continue;
    for (const StudyTableRow& row : table.rows) {
      if (row.method != one.label || row.shots.value_or(shots) != shots || !row.cells[column]) continue;
      if (!text.empty()) text += "<br>";
      text += per_cent_plain(row.cells[column]->mean);
      if (one.label != one.method) text += fmt::format(" ({})", escape(one.label));
    }
  }
  return text.empty() ? "–" : text;
}

/// Digits behind the point as a source prints them: two where any of its numbers has two.
int digits_of(const PublishedTable& source) {
  const auto is_fine = [](const PublishedScore& score) {
    return std::abs(10 * score.per_cent - std::round(10 * score.per_cent)) > 1e-6;
  };
  return std::any_of(source.scores.begin(), source.scores.end(), is_fine) ? 2 : 1;
}

std::string printed(const PublishedScore& score, int digits) {
  const std::string deviation = score.deviation > 0 ? fmt::format(" ± {:.{}f}", score.deviation, digits) : "";
  return fmt::format("{:.{}f}{}", score.per_cent, digits, deviation);
}

/// A target that was left out changes the average, so it would not be the published setting.
bool whole_design(const StudyRecord& study) {
  std::size_t targets = 0;
  std::set<std::string> names;
  for (const StudyRun& run : study.runs) {
    for (const StudyScore& score : run.scores) names.insert(score.column);
    targets = std::max(targets, run.sources.size() + 1);
  }
  return study.protocol != "dg-multi" || names.size() == targets;
}

}  // namespace

std::string_view data_name(std::string_view dataset) {
  static constexpr OtherName kNames[] = {
      {"pacs", "PACS"},
      {"vlcs", "VLCS"},
      {"officehome", "OfficeHome"},
      {"officehomedg", "OfficeHome"},
      {"terraincognita", "TerraIncognita"},
      {"domainnet", "DomainNet"},
      {"imagenet", "ImageNet"},
      {"imagenetv2", "ImageNetV2"},
      {"imagenetsketch", "ImageNet-Sketch"},
      {"imageneta", "ImageNet-A"},
      {"imagenetadversarial", "ImageNet-A"},
      {"imagenetr", "ImageNet-R"},
      {"imagenetrendition", "ImageNet-R"},
      {"caltech101", "Caltech101"},
      {"oxfordpets", "OxfordPets"},
      {"stanfordcars", "StanfordCars"},
      {"oxfordflowers", "Flowers102"},
      {"oxfordflowers102", "Flowers102"},
      {"flowers102", "Flowers102"},
      {"food101", "Food101"},
      {"fgvcaircraft", "FGVCAircraft"},
      {"sun397", "SUN397"},
      {"dtd", "DTD"},
      {"describabletextures", "DTD"},
      {"eurosat", "EuroSAT"},
      {"ucf101", "UCF101"},
  };
  return named(kNames, plain(dataset));
}

std::string_view backbone_name(std::string_view model) {
  static constexpr OtherName kNames[] = {
      {"clipvitbasepatch16", "ViT-B/16"},
      {"openaiclipvitbasepatch16", "ViT-B/16"},
      {"vitb16", "ViT-B/16"},
      {"vitb16openai", "ViT-B/16"},
      {"openaivitb16", "ViT-B/16"},
      {"clipvitb16", "ViT-B/16"},
      {"rn50", "RN50"},
      {"rn50openai", "RN50"},
      {"openairn50", "RN50"},
      {"cliprn50", "RN50"},
  };
  return named(kNames, plain(model));
}

std::string published_section(const StudyRecord& study, const StudyTable& table) {
  const std::string_view backbone = backbone_name(study.model);
  if (backbone.empty() || study.datasets.empty() || !whole_design(study)) return "";
  std::string html;
  for (const PublishedTable& source : published_tables()) {
    const bool shots = std::find(study.shots.begin(), study.shots.end(), source.shots) != study.shots.end();
    if (source.protocol != study.protocol || source.backbone != backbone || !shots) continue;
    Table shown{fmt::format("{}, {}, {}; per cent", backbone, study.protocol, shots_text(source.shots)),
                {{"Method"}, {"Data"}, {"Published", true}, {"Here", true}},
                {},
                ""};
    for (const PublishedScore& score : source.scores) {
      const std::optional<std::size_t> column = column_of(study, table, score);
      if (!column) continue;
      shown.rows.push_back({{{escape(score.method)},
                             {escape(heading(table.columns[*column]))},
                             {printed(score, digits_of(source))},
                             {measured(study, table, score.method, *column, source.shots)}}});
    }
    if (shown.rows.empty()) continue;
    html += html_table(shown) + html_note(fmt::format("Source: {}.", escape(source.source)));
  }
  if (html.empty()) return "";
  return html_note(
             "These numbers were measured by others, with their code, pictures and settings, and are no part of any "
             "average or interval on this page. Data and backbone are matched by name.") +
         html;
}

}  // namespace attune
